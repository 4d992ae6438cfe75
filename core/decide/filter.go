package decide

// filter tells of hashes whether they may have been added (a Bloom filter). It is
// only for speed: what it says surely was not added need not be looked for.
type filter struct {
	words []uint64 // nil: nothing was added
}

const (
	// filterBytes hold 25 million hashes with one false answer in a hundred; beyond
	// that more is looked for in vain.
	filterBytes = 32 << 20
	filterBits  = 4 // of each hash
)

func (f *filter) add(hash uint64) {
	if f.words == nil {
		f.words = make([]uint64, filterBytes/8)
	}
	f.each(hash, func(word *uint64, bit uint64) bool { *word |= bit; return true })
}

// has tells whether a hash may have been added.
func (f *filter) has(hash uint64) bool {
	if f.words == nil {
		return false
	}
	all := true
	f.each(hash, func(word *uint64, bit uint64) bool { all = *word&bit != 0; return all })
	return all
}

func (f *filter) each(hash uint64, do func(word *uint64, bit uint64) bool) {
	mask, step := uint64(len(f.words)*64-1), hash>>32|1
	for range filterBits {
		at := hash & mask
		if !do(&f.words[at/64], 1<<(at%64)) {
			return
		}
		hash += step * 0x9e3779b97f4a7c15
	}
}

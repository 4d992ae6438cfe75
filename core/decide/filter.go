package decide

// filter tells of hashes whether they may have been added (a Bloom filter). It is
// only for speed: what it says surely was not added need not be looked for. It grows
// with what is added, so that a small Kelpie has a small one.
type filter struct {
	parts [][]uint64 // each as large as all before it; none: nothing was added
	room  int        // for how many hashes there is room in the last
}

const (
	// filterBytes hold 22 million hashes with two false answers in a hundred; beyond
	// that more is looked for in vain.
	filterBytes  = 32 << 20
	filterFirst  = 1 << 20
	filterBits   = 6  // of each hash
	filterSparse = 12 // bits of room for each hash
)

func (f *filter) add(hash uint64) {
	if f.room == 0 && f.bytes() < filterBytes {
		size := max(f.bytes(), filterFirst)
		f.parts = append(f.parts, make([]uint64, size/8))
		f.room = size * 8 / filterSparse
	}
	f.room = max(f.room-1, 0)
	each(f.parts[len(f.parts)-1], hash, func(word *uint64, bit uint64) bool { *word |= bit; return true })
}

// has tells whether a hash may have been added.
func (f *filter) has(hash uint64) bool {
	for _, part := range f.parts {
		all := true
		each(part, hash, func(word *uint64, bit uint64) bool { all = *word&bit != 0; return all })
		if all {
			return true
		}
	}
	return false
}

func (f *filter) empty() bool { return len(f.parts) == 0 }

func (f *filter) bytes() int {
	n := 0
	for _, part := range f.parts {
		n += 8 * len(part)
	}
	return n
}

func each(words []uint64, hash uint64, do func(word *uint64, bit uint64) bool) {
	mask, step := uint64(len(words)*64-1), hash>>32|1
	for range filterBits {
		at := hash & mask
		if !do(&words[at/64], 1<<(at%64)) {
			return
		}
		hash += step * 0x9e3779b97f4a7c15
	}
}

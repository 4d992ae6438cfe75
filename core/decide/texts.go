package decide

import "slices"

// interner gives texts that come again and again a number each, for as long as
// somebody holds them.
type interner struct {
	texts   []string // by number; 0 is the empty text
	holders []uint32 // by number
	numbers map[string]uint32
	free    []uint32 // the last is used next
	idle    []uint32 // that had no holder at some time since the last tidy
}

func newInterner() interner {
	return interner{texts: []string{""}, holders: []uint32{1}, numbers: map[string]uint32{"": 0}}
}

// hold returns a text's number. It stays until it is let go as often as it was held.
func (n *interner) hold(s string) uint32 {
	i, ok := n.numbers[s]
	if !ok {
		if last := len(n.free) - 1; last >= 0 {
			i, n.free = n.free[last], n.free[:last]
			n.texts[i] = s
		} else {
			i = uint32(len(n.texts))
			n.texts, n.holders = append(n.texts, s), append(n.holders, 0)
		}
		n.numbers[s] = i
	}
	n.holders[i]++
	return i
}

func (n *interner) release(i uint32) {
	if n.holders[i]--; n.holders[i] == 0 {
		n.idle = append(n.idle, i)
	}
}

func (n *interner) text(i uint32) string { return n.texts[i] }

// tidy frees what nobody holds.
func (n *interner) tidy() {
	if len(n.idle) == 0 {
		return
	}
	slices.Sort(n.idle)
	for _, i := range slices.Compact(n.idle) {
		if n.holders[i] == 0 {
			delete(n.numbers, n.texts[i])
			n.texts[i] = ""
			n.free = append(n.free, i)
		}
	}
	n.idle = n.idle[:0]
}

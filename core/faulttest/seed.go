package faulttest

import (
	"encoding/binary"
	"hash/fnv"
	"math/rand/v2"
)

// stream is a source of chance of its own, so that what one part of a world draws
// moves no other part's decisions.
func stream(seed uint64, names ...string) *rand.Rand {
	return rand.New(rand.NewPCG(seed, hash(seed, names...)))
}

func hash(seed uint64, names ...string) uint64 {
	h := fnv.New64a()
	h.Write(binary.LittleEndian.AppendUint64(nil, seed))
	for _, n := range names {
		h.Write([]byte(n))
		h.Write([]byte{0})
	}
	// FNV's low bits are weak; one round of SplitMix64 mixes them.
	z := h.Sum64() + 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

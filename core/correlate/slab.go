package correlate

import "math/bits"

// A slab hands out blocks of bytes of some sizes, out of chunks that hold no pointers,
// so that millions of them cost the garbage collector nothing. Blocks are used again
// by their size; a chunk is not given back before the slab is empty.
type slab struct {
	chunks [][]byte
	used   int // of the last chunk
	free   [blockClasses][]uint32
	live   int64 // bytes of the blocks in use
}

const (
	blockUnit    = 16
	chunkBytes   = 1 << 20
	maxBlock     = 4096
	blockClasses = 48
)

// blockClass is the least class of which the blocks have room for n bytes. There are
// eight for each doubling from 256 bytes on.
func blockClass(n int) uint8 {
	if n <= 256 {
		return uint8((max(n, 1)+blockUnit-1)/blockUnit - 1)
	}
	k := bits.Len(uint(n-1)) - 9
	return uint8(16 + 8*k + (n-1-256<<k)/(32<<k))
}

func blockSize(class uint8) int {
	if class < 16 {
		return blockUnit * (int(class) + 1)
	}
	k, j := (class-16)/8, (class-16)%8
	return 256<<k + 32<<k*(int(j)+1)
}

// take returns the number of a free block.
func (s *slab) take(class uint8) uint32 {
	size := blockSize(class)
	s.live += int64(size)
	if free := s.free[class]; len(free) > 0 {
		s.free[class] = free[:len(free)-1]
		return free[len(free)-1]
	}
	if len(s.chunks) == 0 || s.used+size > chunkBytes {
		s.chunks, s.used = append(s.chunks, make([]byte, chunkBytes)), 0
	}
	block := uint32((len(s.chunks)-1)*(chunkBytes/blockUnit) + s.used/blockUnit)
	s.used += size
	return block
}

// bytes of a block, up to the end of its chunk.
func (s *slab) bytes(block uint32) []byte {
	return s.chunks[block/(chunkBytes/blockUnit)][block%(chunkBytes/blockUnit)*blockUnit:]
}

func (s *slab) give(block uint32, class uint8) {
	s.live -= int64(blockSize(class))
	if s.live == 0 {
		*s = slab{}
		return
	}
	s.free[class] = append(s.free[class], block)
}

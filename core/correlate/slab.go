package correlate

import (
	"encoding/binary"
	"math/bits"
)

// A slab hands out blocks of bytes of some sizes, out of pages that hold no pointers,
// so that millions of them cost the garbage collector nothing. A page has blocks of
// one size; one of which all are free is given back.
type slab struct {
	pages []page
	spare []uint32             // numbers of pages that have no bytes
	room  [blockClasses]uint32 // a page with a free block, by its number and 1
}

// page is in a ring with the others of its class that have a free block.
type page struct {
	bytes         []byte
	before, after uint32 // by number and 1
	free          uint16 // the first free block, by its number and 1; each names the next
	used, begun   uint16 // blocks in use; blocks that ever were
	class         uint8
}

const (
	blockUnit    = 16
	pageBytes    = 64 << 10
	pageUnits    = pageBytes / blockUnit
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
	if s.room[class] == 0 {
		s.open(class)
	}
	n := s.room[class] - 1
	p, size := &s.pages[n], blockSize(class)
	var block int
	if p.free > 0 {
		block = int(p.free) - 1
		p.free = binary.LittleEndian.Uint16(p.bytes[block*size:])
	} else {
		block = int(p.begun)
		p.begun++
	}
	p.used++
	if !p.hasRoom() {
		s.unlink(n)
	}
	return n*pageUnits + uint32(block*size/blockUnit)
}

func (p *page) hasRoom() bool { return p.free > 0 || int(p.begun) < pageBytes/blockSize(p.class) }

// open makes a page of a class.
func (s *slab) open(class uint8) {
	var n uint32
	if k := len(s.spare); k > 0 {
		n, s.spare = s.spare[k-1], s.spare[:k-1]
	} else {
		n = uint32(len(s.pages))
		s.pages = append(s.pages, page{})
	}
	s.pages[n] = page{bytes: make([]byte, pageBytes), class: class}
	s.link(n)
}

func (s *slab) link(n uint32) {
	p := &s.pages[n]
	first := s.room[p.class]
	p.before, p.after = 0, first
	if first > 0 {
		s.pages[first-1].before = n + 1
	}
	s.room[p.class] = n + 1
}

func (s *slab) unlink(n uint32) {
	p := &s.pages[n]
	if p.before > 0 {
		s.pages[p.before-1].after = p.after
	} else {
		s.room[p.class] = p.after
	}
	if p.after > 0 {
		s.pages[p.after-1].before = p.before
	}
}

// bytes of a block, and what is behind it.
func (s *slab) bytes(block uint32) []byte {
	return s.pages[block/pageUnits].bytes[block%pageUnits*blockUnit:]
}

func (s *slab) give(block uint32) {
	n := block / pageUnits
	p := &s.pages[n]
	full := !p.hasRoom()
	at := block % pageUnits * blockUnit
	binary.LittleEndian.PutUint16(p.bytes[at:], p.free)
	p.free = uint16(int(at)/blockSize(p.class)) + 1
	p.used--
	if full {
		s.link(n)
	}
	if p.used == 0 {
		s.unlink(n)
		*p = page{}
		s.spare = append(s.spare, n)
	}
}

package eventlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// The mark is a file beside the streams that remembers what the log has
// acknowledged, so that a start can tell a tail that nobody was told of from one
// that is lost. It is written after each answer and not waited for: it survives
// the process, and after a power cut it may be older than the log. It is never
// newer than what the log's disk was made to take, as far as settled says.
//
// The file is a row of sectors, each written whole: a header, then one for each
// subject of EVENTS and INPUTS, for REJECTED, and for the floor of each stream.
//
//	crc32c   4 bytes, of what follows
//	seq      8 bytes
//	settled  8 bytes
//	total    8 bytes
//	name     2 bytes length, bytes
//
// The header's name is markVersion, and its seq 1 after the log was closed well.
const (
	markName    = "acknowledged"
	markVersion = "kelpie acknowledged 1"
	markSector  = 512
	markFixed   = 4 + 3*8 + 2
	floorPrefix = "floor "
	// settleAge is how many sync intervals after its answer a message is taken
	// to be on the disk.
	settleAge = 3
)

var markTable = crc32.MakeTable(crc32.Castagnoli)

// mark is the open file. It is safe for concurrent use.
type mark struct {
	f        *os.File
	log      *slog.Logger
	interval time.Duration // 0: what is answered is on the disk

	mu    sync.Mutex
	slots map[string]*slot
	next  int64 // where the next new slot goes
	clean bool  // the log was closed well before it was opened now
	fresh bool  // there was no mark
	told  bool  // that it can't be written
}

// slot is what is remembered under one name.
type slot struct {
	m    *mark
	name string
	at   int64

	mu      sync.Mutex
	seq     uint64 // acknowledged
	settled uint64 // on the disk for sure
	total   uint64 // of the source's events, with this message
	// sample is a sequence that was acknowledged at sampled.
	sample  uint64
	sampled time.Time
	buf     []byte
}

// openMark reads the mark, and makes one if there is none. A sector that can't be
// read counts as not there: the log then knows less, and refuses less.
func openMark(dir string, interval time.Duration, log *slog.Logger) (*mark, error) {
	f, err := os.OpenFile(filepath.Join(dir, markName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	m := &mark{f: f, log: log, interval: interval, slots: map[string]*slot{}, next: markSector}
	data, err := io.ReadAll(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	m.fresh = len(data) == 0
	for at := 0; at+markSector <= len(data); at += markSector {
		s := &slot{m: m, at: int64(at)}
		if !s.parse(data[at : at+markSector]) {
			if at > 0 {
				m.next = int64(at) + markSector
			}
			log.Warn("a part of the record of what the log acknowledged can't be read", "file", f.Name(), "offset", at)
			continue
		}
		if at == 0 {
			m.clean = s.name == markVersion && s.seq == 1
			continue
		}
		m.slots[s.name], m.next = s, int64(at)+markSector
	}
	if err := m.header(0); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return m, nil
}

// header says whether the log was closed well.
func (m *mark) header(clean uint64) error {
	s := &slot{m: m, name: markVersion, seq: clean}
	return s.write()
}

// slot returns the slot of a name, a new one if there is none; nil for a name that
// does not fit into a sector, which is not remembered.
func (m *mark) slot(name string) *slot {
	if len(name) > markSector-markFixed {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.slots[name]
	if s == nil {
		s = &slot{m: m, name: name, at: m.next}
		m.slots[name], m.next = s, m.next+markSector
	}
	return s
}

// all returns the slots that something is remembered in. It is for the start alone,
// while nothing is published.
func (m *mark) all() []*slot {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []*slot
	for _, s := range m.slots {
		if s.seq > 0 {
			all = append(all, s)
		}
	}
	return all
}

// acknowledged notes an answer. That it can't be written is told once: the log
// itself is not harmed.
func (s *slot) acknowledged(seq, total uint64) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if seq <= s.seq {
		return
	}
	s.seq, s.total = seq, total
	if s.m.interval == 0 {
		s.settled = seq
	} else {
		s.settle(time.Now())
	}
	if err := s.write(); err != nil {
		s.m.tell(err)
	}
}

// settle counts as on the disk what was answered some intervals ago.
func (s *slot) settle(now time.Time) {
	if age := now.Sub(s.sampled); age < settleAge*s.m.interval {
		return
	}
	s.settled = max(s.settled, s.sample)
	s.sample, s.sampled = s.seq, now
}

// replace sets what is remembered, downwards too.
func (s *slot) replace(seq, total uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seq, s.settled, s.total, s.sample = seq, seq, total, seq
	return s.write()
}

func (m *mark) tell(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.told {
		m.told = true
		m.log.Warn("what the log acknowledges can't be noted; a log that loses its end now may not be known for it", "error", err)
	}
}

// write writes the sector's part that is in use.
func (s *slot) write() error {
	b := append(s.buf[:0], 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint64(b, s.seq)
	b = binary.LittleEndian.AppendUint64(b, s.settled)
	b = binary.LittleEndian.AppendUint64(b, s.total)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(s.name)))
	b = append(b, s.name...)
	binary.LittleEndian.PutUint32(b, crc32.Checksum(b[4:], markTable))
	if s.buf == nil {
		// The first time the whole sector, so that the file has it.
		b = append(b, make([]byte, markSector-len(b))...)
	}
	s.buf = b
	_, err := s.m.f.WriteAt(b, s.at)
	return err
}

func (s *slot) parse(b []byte) bool {
	n := int(binary.LittleEndian.Uint16(b[28:]))
	if n > markSector-markFixed || crc32.Checksum(b[4:markFixed+n], markTable) != binary.LittleEndian.Uint32(b) {
		return false
	}
	s.seq = binary.LittleEndian.Uint64(b[4:])
	s.settled = binary.LittleEndian.Uint64(b[12:])
	s.total = binary.LittleEndian.Uint64(b[20:])
	s.name = string(b[markFixed : markFixed+n])
	return true
}

// floor notes durably that what is below a sequence of a stream is not needed any
// more, before it goes.
func (m *mark) floor(stream string, seq uint64) error {
	s := m.slot(floorPrefix + stream)
	s.mu.Lock()
	defer s.mu.Unlock()
	if seq <= s.seq {
		return nil
	}
	s.seq = seq
	if err := errors.Join(s.write(), m.f.Sync()); err != nil {
		return fmt.Errorf("%s: %w", m.f.Name(), err)
	}
	return nil
}

// floorOf is what floor noted; 0 if nothing was.
func (m *mark) floorOf(stream string) uint64 {
	m.mu.Lock()
	s := m.slots[floorPrefix+stream]
	m.mu.Unlock()
	if s == nil {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seq
}

// accepted is the last sequence of a stream below which losses were accepted.
func (m *mark) accepted(stream string) uint64 {
	s := m.slot(floorPrefix + stream)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total
}

// begins notes that a stream has never had a message below a sequence.
func (m *mark) begins(stream string, first uint64) error {
	s := m.slot(floorPrefix + stream)
	s.mu.Lock()
	same := s.seq == first && s.total == first-1
	s.mu.Unlock()
	if same {
		return nil
	}
	return s.replace(first, first-1)
}

// close ends the mark; well says that the streams were closed as they should.
func (m *mark) close(well bool) error {
	var err error
	if well {
		err = m.header(1)
	}
	return errors.Join(err, m.f.Sync(), m.f.Close())
}

// slotOf is where a subject's messages are noted: REJECTED has one for all of them,
// and what only stands in for lost messages is noted nowhere.
func (m *mark) slotOf(stream, subject string) *slot {
	switch {
	case stream == rejected:
		return m.slot(stream)
	case nameOf(subject) == "":
		return nil
	}
	return m.slot(subject)
}

// Package audit is the trail of what was decided, done and changed. Its entries are
// chained: each has a hash over itself and the one before it, so that none can be
// changed, taken out or put in without every later hash being another. That the end
// was cut off, only somebody can tell who has kept a later head.
package audit

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Hash is the SHA-256 of an entry's sequence (8 bytes, big-endian), the hash before
// it, and its record's bytes, one after the other. Before the first entry it is zero.
type Hash [sha256.Size]byte

// String is hexadecimal.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText makes it hexadecimal.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (h *Hash) UnmarshalText(text []byte) error {
	if hex.DecodedLen(len(text)) != len(h) {
		return fmt.Errorf("a hash has %d hexadecimal digits, not %d", 2*len(h), len(text))
	}
	_, err := hex.Decode(h[:], text)
	return err
}

// Entry is one record in the chain. Record is JSON, a model.Record, and is hashed as
// it stands.
type Entry struct {
	Seq    uint64          `json:"seq"` // from 1
	Hash   Hash            `json:"hash"`
	Record json.RawMessage `json:"record"`
}

// Head is the end of a chain: its last entry's sequence and hash.
type Head struct {
	Seq  uint64 `json:"seq"`
	Hash Hash   `json:"hash"`
}

// String is "sequence:hash", as people keep it.
func (h Head) String() string { return fmt.Sprintf("%d:%s", h.Seq, h.Hash) }

// ParseHead reads what String writes.
func ParseHead(text string) (Head, error) {
	seq, hash, ok := strings.Cut(text, ":")
	n, err := strconv.ParseUint(seq, 10, 64)
	if !ok || err != nil {
		return Head{}, errors.New("a head is written as sequence:hash")
	}
	h := Head{Seq: n}
	return h, h.Hash.UnmarshalText([]byte(hash))
}

// Next is the entry that follows a head.
func Next(last Head, record []byte) Entry {
	e := Entry{Seq: last.Seq + 1, Record: record}
	e.Hash = hash(e.Seq, last.Hash, record)
	return e
}

// Head is the chain's head if the entry is its last.
func (e Entry) Head() Head { return Head{e.Seq, e.Hash} }

func hash(seq uint64, before Hash, record []byte) Hash {
	sum := sha256.New()
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], seq)
	sum.Write(n[:])
	sum.Write(before[:])
	sum.Write(record)
	var h Hash
	sum.Sum(h[:0])
	return h
}

package eventlog

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/minio/highwayhash"
	"golang.org/x/sys/unix"
)

// The server keeps a stream in block files, whose records it verifies only when it
// rebuilds its index, and then by cutting a block off at the first bad one. So that
// nothing is cut off unseen, we read the blocks ourselves before the server does.
//
// A record is (nats-server v2, server/filestore.go, writeMsgRecordLocked):
//
//	length   4 bytes, of the record; the highest bit says that headers follow
//	seq      8 bytes; the two highest bits mark erased messages and tombstones
//	time     8 bytes
//	subject  2 bytes length, bytes
//	headers  4 bytes length, bytes, if there are any
//	body     the rest
//	hash     8 bytes: HighwayHash-64 of all but the lengths, keyed by the
//	         SHA-256 of the stream's name, "-" and the block's number
const (
	blockHeader  = 22
	blockHash    = 8
	blockHeaders = 1 << 31
	blockErased  = 1 << 63
	blockTomb    = 1 << 62
	blockLargest = 32 << 20
	blockSuffix  = ".blk"
)

// blockRecord is one good record of a block.
type blockRecord struct {
	seq     uint64
	subject string
	payload []byte
	message bool // not erased, and no tombstone
	begin   int
	end     int
}

// badRecord is where a block can't be read.
type badRecord struct {
	begin, end int
	seq        uint64 // 0 if that can't be told
	subject    string // likewise
	reason     string
}

// blockFile is one block of a stream.
type blockFile struct {
	path  string
	index int
}

// blockDir is the folder of a stream's blocks.
func blockDir(dir, stream string) string {
	return filepath.Join(dir, "jetstream", "$G", "streams", stream, "msgs")
}

// blocks lists a stream's blocks in their order.
func blocks(dir string) ([]blockFile, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil, nil // what should be there the server tells
	} else if err != nil {
		return nil, err
	}
	var all []blockFile
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), blockSuffix)
		if index, err := strconv.Atoi(name); ok && err == nil {
			all = append(all, blockFile{filepath.Join(dir, e.Name()), index})
		}
	}
	slices.SortFunc(all, func(a, b blockFile) int { return a.index - b.index })
	return all, nil
}

// firstSeq reads the sequence that a block begins with; 0 if it can't be told.
func (b blockFile) firstSeq() (uint64, error) {
	f, err := os.Open(b.path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var head [blockHeader]byte
	if n, _ := f.ReadAt(head[:], 0); n < blockHeader {
		return 0, nil
	}
	if seq := binary.LittleEndian.Uint64(head[4:]); seq&(blockErased|blockTomb) == 0 {
		return seq, nil
	}
	return 0, nil
}

// blockReader reads a block's records.
type blockReader struct {
	data   []byte
	prefix []byte // of every subject
	hash   hash.Hash64
	sum    [highwayhash.Size64]byte
}

func newBlockReader(stream string, index int, data []byte) (*blockReader, error) {
	key := sha256.Sum256(fmt.Appendf(nil, "%s-%d", stream, index))
	h, err := highwayhash.New64(key[:])
	if err != nil {
		return nil, err
	}
	return &blockReader{data: data, prefix: []byte(stream + "."), hash: h}, nil
}

// at reads the record at an offset. reason is empty if it is good; otherwise r is
// what its header claims, and plausible says whether that gives the record's end.
func (b *blockReader) at(offset int) (r blockRecord, plausible bool, reason string) {
	rest := b.data[offset:]
	if len(rest) < blockHeader+blockHash {
		return r, false, "the file ends in a record"
	}
	length := binary.LittleEndian.Uint32(rest)
	headers := length&blockHeaders != 0
	size := int(length &^ blockHeaders)
	subject := int(binary.LittleEndian.Uint16(rest[20:]))
	fixed := blockHeader + subject + blockHash
	if headers {
		fixed += 4
	}
	switch {
	case size < fixed, size > blockLargest:
		return r, false, "a record's length is wrong"
	case size > len(rest):
		return r, false, "the file ends in a record"
	}
	rest = rest[:size]
	seq := binary.LittleEndian.Uint64(rest[4:])
	body := rest[blockHeader+subject : size-blockHash]
	payload := body
	if headers {
		head := binary.LittleEndian.Uint32(body)
		body = body[4:]
		payload = body[min(uint64(head), uint64(len(body))):]
	}
	r = blockRecord{
		seq: seq &^ (blockErased | blockTomb), message: seq != 0 && seq&(blockErased|blockTomb) == 0,
		subject: string(rest[blockHeader : blockHeader+subject]), payload: payload,
		begin: offset, end: offset + size,
	}
	b.hash.Reset()
	_, _ = b.hash.Write(rest[4:20])
	_, _ = b.hash.Write(rest[blockHeader : blockHeader+subject])
	_, _ = b.hash.Write(body)
	if !bytes.Equal(b.hash.Sum(b.sum[:0]), rest[size-blockHash:]) {
		return r, true, "a record's checksum is wrong"
	}
	return r, true, ""
}

// read goes through a block. What lies between a bad record's begin and the next good
// record counts as one bad record.
func (b *blockReader) read(good func(blockRecord), bad func(badRecord)) {
	for offset := 0; offset < len(b.data); {
		r, plausible, reason := b.at(offset)
		if reason == "" {
			good(r)
			offset = r.end
			continue
		}
		place := badRecord{begin: offset, reason: reason}
		if plausible && (r.end == len(b.data) || b.good(r.end)) {
			place.end, place.seq, place.subject = r.end, r.seq, r.subject
		} else {
			place.end = b.next(offset + 1)
		}
		bad(place)
		offset = place.end
	}
}

func (b *blockReader) good(offset int) bool {
	_, _, reason := b.at(offset)
	return reason == ""
}

// next finds the next good record by its subject.
func (b *blockReader) next(offset int) int {
	for at := offset + blockHeader; at < len(b.data); at++ {
		i := bytes.Index(b.data[at:], b.prefix)
		if i < 0 {
			break
		}
		if at += i; b.good(at - blockHeader) {
			return at - blockHeader
		}
	}
	return len(b.data)
}

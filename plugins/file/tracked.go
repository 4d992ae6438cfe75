package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"
)

const (
	// headLength is how much of a file's beginning makes its fingerprint, in bytes.
	headLength = 1 << 10
	// tailLength is how much before the offset is compared, in bytes, when a file is
	// found again.
	tailLength = 256
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// tracked is a file that is read, whatever its name is by now.
type tracked struct {
	path   string // as the pattern found it
	offset int64  // what is before it has been sent, or is in the batch to be sent
	head   []byte // the file's first bytes up to headLength, as far as they are known
	tail   []byte // the bytes before offset, up to tailLength
	print  string // the fingerprint, once headLength bytes are before offset
	ahead  string // likewise, when they are known and offset has not passed them
	code   []byte // the entry in the cursor, if nothing has changed since

	// last is the position, if the file has not been read on since.
	last *position

	// saved is the entry of the cursor that the session began with, until the file has
	// been found.
	saved *position

	handle *os.File
	info   fs.FileInfo // as last seen; nil: not found in this session
	// seen is the file as of when it was last read to its end.
	seen  fs.FileInfo
	large *large // a line too large that has been read in part
	rest  *rest  // a last line that was reported before it had its end
	// judged is how the file was when it was last decided whether to report that.
	judged judged

	placed bool      // the pattern finds it
	lostAt time.Time // when it was last found, if it is not
	grown  time.Time // when it was last seen to have changed
	used   uint64    // when it was opened, in a count
}

// judged is what decides about a line without a newline: the file's size, and whether
// nothing more is to be expected.
type judged struct {
	size int64
	done bool
}

// rest is an unterminated line that was reported; it is not reported again when its
// newline comes.
type rest struct {
	offset int64
	length int64
	sum    uint32
}

// is tells whether it is that line.
func (r *rest) is(offset, length int64, sum uint32) bool {
	return r != nil && *r == rest{offset, length, sum}
}

// fingerprint of a file's first bytes.
func fingerprint(head []byte) string {
	sum := sha256.Sum256(head)
	return hex.EncodeToString(sum[:12])
}

func tailSum(tail []byte) string {
	return fmt.Sprintf("%08x", crc32.Checksum(tail, castagnoli))
}

// learn takes in a block that stands at offset, which has not been read before.
func (t *tracked) learn(block []byte) {
	if t.offset >= headLength {
		return
	}
	t.head = append(t.head[:t.offset:t.offset], block[:min(len(block), headLength-int(t.offset))]...)
	t.ahead = ""
}

// advance moves the offset over bytes that were learnt.
func (t *tracked) advance(over []byte) {
	if len(over) > 0 {
		t.skip(int64(len(over)), over)
	}
}

// skip moves the offset over n bytes; last are the last of them, at least tailLength
// if there are so many. Those that belong to the head must have been learnt.
func (t *tracked) skip(n int64, last []byte) {
	t.offset += n
	if len(last) < tailLength {
		last = append(t.tail, last...)
	}
	t.tail = bytes.Clone(last[max(0, len(last)-tailLength):])
	t.last, t.code = nil, nil
	if t.print == "" && t.offset >= headLength {
		t.print = t.fingerprintAt(headLength)
		t.head = nil
	}
}

// fingerprintAt is the fingerprint of the first bytes up to end, at most headLength of
// them. Everything before end must have been learnt.
func (t *tracked) fingerprintAt(end int64) string {
	switch {
	case t.print != "":
		return t.print
	case end < headLength:
		return fingerprint(t.head[:min(end, int64(len(t.head)))])
	case t.ahead == "":
		t.ahead = fingerprint(t.head)
	}
	return t.ahead
}

// position is what the cursor says about the file.
func (t *tracked) position() position {
	switch {
	case t.saved != nil:
		return *t.saved
	case t.last == nil:
		t.last = &position{
			Fingerprint: t.fingerprintAt(t.offset),
			Length:      int(min(t.offset, headLength)),
			Tail:        tailSum(t.tail),
			Offset:      t.offset,
		}
	}
	return *t.last
}

func (t *tracked) encoded() []byte {
	if t.code == nil {
		p := t.position()
		p.Path = t.path
		t.code, _ = json.Marshal(p)
	}
	return t.code
}

// isAt tells whether a file has the content that the position speaks of.
func (p *position) isAt(f io.ReaderAt, size int64) (head, tail []byte, ok bool) {
	if size < p.Offset {
		return nil, nil, false
	}
	head = make([]byte, p.Length)
	if _, err := f.ReadAt(head, 0); err != nil || fingerprint(head) != p.Fingerprint {
		return nil, nil, false
	}
	tail = make([]byte, min(p.Offset, tailLength))
	if _, err := f.ReadAt(tail, p.Offset-int64(len(tail))); err != nil || tailSum(tail) != p.Tail {
		return nil, nil, false
	}
	return head, tail, true
}

// verify tells whether the open file still begins with what was read from it.
func (t *tracked) verify(size int64) bool {
	if t.offset == 0 {
		return true
	}
	p := t.position()
	_, _, ok := p.isAt(t.handle, size)
	return ok
}

// found takes a file that was recognised: how far it was read is known again.
func (t *tracked) found(head, tail []byte) {
	if t.saved == nil {
		return
	}
	t.tail = tail
	if t.saved.Length == headLength {
		t.print = t.saved.Fingerprint
	} else {
		t.head = head
	}
	t.saved = nil
}

// fork is another file that has the same content up to the offset.
func (t *tracked) fork(path string) *tracked {
	return &tracked{
		path: path, offset: t.offset, print: t.print,
		head: bytes.Clone(t.head), tail: bytes.Clone(t.tail),
	}
}

// atEnd tells whether nothing has happened to the file since it was read to its end.
func (t *tracked) atEnd() bool {
	return t.seen != nil && t.info != nil && t.seen.Size() == t.info.Size() && t.seen.ModTime().Equal(t.info.ModTime())
}

// jump goes to an offset of the open file without reading what is before it.
func (t *tracked) jump(offset int64) error {
	head := make([]byte, min(offset, headLength))
	tail := make([]byte, min(offset, tailLength))
	if _, err := t.handle.ReadAt(head, 0); err != nil {
		return err
	}
	if _, err := t.handle.ReadAt(tail, offset-int64(len(tail))); err != nil {
		return err
	}
	t.learn(head)
	t.skip(offset, tail)
	return nil
}

func (t *tracked) closeHandle() {
	if t.handle != nil {
		_ = t.handle.Close() // nothing was written
		t.handle = nil
	}
	t.large = nil
}

var errNotRegular = errors.New("it is no regular file")

// openFile opens a regular file. It does not wait for the writer of a pipe that was put
// in its place.
func openFile(path string) (*os.File, fs.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "read", Path: path, Err: errNotRegular}
	}
	if err != nil {
		_ = f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

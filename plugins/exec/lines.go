package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
)

// errEndless means that a line is longer than any that is read to its end.
var errEndless = errors.New("a line has no end")

// line is one line of output, without its end.
type line struct {
	// text is all of it or, where it is longer than lines.whole, its beginning.
	text   []byte
	length int64
	sum    [32]byte // of all of it, where text is not all
	ended  bool     // false: the output ended in the middle of it
}

// lines takes an output apart in bounded memory, whatever is in it.
type lines struct {
	in *bufio.Reader
	// whole is the longest line that is kept whole, head what is kept of a longer one.
	whole, head int
	// longest is where a line is given up.
	longest int64
	read    int64 // of the output, in all
}

func newLines(r io.Reader, whole, head int, longest int64) *lines {
	return &lines{in: bufio.NewReaderSize(r, 64<<10), whole: whole, head: head, longest: longest}
}

// next line, or io.EOF, or errEndless.
func (l *lines) next() (line, error) {
	var out line
	var sum hash.Hash // of a line that is not kept whole
	for {
		part, err := l.in.ReadSlice('\n')
		l.read += int64(len(part))
		if len(part) > 0 && part[len(part)-1] == '\n' {
			out.ended = true
			part = part[:len(part)-1]
		}
		out.length += int64(len(part))
		switch {
		case sum != nil:
			sum.Write(part)
		case out.length <= int64(l.whole):
			out.text = append(out.text, part...)
		default:
			sum = sha256.New()
			sum.Write(out.text)
			sum.Write(part)
			if room := l.head - len(out.text); room > 0 {
				out.text = append(out.text, part[:min(room, len(part))]...)
			}
			out.text = bytes.Clone(out.text[:min(len(out.text), l.head)])
		}
		switch {
		case out.length > l.longest:
			return line{}, errEndless
		case out.ended || err != nil && err != bufio.ErrBufferFull:
			if !out.ended && out.length == 0 {
				return line{}, err
			}
			if sum != nil {
				sum.Sum(out.sum[:0])
			} else {
				out.text = bytes.TrimSuffix(out.text, []byte("\r"))
			}
			return out, nil
		}
	}
}

// ready tells whether the next line is here already.
func (l *lines) ready() bool {
	here, _ := l.in.Peek(l.in.Buffered())
	return bytes.IndexByte(here, '\n') >= 0
}

package main

import (
	"compress/gzip"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync"
)

const (
	// bodiesAtOnce is how many bodies of the largest size are held in memory at once.
	bodiesAtOnce = 8
	// minMemory is what there is for bodies where that would be less, in bytes.
	minMemory = 64 << 20
	readStep  = 16 << 10
)

func tooLarge(limit int64) *refusal {
	return refuse(http.StatusRequestEntityTooLarge, "the body has more than %d bytes; send the events in several requests", limit)
}

// mediaType is the content type without its parameters; empty where there is none.
func mediaType(r *http.Request) string {
	text := r.Header.Get("Content-Type")
	if kind, _, err := mime.ParseMediaType(text); err == nil {
		return kind
	}
	return strings.TrimSpace(text)
}

// lineTypes are the content types of one JSON object a line.
var lineTypes = map[string]bool{
	"application/x-ndjson": true, "application/ndjson": true, "application/jsonl": true, "application/x-jsonlines": true,
	"application/jsonlines": true, "application/json-lines": true,
}

func isLines(r *http.Request) bool { return lineTypes[mediaType(r)] }

func isJSON(kind string) bool {
	return kind == "" || kind == "application/json" || lineTypes[kind] || strings.HasPrefix(kind, "application/") && strings.HasSuffix(kind, "+json")
}

// readBody reads and decompresses a body of at most so many bytes, in either form.
func readBody(w http.ResponseWriter, r *http.Request, limit int64, memory *lease) ([]byte, error) {
	raw := http.MaxBytesReader(w, r.Body, limit)
	var source io.Reader = raw
	switch encoding := strings.ToLower(strings.TrimSpace(r.Header.Get("Content-Encoding"))); encoding {
	case "", "identity":
	case "gzip", "x-gzip":
		unzip, err := gzip.NewReader(raw)
		if err != nil {
			return nil, bodyError(err, limit)
		}
		source = unzip
	default:
		refused := refuse(http.StatusUnsupportedMediaType, "the content encoding must be gzip or none, not %q", encoding)
		refused.header = [2]string{"Accept-Encoding", "gzip"}
		return nil, refused
	}
	body, err := readAll(io.LimitReader(source, limit+1), memory)
	if err != nil {
		return nil, bodyError(err, limit)
	}
	if int64(len(body)) > limit {
		return nil, tooLarge(limit)
	}
	return body, nil
}

// bodyError says what is wrong with a body.
func bodyError(err error, limit int64) error {
	var large *http.MaxBytesError
	var refused *refusal
	switch {
	case errors.As(err, &large):
		return tooLarge(limit)
	case errors.As(err, &refused):
		return refused
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum):
		return refuse(http.StatusBadRequest, "the body is no gzip")
	}
	return refuse(http.StatusBadRequest, "the body could not be read to its end")
}

// readAll reads all, as far as there is memory for it.
func readAll(source io.Reader, memory *lease) ([]byte, error) {
	var body []byte
	for {
		if len(body) == cap(body) {
			grown := max(readStep, 2*cap(body))
			if !memory.take(int64(grown - cap(body))) {
				return nil, later(http.StatusTooManyRequests, "too much is being sent at once; send it again")
			}
			body = append(make([]byte, 0, grown), body...)
		}
		n, err := source.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		if errors.Is(err, io.EOF) {
			return body, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// budget bounds what the bodies of all requests take of the memory, in bytes.
type budget struct {
	mu   sync.Mutex
	left int64
}

// lease is what one request has taken of a budget. It is for one goroutine.
type lease struct {
	from  *budget
	bytes int64
}

func (b *budget) lease() *lease { return &lease{from: b} }

func (l *lease) take(n int64) bool {
	l.from.mu.Lock()
	defer l.from.mu.Unlock()
	if l.from.left < n {
		return false
	}
	l.from.left -= n
	l.bytes += n
	return true
}

func (l *lease) release() {
	l.from.mu.Lock()
	defer l.from.mu.Unlock()
	l.from.left += l.bytes
	l.bytes = 0
}

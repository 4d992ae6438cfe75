package main

import (
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

const (
	// maxSaid bounds a line of standard error that is logged, maxLastSaid one in an
	// error, in bytes.
	maxSaid     = 4 << 10
	maxLastSaid = 300
	// saidLines of one run are logged in each saidEvery.
	saidLines = 100
	saidEvery = time.Minute
)

// speech is what a program writes to its standard error: for people, in the log.
type speech struct {
	log *slog.Logger

	since   time.Time
	lines   int
	dropped int

	mu  sync.Mutex
	end string
}

// listen logs what is said until it ends. It always reads, so that nobody who says too
// much is held up.
func (s *speech) listen(r io.Reader) {
	in := newLines(r, maxSaid, maxSaid, 1<<62)
	for {
		l, err := in.next()
		if err != nil {
			break
		}
		text := sdk.Visible(string(l.text))
		if text == "" {
			continue
		}
		s.mu.Lock()
		s.end = text
		s.mu.Unlock()
		s.say(text)
	}
	s.report()
}

func (s *speech) say(text string) {
	if now := time.Now(); now.Sub(s.since) >= saidEvery {
		s.report()
		s.since, s.lines = now, 0
	}
	if s.lines++; s.lines > saidLines {
		s.dropped++
		return
	}
	s.log.Info("the program says", "line", text)
}

func (s *speech) report() {
	if s.dropped > 0 {
		s.log.Warn("the program says too much on its standard error: lines were dropped", "lines", s.dropped)
		s.dropped = 0
	}
}

// last is the last line that was said.
func (s *speech) last() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return shortened(s.end, maxLastSaid)
}

// shortened is at most n bytes of a text, at the end of a character.
func shortened(text string, n int) string {
	if len(text) <= n {
		return text
	}
	const dots = "…"
	n -= len(dots)
	for n > 0 && text[n]&0xc0 == 0x80 {
		n--
	}
	return text[:n] + dots
}

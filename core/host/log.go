package host

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

const (
	// maxLine bounds a log line, in bytes; the rest of a longer one is dropped.
	maxLine = 64 << 10
	// A process may log linesPerSecond, and linesBurst at once. It is read no faster
	// than bytesPerSecond, so that a flood costs the plugin and not the core.
	linesPerSecond = 200
	linesBurst     = 1000
	bytesPerSecond = 8 << 20
	// tailLines of standard error are kept for the reason of a crash, each up to
	// tailBytes.
	tailLines = 20
	tailBytes = 1 << 10
	// maxLogAttrs of a line are kept.
	maxLogAttrs = 32

	levelTrace = slog.LevelDebug - 4
)

// output logs what a process says, bounded and scrubbed.
type output struct {
	log       *slog.Logger
	roster    *roster
	lines     *rate.Limiter
	bytes     *rate.Limiter
	dropped   atomic.Int64 // in all
	panicking bool         // of the reader of standard error alone
	panicked  int          // lines since that began

	mu         sync.Mutex
	tail       [][]byte
	unreported int64
}

func newOutput(log *slog.Logger, r *roster) *output {
	return &output{
		log: log, roster: r,
		lines: rate.NewLimiter(linesPerSecond, linesBurst),
		bytes: rate.NewLimiter(bytesPerSecond, bytesPerSecond),
	}
}

// readLines calls do for each line until r ends. The line is the caller's only until
// do returns.
func (o *output) readLines(r io.Reader, do func(line []byte)) {
	reader := bufio.NewReaderSize(r, 32<<10)
	var line []byte
	for {
		keep := maxLine + o.roster.scrub().longest // a secret that the cut would part must be whole
		part, err := reader.ReadSlice('\n')
		if room := keep - len(line); room > 0 {
			line = append(line, part[:min(room, len(part))]...)
		}
		if wait := o.bytes.ReserveN(time.Now(), len(part)).Delay(); wait > 0 {
			time.Sleep(wait)
		}
		if err == bufio.ErrBufferFull {
			continue
		}
		if line = bytes.TrimRight(line, "\r\n"); len(line) > 0 {
			do(line)
		}
		line = line[:0]
		if err != nil {
			return
		}
	}
}

// stderr logs one line of standard error: hclog's JSON, or text.
func (o *output) stderr(line []byte) {
	o.remember(line)
	level, message, attrs := o.parse(line)
	o.write(level, message, attrs)
}

// unexpected logs a line that a plugin printed where it must not.
func (o *output) unexpected(stream string, line []byte) {
	o.write(slog.LevelWarn, "unexpected output: a plugin must not print; it logs by slog", []slog.Attr{
		slog.String("stream", stream), slog.String("line", string(line)),
	})
}

// write logs unless there was too much already.
func (o *output) write(level slog.Level, message string, attrs []slog.Attr) {
	ctx := context.Background()
	if !o.log.Enabled(ctx, level) {
		return
	}
	if !o.lines.Allow() {
		o.dropped.Add(1)
		o.mu.Lock()
		o.unreported++
		o.mu.Unlock()
		return
	}
	o.report()
	for n := range attrs {
		attrs[n].Value = slog.StringValue(o.clean(attrs[n].Value.String()))
	}
	o.log.LogAttrs(ctx, level, o.clean(message), attrs...)
}

// report says how much was dropped, once something is logged again or all is over.
func (o *output) report() {
	o.mu.Lock()
	n := o.unreported
	o.unreported = 0
	o.mu.Unlock()
	if n > 0 {
		o.log.Warn("the plugin logs too much: lines were dropped", "lines", n)
	}
}

func (o *output) clean(text string) string { return cut(plain(o.roster.scrub().text(text)), maxLine) }

// parse takes a line apart: hclog's JSON with its level, a text with its level in
// brackets, a panic, or any other text.
func (o *output) parse(line []byte) (slog.Level, string, []slog.Attr) {
	if entry, ok := parseEntry(line); ok {
		o.panicking = false
		return entry.level, entry.message, o.attrs(entry.rest)
	}
	text := string(line)
	for _, l := range levels {
		if strings.HasPrefix(text, l.bracket) {
			o.panicking = false
			return l.level, strings.TrimSpace(text[len(l.bracket):]), nil
		}
	}
	if slices.ContainsFunc(panics, func(p string) bool { return strings.HasPrefix(text, p) }) {
		o.panicking, o.panicked = true, 0
	}
	if o.panicking {
		return slog.LevelError, text, nil
	}
	return slog.LevelInfo, text, nil
}

// panics are how the last words of a Go program begin: what comes long after is its stacks
// and registers.
var panics = []string{"panic: ", "fatal error: ", "runtime: ", "runtime/cgo: ", "SIGABRT: ", "SIGSEGV: "}

var levels = []struct {
	name, bracket string
	level         slog.Level
}{
	{"trace", "[TRACE]", levelTrace},
	{"debug", "[DEBUG]", slog.LevelDebug},
	{"info", "[INFO]", slog.LevelInfo},
	{"warn", "[WARN]", slog.LevelWarn},
	{"error", "[ERROR]", slog.LevelError},
}

// levelName is hclog's name of the least level that a logger takes.
func levelName(log *slog.Logger) string {
	for _, l := range levels {
		if log.Enabled(context.Background(), l.level) {
			return l.name
		}
	}
	return "error"
}

// entry is a line of hclog's.
type entry struct {
	level   slog.Level
	message string
	rest    map[string]json.RawMessage
}

// parseEntry trusts nothing: go-plugin's own reader of these lines panics on a message
// that is not a string.
func parseEntry(line []byte) (entry, bool) {
	if len(line) == 0 || line[0] != '{' {
		return entry{}, false
	}
	var rest map[string]json.RawMessage
	if err := json.Unmarshal(line, &rest); err != nil {
		return entry{}, false
	}
	e := entry{level: slog.LevelInfo, rest: rest}
	var level string
	if json.Unmarshal(rest["@message"], &e.message) != nil || json.Unmarshal(rest["@level"], &level) != nil {
		return entry{}, false
	}
	for _, l := range levels {
		if strings.EqualFold(level, l.name) {
			e.level = l.level
		}
	}
	for _, own := range []string{"@message", "@level", "@timestamp"} {
		delete(rest, own)
	}
	return e, true
}

// attrs of a line, sorted. An instance is believed only if the process serves it.
func (o *output) attrs(rest map[string]json.RawMessage) []slog.Attr {
	keys := make([]string, 0, len(rest))
	for key := range rest {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	keys = keys[:min(len(keys), maxLogAttrs)]
	attrs := make([]slog.Attr, 0, len(keys))
	for _, key := range keys {
		value := string(rest[key])
		var text string
		if json.Unmarshal(rest[key], &text) == nil {
			value = text
		}
		if address, ok := o.roster.address(value); ok && key == "instance" {
			attrs = append(attrs, slog.String(key, address))
			continue
		}
		switch key = cut(o.clean(key), 64); key {
		case "time", "level", "msg", "source", "plugin", "instance":
			key = "said_" + key
		}
		attrs = append(attrs, slog.String(key, value))
	}
	return attrs
}

// remember keeps the line among the last; of a panic the first ones, for they say why.
func (o *output) remember(line []byte) {
	if o.panicked++; o.panicking && o.panicked > tailLines/2 {
		return
	}
	kept := bytes.Clone(line[:min(len(line), tailBytes+o.roster.scrub().longest)])
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.tail) == tailLines {
		copy(o.tail, o.tail[1:])
		o.tail = o.tail[:tailLines-1]
	}
	o.tail = append(o.tail, kept)
}

// last lines of standard error, for people.
func (o *output) last() []string {
	o.mu.Lock()
	tail := slices.Clone(o.tail)
	o.mu.Unlock()
	lines := make([]string, 0, len(tail))
	for _, line := range tail {
		text := string(line)
		if e, ok := parseEntry(line); ok {
			text = e.message
			for _, key := range []string{"error", "err"} {
				if why := string(e.rest[key]); why != "" {
					text += fmt.Sprintf(" %s=%s", key, why)
				}
			}
		}
		lines = append(lines, cut(plain(o.roster.scrub().text(text)), tailBytes))
	}
	return lines
}

// lineWriter hands on whole lines of what is written to it.
type lineWriter struct {
	do      func(line []byte)
	partial []byte
}

func (w *lineWriter) Write(p []byte) (int, error) {
	written := len(p)
	for len(p) > 0 {
		part := p
		end := bytes.IndexByte(p, '\n')
		if end >= 0 {
			part = p[:end]
			p = p[end+1:]
		} else {
			p = nil
		}
		w.partial = append(w.partial, part...)
		if end < 0 && len(w.partial) < maxLine {
			break
		}
		if len(w.partial) > 0 {
			w.do(w.partial)
		}
		w.partial = w.partial[:0]
	}
	return written, nil
}

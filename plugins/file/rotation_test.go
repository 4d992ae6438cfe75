package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// rig is a log that somebody writes and rotates, with a session that reads it and a core
// that may lose what it has not made durable.
type rig struct {
	t     *rapid.T
	f     *file
	dir   string
	log   string
	glob  bool
	clock *clockwork

	w    *watch
	out  *recorder
	core []sent // what is durable

	written map[string]int // complete lines
	partial string         // what of a line is in the file, without newline
	whole   string         // that line
	files   int            // begun
	lines   int
}

// TestRotation writes, rotates, polls and kills in any order: in the end the core has
// each line once, under an id of its own.
func TestRotation(t *testing.T) {
	for _, glob := range []bool{false, true} {
		t.Run(fmt.Sprintf("glob=%v", glob), func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				dir, err := os.MkdirTemp(t.TempDir(), "")
				if err != nil {
					rt.Fatal(err)
				}
				r := &rig{t: rt, dir: dir, log: filepath.Join(dir, "log.json"), glob: glob, written: map[string]int{}}
				r.clock = &clockwork{time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
				path := r.log
				if glob {
					path += "*"
				}
				r.f = configured(t, block{"path": path})
				r.start(nil)
				defer func() { r.w.close() }()
				r.append(r.line() + "\n")
				r.poll()
				// Had the log been rotated before this is durable, nobody would look for it.
				r.core, r.out.sends = r.out.sends, nil
				rt.Repeat(map[string]func(*rapid.T){
					"write": func(*rapid.T) { r.write() },
					"half":  func(*rapid.T) { r.half() },
					"poll":  func(*rapid.T) { r.poll() },
					"wait":  func(*rapid.T) { r.clock.pass(grace) },
					"kill":  func(rt *rapid.T) { r.kill(rapid.IntRange(0, 3).Draw(rt, "lost")) },
					"rename": func(rt *rapid.T) {
						r.shift()
						must(rt, os.Rename(r.log, r.log+".1"))
						r.newFile()
					},
					"copytruncate": func(rt *rapid.T) {
						r.complete()
						r.shift()
						data, err := os.ReadFile(r.log)
						must(rt, err)
						write(rt, r.log+".1", string(data))
						r.touch(r.log + ".1")
						must(rt, os.Truncate(r.log, 0))
						r.touch(r.log)
						r.newFile()
					},
				})
				r.complete()
				for range 4 {
					r.poll()
					r.clock.pass(grace)
				}
				r.check()
			})
		})
	}
}

func (r *rig) start(cursor []byte) {
	r.out = &recorder{}
	var err error
	if r.w, err = r.f.watch(cursor, r.out); err != nil {
		r.t.Fatal(err)
	}
	r.w.now = r.clock.now
}

// line is a new one: some are like others in their file, none is like one of another.
func (r *rig) line() string {
	r.lines++
	line := fmt.Sprintf(`{"file":%d,"line":%d,"filler":%q}`, r.files, r.lines, strings.Repeat("x", r.lines%5*100))
	if r.lines%3 == 0 {
		line = fmt.Sprintf(`{"file":%d}`, r.files)
	}
	return line
}

func (r *rig) append(text string) {
	appendTo(r.t, r.log, text)
	r.touch(r.log)
	for line := range strings.Lines(text) {
		if line, ok := strings.CutSuffix(line, "\n"); ok {
			r.written[line]++
		}
	}
}

// touch makes times of files that differ, as they would if this took its time.
func (r *rig) touch(path string) {
	r.clock.pass(10 * time.Millisecond)
	if err := os.Chtimes(path, r.clock.at, r.clock.at); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) write() {
	r.complete()
	var text strings.Builder
	for range rapid.IntRange(1, 5).Draw(r.t, "lines") {
		text.WriteString(r.line() + "\n")
	}
	r.append(text.String())
}

// half begins a line.
func (r *rig) half() {
	r.complete()
	r.whole = r.line()
	r.partial = r.whole[:rapid.IntRange(1, len(r.whole)).Draw(r.t, "part")]
	r.append(r.partial)
}

func (r *rig) complete() {
	if r.partial == "" {
		return
	}
	rest := r.whole[len(r.partial):] + "\n"
	r.written[r.whole]++
	appendTo(r.t, r.log, rest)
	r.touch(r.log)
	r.partial = ""
}

// shift makes room for log.1.
func (r *rig) shift() {
	for n := r.files + 1; n > 0; n-- {
		from := r.log + "." + strconv.Itoa(n)
		if _, err := os.Stat(from); err == nil {
			if err := os.Rename(from, r.log+"."+strconv.Itoa(n+1)); err != nil {
				r.t.Fatal(err)
			}
		}
	}
}

// newFile begins a file; a line that has no end in the old one stays so.
func (r *rig) newFile() {
	if r.partial != "" {
		r.written[r.partial]++
		r.partial = ""
	}
	r.files++
	r.append(r.line() + "\n")
}

func (r *rig) poll() {
	if _, err := r.w.round(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	if r.out.trouble != nil {
		r.t.Fatal(r.out.trouble)
	}
}

// kill ends the session; the last few sends have not become durable.
func (r *rig) kill(lost int) {
	sends := r.out.sends
	sends = sends[:max(0, len(sends)-lost)]
	r.core = append(r.core, sends...)
	r.w.close()
	r.start(r.core[len(r.core)-1].cursor)
}

func (r *rig) check() {
	core := append(r.core, r.out.sends...)
	ids := map[string]map[string]int{}
	seen := map[string]string{}
	for _, s := range core {
		for _, e := range s.events {
			line := string(e.Raw)
			if other, ok := seen[e.ID]; ok && other != line {
				r.t.Errorf("id %s is of %s and of %s", e.ID, other, line)
			}
			seen[e.ID] = line
			if ids[line] == nil {
				ids[line] = map[string]int{}
			}
			ids[line][e.ID]++
		}
	}
	for line, n := range r.written {
		if len(ids[line]) != n {
			r.t.Errorf("%d events of %d lines %s", len(ids[line]), n, line)
		}
	}
	for line, found := range ids {
		for id, n := range found {
			if n != 1 && strings.HasSuffix(line, "}") { // before others without a newline the cursor stays
				r.t.Errorf("event %s of %s was counted %d times", id, line, n)
			}
		}
	}
}

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/kelpie-sec/kelpie/sdk"
)

// Ids do not depend on how much of the file there was when a line was read.
func TestIDsOfAGrowingFile(t *testing.T) {
	path := temp(t, "a.log")
	w, out, _ := watching(t, configured(t, block{"path": path}), nil)
	for i := range 60 {
		appendTo(t, path, fmt.Sprintf("{\"n\":%d,\"filler\":\"%0*d\"}\n", i, i, i))
		round(t, w)
	}
	whole := onceOver(t, block{"path": path}, nil).events()
	grown := out.events()
	if len(whole) != 60 || len(grown) != 60 {
		t.Fatalf("%d and %d events", len(whole), len(grown))
	}
	for i := range whole {
		if whole[i].ID != grown[i].ID {
			t.Errorf("line %d: id %s when it was written, %s later", i, grown[i].ID, whole[i].ID)
		}
	}
}

func TestStartAtTheEnd(t *testing.T) {
	dir := t.TempDir()
	old, other := filepath.Join(dir, "old.log"), filepath.Join(dir, "other.log")
	write(t, old, "{\"n\":1}\n{\"n\":")
	b := block{"path": filepath.Join(dir, "*.log"), "start": "end"}
	w, out, _ := watching(t, configured(t, b), nil)
	round(t, w)
	appendTo(t, old, "2}\n")
	write(t, other, "{\"n\":3}\n")
	round(t, w)
	if diff := cmp.Diff([]string{`{"n":2}`, `{"n":3}`}, out.lines()); diff != "" {
		t.Error(diff)
	}
	later, outLater, _ := watching(t, configured(t, b), out.cursor())
	appendTo(t, old, "{\"n\":4}\n")
	round(t, later)
	if diff := cmp.Diff([]string{`{"n":4}`}, outLater.lines()); diff != "" {
		t.Error(diff)
	}
	// An empty folder has been started too: what comes into it is new.
	empty := t.TempDir()
	b = b.with("path", filepath.Join(empty, "*.log"))
	first, outFirst, _ := watching(t, configured(t, b), nil)
	round(t, first)
	write(t, filepath.Join(empty, "a.log"), "{}\n")
	second, outSecond, _ := watching(t, configured(t, b), outFirst.cursor())
	round(t, second)
	if n := len(outSecond.events()); n != 1 {
		t.Errorf("%d events of a file that came later, want 1", n)
	}
}

func TestFollowingThroughNames(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "eve.json")
	write(t, path, "{\"n\":1}\n")
	for _, name := range []string{"eve.json.3.gz", "eve.json.bak", "eve-stats.json", "eve.jsonl"} {
		write(t, filepath.Join(dir, name), "{\"other\":\""+name+"\"}\n")
	}
	w, out, clock := watching(t, configured(t, block{"path": path}), nil)
	round(t, w)
	appendTo(t, path, "{\"n\":2}\n{\"half\":")
	must(t, os.Rename(path, filepath.Join(dir, "eve-20261122.json")))
	write(t, path, "{\"n\":4}\n")
	round(t, w)
	// The writer still has the old file for a while.
	appendTo(t, filepath.Join(dir, "eve-20261122.json"), "3}\n")
	round(t, w)
	must(t, os.Remove(path))
	clock.pass(2 * grace)
	round(t, w)
	round(t, w)
	clock.pass(2 * grace)
	round(t, w)
	if diff := cmp.Diff([]string{`{"n":1}`, `{"n":2}`, `{"n":4}`, `{"half":3}`}, out.lines()); diff != "" {
		t.Error(diff)
	}
	for _, f := range w.files {
		if f.handle != nil {
			t.Errorf("%s is still open, and its disk space is taken", f.path)
		}
	}
	clock.pass(forget + time.Minute)
	round(t, w)
	if len(w.files) != 0 {
		t.Errorf("%d files are not forgotten", len(w.files))
	}
	if out.trouble == nil || !strings.Contains(out.trouble.Error(), "there is no file") {
		t.Errorf("trouble = %v", out.trouble)
	}
}

func TestCopiesAndLinksAreReadOnce(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.log")
	write(t, path, "{\"n\":1}\n")
	b := block{"path": filepath.Join(dir, "*.log")}
	w, out, _ := watching(t, configured(t, b), nil)
	round(t, w)
	must(t, os.Symlink(path, filepath.Join(dir, "current.log")))
	must(t, os.Link(path, filepath.Join(dir, "hard.log")))
	write(t, filepath.Join(dir, "copy.log"), "{\"n\":1}\n")
	must(t, os.Mkdir(filepath.Join(dir, "folder.log"), 0o700))
	must(t, os.Symlink(filepath.Join(dir, "nowhere"), filepath.Join(dir, "dangling.log")))
	round(t, w)
	appendTo(t, path, "{\"n\":2}\n")
	round(t, w)
	appendTo(t, filepath.Join(dir, "copy.log"), "{\"n\":2}\n{\"n\":3}\n") // and goes its own way
	round(t, w)
	round(t, w)
	got := out.lines()
	slices.Sort(got)
	if diff := cmp.Diff([]string{`{"n":1}`, `{"n":2}`, `{"n":3}`}, slices.Compact(got)); diff != "" {
		t.Error(diff)
	}
	if out.trouble != nil {
		t.Error(out.trouble)
	}
}

// A file is written anew, with the same beginning, and is longer than before when it is
// looked at again.
func TestWrittenAnew(t *testing.T) {
	header := "{\"header\":\"" + strings.Repeat("h", 2*headLength) + "\"}\n"
	path := temp(t, "a.log")
	write(t, path, header+"{\"n\":1}\n{\"n\":2}\n")
	w, out, _ := watching(t, configured(t, block{"path": path}), nil)
	round(t, w)
	write(t, path, header+"{\"n\":7}\n{\"n\":8}\n{\"n\":9}\n")
	for range 2 {
		round(t, w)
	}
	ids := map[string]string{}
	for _, e := range out.events() {
		if other, ok := ids[e.ID]; ok && other != string(e.Raw) {
			t.Errorf("%s and %s have one id", other, e.Raw)
		}
		ids[e.ID] = string(e.Raw)
	}
	if len(ids) != 6 {
		t.Errorf("%d ids, want 6: the header and five lines", len(ids))
	}
}

// A folder of files, each with one object and no newline.
func TestFolderOfObjects(t *testing.T) {
	dir := t.TempDir()
	for i := range 3 {
		write(t, filepath.Join(dir, fmt.Sprintf("%d.json", i)), fmt.Sprintf("{\"n\":%d}", i))
	}
	write(t, filepath.Join(dir, "half.json"), `{"n":`)
	w, out, clock := watching(t, configured(t, block{"path": filepath.Join(dir, "*.json")}), nil)
	round(t, w)
	if n := len(out.events()); n != 0 {
		t.Fatalf("%d events at once", n)
	}
	clock.pass(2 * grace)
	round(t, w)
	round(t, w)
	if diff := cmp.Diff([]string{`{"n":0}`, `{"n":1}`, `{"n":2}`}, out.lines()); diff != "" {
		t.Error(diff)
	}
	later, outLater, clock := watching(t, configured(t, block{"path": filepath.Join(dir, "*.json")}), out.cursor())
	appendTo(t, filepath.Join(dir, "0.json"), "\n")
	round(t, later)
	clock.pass(2 * grace)
	round(t, later)
	if n := len(outLater.events()); n != 0 {
		t.Errorf("%d events again", n)
	}
}

func TestManyFiles(t *testing.T) {
	const n = 1000
	dir := t.TempDir()
	for i := range n {
		write(t, filepath.Join(dir, fmt.Sprintf("%04d.log", i)), fmt.Sprintf("{\"n\":%d}\n", i))
	}
	f := configured(t, block{"path": filepath.Join(dir, "*.log")})
	w, out, _ := watching(t, f, nil)
	round(t, w)
	appendTo(t, filepath.Join(dir, "0000.log"), "{\"n\":\"last\"}\n")
	round(t, w)
	if got := len(out.events()); got != n+1 {
		t.Errorf("%d events, want %d", got, n+1)
	}
	open := 0
	for _, f := range w.files {
		if f.handle != nil {
			open++
		}
	}
	if open > maxOpen {
		t.Errorf("%d files are open", open)
	}
	if len(out.cursor()) > maxCursor {
		t.Errorf("the cursor has %d bytes", len(out.cursor()))
	}
	later, outLater, _ := watching(t, f, out.cursor())
	round(t, later)
	if got := len(outLater.events()); got != 0 {
		t.Errorf("%d events again after a restart", got)
	}
}

func TestTooManyFiles(t *testing.T) {
	dir := t.TempDir()
	long := strings.Repeat("n", 200)
	const n = 900
	for i := range n {
		write(t, filepath.Join(dir, fmt.Sprintf("%s%04d.log", long, i)), fmt.Sprintf("{\"n\":%d}\n", i))
	}
	w, out, _ := watching(t, configured(t, block{"path": filepath.Join(dir, "*.log")}), nil)
	for range 2 {
		round(t, w)
	}
	if got := len(out.events()); got < n/2 || got >= n {
		t.Errorf("%d of %d files were read", got, n)
	}
	if len(out.cursor()) > maxCursor {
		t.Errorf("the cursor has %d bytes", len(out.cursor()))
	}
	if out.trouble == nil || !strings.Contains(out.trouble.Error(), "more than one cursor can hold") || !strings.Contains(out.trouble.Error(), "more like it") {
		t.Errorf("trouble = %v", out.trouble)
	}
}

// What cannot be read is told, and the rest is read.
func TestTrouble(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "*.log")
	w, out, _ := watching(t, configured(t, block{"path": path}), nil)
	round(t, w)
	if out.trouble == nil || out.trouble.Error() != "no file matches "+path {
		t.Errorf("trouble = %v", out.trouble)
	}
	loop := filepath.Join(dir, "loop.log")
	must(t, os.Symlink(loop, loop))
	write(t, filepath.Join(dir, "a.log"), "{}\n")
	round(t, w)
	if out.trouble == nil || !strings.Contains(out.trouble.Error(), "loop.log") || len(out.events()) != 1 {
		t.Errorf("trouble = %v with %d events", out.trouble, len(out.events()))
	}
	// Read once, it is an error that not everything was; the rest is read all the same.
	once := &recorder{}
	err := configured(t, block{"path": path}).Detect(t.Context(), sdk.Start{Once: true}, once)
	var told *sdk.Error
	if !errors.As(err, &told) || !strings.Contains(err.Error(), "loop.log") || len(once.events()) != 1 {
		t.Errorf("once: %v with %d events", err, len(once.events()))
	}
	must(t, os.Remove(loop))
	round(t, w)
	if out.trouble != nil {
		t.Errorf("trouble = %v after it was removed", out.trouble)
	}
}

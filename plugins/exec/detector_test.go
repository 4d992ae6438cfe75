package main

import (
	"context"
	"crypto/sha256"
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

// onceOver runs a detector's program once.
func onceOver(t testing.TB, d *detector, cursor string) (*recorder, error) {
	t.Helper()
	out := newRecorder()
	err := d.Detect(t.Context(), sdk.Start{Cursor: []byte(cursor), Once: true}, out)
	return out, err
}

// firstTrouble runs it until the operator is told of one.
func firstTrouble(t testing.TB, d *detector) (*recorder, error) {
	t.Helper()
	out := newRecorder()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- d.Detect(ctx, sdk.Start{}, out) }()
	out.until(t, func() bool { return len(out.trouble) > 0 })
	cancel()
	<-done
	return out, out.trouble[0]
}

// TestOnceGivesUp: where there is no next time, a program has three tries, and one that
// is refused has one.
func TestOnceGivesUp(t *testing.T) {
	for code, tries := range map[int]int{9: onceTries, exitLater: onceTries, exitRefused: 1} {
		d, _ := opened(t, &detector{}, block{"program": script(t, fmt.Sprintf("echo x >>runs; exit %d", code))})
		if _, err := onceOver(t, d, ""); err == nil {
			t.Errorf("exit code %d is no error", code)
		}
		if runs, _ := os.ReadFile(filepath.Join(d.program.dir, "runs")); len(runs) != 2*tries {
			t.Errorf("exit code %d: it ran %q, want %d times", code, runs, tries)
		}
	}
}

// TestPoll takes what one run prints.
func TestPoll(t *testing.T) {
	for name, test := range map[string]struct {
		text    string
		b       block
		want    []string
		cursors []string
		wrong   string
	}{
		"nothing":          {text: ``},
		"blank lines":      {text: `printf '\n \r\n\t\n'`},
		"two equal events": {text: `echo '{"a":1}'; echo '{"a":1}'`, want: []string{`{"a":1}`, `{"a":1}`}},
		"no last newline":  {text: `printf '{"a":1}\r\n{"a":2}'`, want: []string{`{"a":1}`, `{"a":2}`}},
		"no JSON": {
			text: `echo 'INFO starting'; echo '[1]'; printf '{"a":\377}\n'; echo '{"a":1} {"a":2}'; echo '{"a":'; echo '{"a":1}'`,
			want: []string{
				"INFO starting (not a JSON object)", "[1] (not a JSON object)", "{\"a\":\xff} (not valid UTF-8)",
				`{"a":1} {"a":2} (not a JSON object)`, `{"a": (not a JSON object)`, `{"a":1}`,
			},
		},
		"null bytes":             {text: `printf 'a\0b\n'`, want: []string{"a\x00b (not a JSON object)"}},
		"a cursor":               {text: `echo '{"a":1}'; echo '{"cursor": {"page" : 2}}'`, want: []string{`{"a":1}`}, cursors: []string{`{"page":2}`}},
		"a cursor alone":         {text: `echo '{"cursor": 7}'`, cursors: []string{`7`}},
		"more":                   {text: `read in; case $in in *null*) echo '{"cursor":1,"more":true}';; *) echo '{"a":2}';; esac`, want: []string{`{"a":2}`}, cursors: []string{"1"}},
		"more and no cursor":     {text: `echo '{"a":1}'; echo '{"cursor":1,"more":true}'`, want: []string{`{"a":1}`, `{"a":1}`}, cursors: []string{"1", "1"}},
		"fails":                  {text: `echo '{"a":1}'; echo 'no such host' >&2; exit 3`, wrong: "it ended with exit status 3: no such host"},
		"fails after a cursor":   {text: `echo '{"a":1}'; echo '{"cursor":1}'; echo '{"a":2}'; exit 3`, want: []string{`{"a":1}`}, cursors: []string{"1"}, wrong: "exit status 3"},
		"dies in a line":         {text: `printf '{"a":1'; kill -KILL $$`, wrong: "signal: killed"},
		"later":                  {text: `exit 75`, wrong: "it wants to be run later (exit status 75)"},
		"denied":                 {text: `echo 'wrong key' >&2; exit 77`, wrong: "it is not let in (exit status 77: wrong key)"},
		"too slow":               {text: `echo '{"a":1}'; sleep 100`, b: block{"time_limit": "100ms"}, wrong: "it took longer than 100ms and was ended"},
		"a cursor of null":       {text: `echo '{"cursor":null}'`, wrong: "its cursor is null"},
		"a cursor line misspelt": {text: `echo '{"cursor":1,"more":"yes"}'`, wrong: `its cursor line "{\"cursor\":1,\"more\":\"yes\"}": "more" is of the wrong type: string`},
		"a cursor too large":     {text: `printf '{"cursor":"'; head -c 70000 /dev/zero | tr '\0' x; echo '"}'`, wrong: "its cursor has 70002 bytes, more than 65536"},
		"too many events":        {text: `yes '{}'`, wrong: `it printed more than 50000 events or 16 MiB without a cursor line and was ended: let it print {"cursor": …} in between`},
		"too much":               {text: `yes '                                                                                           '`, wrong: `it printed more than 64 MiB in one run and was ended`},
		"a line without end":     {text: `head -c 100000000 /dev/zero`, wrong: "line 1 of its output has more than 64 MiB and no end, and it was ended: let it print one event a line"},
		"leaves one behind":      {text: `sleep 1000 & echo '{"a":1}'`, want: []string{`{"a":1}`}},
		"raw events":             {text: `echo '{"severity":"high","id":7,"raw":1}'`, b: block{"format": "raw"}, want: []string{`{"severity":"high","id":7,"raw":1}`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := block{"program": script(t, test.text)}
			for name, value := range test.b {
				b[name] = value
			}
			d, _ := opened(t, &detector{}, b)
			var out *recorder
			var err error
			if test.wrong == "" {
				out, err = onceOver(t, d, "")
			} else {
				out, err = firstTrouble(t, d)
			}
			if test.wrong == "" && err != nil || test.wrong != "" && (err == nil || !strings.Contains(err.Error(), test.wrong)) {
				t.Errorf("Detect: %v, want %q", err, test.wrong)
			}
			if diff := cmp.Diff(test.want, out.raws()); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.cursors, out.cursors); diff != "" {
				t.Errorf("cursors (-want +got):\n%s", diff)
			}
		})
	}
}

// TestOversize: of a line beyond 1 MiB the beginning is kept, and what it was.
func TestOversize(t *testing.T) {
	d, _ := opened(t, &detector{}, block{"program": script(t, `head -c 3000000 /dev/zero | tr '\0' x; echo; echo '{"a":1}'`)})
	out, err := onceOver(t, d, "")
	if err != nil || len(out.events) != 2 {
		t.Fatalf("%d events, %v", len(out.events), err)
	}
	e := out.events[0]
	if e.Oversize == nil || e.Oversize.Length != 3_000_000 || len(e.Raw) != sdk.OversizeHead || e.Oversize.Place != "line 1 of a run's output" || e.ID == "" {
		t.Fatalf("event %.100s…, %+v", e.Raw, e.Oversize)
	}
	if want := sha256.Sum256([]byte(strings.Repeat("x", 3_000_000))); e.Oversize.SHA256 != want {
		t.Errorf("hash %x, want %x", e.Oversize.SHA256, want)
	}
}

// TestIDs: the same cursor gives the same ids; equal lines have different ones.
func TestIDs(t *testing.T) {
	d, _ := opened(t, &detector{}, block{"program": script(t, `
		echo '{"a":1}'; echo '{"a":1}'; echo '{"id":"mine","a":2}'; echo 'no JSON'
		echo '{"cursor":1}'; echo '{"a":1}'; echo '{"cursor":2}'; echo '{"a":1}'`)})
	first, err := onceOver(t, d, "")
	if err != nil {
		t.Fatal(err)
	}
	again, _ := onceOver(t, d, "")
	if diff := cmp.Diff(first.ids(), again.ids()); diff != "" {
		t.Errorf("ids of the same cursor differ:\n%s", diff)
	}
	ids := slices.Sorted(slices.Values(first.ids()))
	if len(ids) != 6 || len(slices.Compact(ids)) != 6 || !slices.Contains(ids, "mine") {
		t.Errorf("ids %q", first.ids())
	}
	other, _ := onceOver(t, d, `"elsewhere"`)
	if other.ids()[0] == first.ids()[0] {
		t.Error("a line under another cursor is the same event")
	}
	// What comes before or in another order changes no id.
	shuffled, _ := opened(t, &detector{}, block{"program": script(t, `echo '{"b":1}'; echo 'no JSON'; echo '{"a":1}'`)})
	out, _ := onceOver(t, shuffled, "")
	if got := out.ids(); got[1] != first.ids()[3] || got[2] != first.ids()[0] {
		t.Errorf("ids %q in another order, before %q", got, first.ids())
	}
}

// TestDurable: the program is given the cursor again when what stands before it is
// durable, and not before.
func TestDurable(t *testing.T) {
	path := script(t, `cat >>given; echo '{"a":1}'; echo '{"cursor":1}'`)
	d, _ := opened(t, &detector{}, block{"program": path, "every": "1s"})
	d.config.Every = 10 * time.Millisecond
	out := newRecorder()
	out.durable = make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error)
	go func() { done <- d.Detect(ctx, sdk.Start{}, out) }()
	out.until(t, func() bool { return out.awaited })
	given := func() string {
		text, _ := os.ReadFile(filepath.Join(d.program.dir, "given"))
		return string(text)
	}
	if got := given(); got != "{\"cursor\":null,\"once\":false}\n" {
		t.Errorf("given %q before it was durable", got)
	}
	close(out.durable)
	eventually(t, "the second run", func() bool { return strings.Contains(given(), `{"cursor":1,"once":false}`) })
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Detect: %v", err)
	}
}

// TestRecovers: a program that fails is run again, and the operator sees both.
func TestRecovers(t *testing.T) {
	path := script(t, `if [ -e there ]; then echo '{"a":1}'; else touch there; exit 9; fi`)
	d, _ := opened(t, &detector{}, block{"program": path})
	out := newRecorder()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- d.Detect(ctx, sdk.Start{}, out) }()
	out.until(t, func() bool { return len(out.trouble) == 2 })
	cancel()
	<-done
	if got := fmt.Sprint(out.trouble); got != "[it ended with exit status 9 <nil>]" || len(out.events) != 1 {
		t.Errorf("trouble %s, events %q", got, out.raws())
	}
}

// TestStream: events come while the program goes on; it is started again when it ends,
// from its last cursor.
func TestStream(t *testing.T) {
	path := script(t, `
		read in; echo "$in" >>given
		case $in in
		*null*) echo '{"a":1}'; echo '{"cursor":1}'; echo '{"a":2}'; printf '{"a":3'; kill -KILL $$;;
		*) echo '{"a":2}'; cat >/dev/null;;
		esac`)
	d, _ := opened(t, &detector{}, block{"program": path, "mode": "stream"})
	out := newRecorder()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- d.Detect(ctx, sdk.Start{}, out) }()
	out.until(t, func() bool { return len(out.events) == 4 })
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Detect: %v", err)
	}
	want := []string{`{"a":1}`, `{"a":2}`, `{"a":3 (the program ended in the middle of this line)`, `{"a":2}`}
	if diff := cmp.Diff(want, out.raws()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if ids := out.ids(); ids[1] != ids[3] {
		t.Errorf("after the restart the same line is %s, before %s", ids[3], ids[1])
	}
	given, _ := os.ReadFile(filepath.Join(d.program.dir, "given"))
	if want := "{\"cursor\":null,\"once\":false}\n{\"cursor\":1,\"once\":false}\n"; string(given) != want {
		t.Errorf("it was given %q, want %q", given, want)
	}
	if got := fmt.Sprint(out.trouble); got != "[<nil> it ended with signal: killed <nil>]" {
		t.Errorf("trouble %s", got)
	}
}

// TestStreamEnds: a stream that ends well is no stream, but under once it may.
func TestStreamEnds(t *testing.T) {
	b := block{"program": script(t, `echo '{"a":1}'; printf '{"a":2}'`), "mode": "stream"}
	d, _ := opened(t, &detector{}, b)
	out, err := onceOver(t, d, "")
	if err != nil || len(out.events) != 2 {
		t.Errorf("under once: %v, %q", err, out.raws())
	}
	out = newRecorder()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- d.Detect(ctx, sdk.Start{}, out) }()
	out.until(t, func() bool { return len(out.events) == 4 })
	cancel()
	<-done
	if ids := out.ids(); ids[0] == ids[2] {
		t.Error("a stream without cursors printed a line again, and it counts as the same event")
	}
	if got := fmt.Sprint(out.trouble); !strings.Contains(got, "a stream goes on") {
		t.Errorf("trouble %s", got)
	}
}

// TestStreamWithoutOutput: one that can say nothing any more is ended and told of.
func TestStreamWithoutOutput(t *testing.T) {
	d, _ := opened(t, &detector{}, block{"program": script(t, `echo '{"a":1}'; exec >&-; sleep 1000`), "mode": "stream"})
	out := newRecorder()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- d.Detect(ctx, sdk.Start{}, out) }()
	out.until(t, func() bool { return len(out.trouble) == 2 })
	cancel()
	<-done
	if got := fmt.Sprint(out.trouble); !strings.Contains(got, "it closed its output and went on") {
		t.Errorf("trouble %s", got)
	}
}

// full is a Sender whose core has no room until it is told.
type full struct {
	*recorder
	room chan struct{}
}

func (f full) Send(ctx context.Context, events []sdk.Event, cursor []byte) (sdk.Receipt, error) {
	select {
	case <-f.room:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return f.recorder.Send(ctx, events, cursor)
}

// TestBackPressure: a stream is not read while the core has no room, and what it had
// printed when it ended meanwhile is not lost.
func TestBackPressure(t *testing.T) {
	const lines = 4000
	path := script(t, fmt.Sprintf(`i=0; while [ $i -lt %d ]; do echo '{"a":1}'; i=$((i+1)); done; echo $$ >ended`, lines))
	d, _ := opened(t, &detector{}, block{"program": path, "mode": "stream"})
	out := full{newRecorder(), make(chan struct{})}
	done := make(chan error)
	go func() { done <- d.Detect(t.Context(), sdk.Start{Once: true}, out) }()
	pid := pidIn(t, filepath.Join(d.program.dir, "ended")) // the pipe holds it all
	eventually(t, "its end", func() bool { return !alive(pid) })
	close(out.room)
	if err := <-done; err != nil || len(out.events) != lines {
		t.Errorf("Detect: %v after %d events", err, len(out.events))
	}

	endless, _ := opened(t, &detector{}, block{"program": script(t, `while :; do echo '{"a":1}'; echo x >>printed; done`), "mode": "stream"})
	ctx, cancel := context.WithCancel(t.Context())
	held := full{newRecorder(), make(chan struct{})}
	go func() { done <- endless.Detect(ctx, sdk.Start{}, held) }()
	printed := filepath.Join(endless.program.dir, "printed")
	size, still := int64(-1), 0
	eventually(t, "a pause", func() bool {
		info, err := os.Stat(printed)
		if err != nil {
			return false
		}
		if still++; info.Size() != size {
			size, still = info.Size(), 0
		}
		return still > 40
	})
	cancel()
	<-done
	if size > 2*64<<10 { // x and a newline for each line of eight bytes
		t.Errorf("it printed %d lines that nobody had room for", size/2)
	}
}

// TestSessionOver: when the core is gone so is the program.
func TestSessionOver(t *testing.T) {
	for _, mode := range []string{"poll", "stream"} {
		d, _ := opened(t, &detector{}, block{"program": script(t, `echo $$ >leader; echo '{"a":1}'; echo '{"cursor":1}'; sleep 1000`), "mode": mode})
		err := d.Detect(t.Context(), sdk.Start{}, over{})
		if !errors.Is(err, sdk.ErrSessionOver) {
			t.Errorf("%s: Detect: %v", mode, err)
		}
		pid := pidIn(t, filepath.Join(d.program.dir, "leader"))
		eventually(t, "its end", func() bool { return !alive(pid) })
	}
}

type over struct{}

func (over) Send(context.Context, []sdk.Event, []byte) (sdk.Receipt, error) {
	return nil, sdk.ErrSessionOver
}
func (over) Status(error, int64, string) {}

// TestGone: the program is not there any more, which an operator has to see to.
func TestGone(t *testing.T) {
	path := script(t, ``)
	d, _ := opened(t, &detector{}, block{"program": path})
	if err := d.Health(t.Context()); err != nil {
		t.Error(err)
	}
	if err := os.Remove(string(path)); err != nil {
		t.Fatal(err)
	}
	if err := d.Health(t.Context()); err == nil {
		t.Error("it is healthy without its program")
	}
	var told *sdk.Error
	if _, err := onceOver(t, d, ""); !errors.As(err, &told) || told.Reason != sdk.Denied || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("Detect: %v", err)
	}
	if _, err := onceOver(t, d, "{"); !errors.As(err, &told) || told.Reason != sdk.Invalid {
		t.Errorf("with a cursor of another plugin's: %v", err)
	}
}

func TestBackoff(t *testing.T) {
	for n, want := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 5: 16 * time.Second, 50: 5 * time.Minute} {
		if got := afterError(errors.New("x"), n); got < want/2 || got > want {
			t.Errorf("after %d failures it waits %s", n, got)
		}
	}
	if got := afterError(&sdk.Error{Reason: sdk.Retry, RetryAfter: time.Hour, Err: errors.New("x")}, 1); got != time.Hour {
		t.Errorf("asked for an hour it waits %s", got)
	}
}

package decide

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/kelpie-sec/kelpie/core/model"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	errNoRoom = errors.New("no room")
	errCrash  = errors.New("crash")
)

// inputLog is INPUTS in memory.
type inputLog struct {
	messages []Message // sequence 1 is the first
	end      func()    // called when a reader has read all
}

func (l *inputLog) open(_ context.Context, from uint64) (Inputs, error) {
	return &inputReader{log: l, next: int(from - 1)}, nil
}

func (l *inputLog) last(context.Context) (uint64, error) { return uint64(len(l.messages)), nil }

type inputReader struct {
	log  *inputLog
	next int
}

func (r *inputReader) Next(ctx context.Context) (Message, error) {
	if r.next >= len(r.log.messages) {
		r.log.end()
		<-ctx.Done()
		return Message{}, ctx.Err()
	}
	r.next++
	return r.log.messages[r.next-1], nil
}

func (r *inputReader) Ready() bool { return r.next < len(r.log.messages) }

func (r *inputReader) Close() {}

// memoryStore commits to tables. Before each commit it does what fail says.
type memoryStore struct {
	mu         sync.Mutex
	rows       *tables
	checkpoint Checkpoint
	commits    int
	fail       func(commit int) error
	saving     chan struct{} // not nil: no checkpoint is noted before it is closed
}

func (s *memoryStore) Commit(_ context.Context, c Changes) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commits++
	if s.fail != nil {
		if err := s.fail(s.commits); err != nil {
			return err
		}
	}
	s.rows.commit(c)
	return nil
}

func (s *memoryStore) Position(context.Context) (Position, error) { return s.rows.position, nil }

func (s *memoryStore) Checkpoint(context.Context) (Checkpoint, error) { return s.checkpoint, nil }

func (s *memoryStore) Recall(_ context.Context, w Wanted) (Recalled, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rows.recall(w), nil
}

func (s *memoryStore) Recalls(_ context.Context, after Position, most int) ([]Recall, error) {
	var all []Recall
	for _, r := range s.rows.recalls {
		if r.Position.After(after) && len(all) < most {
			all = append(all, r)
		}
	}
	return all, nil
}

func (s *memoryStore) Away(_ context.Context, add func(uint64)) error {
	for h := range s.rows.away {
		add(h)
	}
	return nil
}

func (s *memoryStore) SaveCheckpoint(_ context.Context, c Checkpoint) error {
	if s.saving != nil {
		<-s.saving
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checkpoint = c
	return nil
}

// messages joins parts as INPUTS has them.
func messages(t interface{ Fatal(...any) }, parts []part) []Message {
	var all []Message
	for _, p := range parts {
		data, err := model.EncodeInput(p.in)
		if err != nil {
			t.Fatal(err)
		}
		if p.at.Part == 0 {
			all = append(all, Message{Seq: p.at.Seq})
		}
		last := &all[len(all)-1]
		last.Parts = append(last.Parts, data)
	}
	return all
}

// loop runs until all is read, or something fails.
func loop(compile Compiler, log *inputLog, store *memoryStore, dir string, w io.Writer) (*Loop, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	log.end = cancel
	l := &Loop{
		Compile: compile, Open: log.open, End: log.last, Store: store, Dir: dir, Wake: func(Changes) {},
		Full: func(err error) bool { return errors.Is(err, errNoRoom) }, Retry: time.Microsecond,
		Log: slog.New(slog.NewTextHandler(w, nil)), CheckpointInputs: 5, CheckpointInterval: time.Hour,
	}
	return l, l.Run(ctx)
}

// TestLoopThroughCrashes: however often it falls over, with checkpoints or without,
// the rows are those of a machine that never did.
func TestLoopThroughCrashes(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		compile := drawCompiler(t)
		parts := story(t, compile, allConfigs...)
		want, rows := New(compile), newTables()
		for _, p := range parts {
			apply(t, want, rows, p)
		}
		rows.commit(want.Changes())

		dir, err := os.MkdirTemp(dir, "")
		if err != nil {
			t.Fatal(err)
		}
		store := &memoryStore{rows: newTables()}
		// Drawn before, since commits are beside what draws.
		faults := rapid.SliceOfN(rapid.SampledFrom([]error{nil, nil, nil, errNoRoom, errCrash}), 0, 200).Draw(t, "commits")
		store.fail = func(commit int) error {
			if commit > len(faults) {
				return nil
			}
			return faults[commit-1]
		}
		log := &inputLog{messages: messages(t, parts)}
		for {
			var out bytes.Buffer
			l, err := loop(compile, log, store, dir, &out)
			if strings.Contains(out.String(), "checkpoint") {
				t.Fatalf("log: %s", &out)
			}
			if err == nil {
				if got, want := snapshot(t, l.machine), snapshot(t, want); !bytes.Equal(got, want) {
					t.Fatal("the machine is another")
				}
				break
			}
			if !errors.Is(err, errCrash) {
				t.Fatal(err)
			}
			if rapid.IntRange(0, 4).Draw(t, "no checkpoint") == 0 {
				store.checkpoint = Checkpoint{}
			}
		}
		if diff := cmp.Diff(rows.dump(), store.rows.dump()); diff != "" {
			t.Fatal(diff)
		}
		if c := store.checkpoint; c.Seq != want.Position().Seq {
			t.Fatalf("the last checkpoint is at %d, the last input %d", c.Seq, want.Position().Seq)
		}
		left, _ := os.ReadDir(dir)
		for _, f := range left {
			if f.Name() != store.checkpoint.File && f.Name() != store.checkpoint.Before.File {
				t.Fatalf("%v is left, want %+v", left, store.checkpoint)
			}
		}
	})
}

func steps(n, signals int) []Message {
	parts := []part{{Position{Seq: 1}, model.Input{At: start, Config: &model.Config{Hash: "base", Text: []byte(`"base"`)}}}}
	id := 0
	for i := range n {
		r := &model.MatchResult{Seq: uint64(i + 1), Source: "detector.ids", Total: uint64((i + 1) * signals)}
		for range signals {
			id++
			s := sig("s-"+string(rune('a'+id%26))+time.Duration(id).String(), minutes(id), 10, "ip:203.0.113.1")
			s.Position = model.Position{Seq: r.Seq}
			r.Signals = append(r.Signals, s)
		}
		parts = append(parts, part{Position{Seq: uint64(i + 2)}, model.Input{At: minutes(i), Match: r}})
	}
	return messages(failNow{}, parts)
}

type failNow struct{}

func (failNow) Fatal(args ...any) { panic(args) }

// TestKnownBeforeItIsRecalled: what is asked for by another name than it has left under
// may be among what has left since the last commit.
func TestKnownBeforeItIsRecalled(t *testing.T) {
	left := map[uint64]bool{hashOf("c-1"): true}
	for _, w := range []Wanted{{Intents: []string{"i-1"}}, {Asks: []string{"a-1"}}, {Questions: []string{"q-1"}}, {Names: []string{"c-1"}}} {
		if !w.among(left) {
			t.Errorf("%+v is not committed before", w)
		}
	}
	if w := (Wanted{Names: []string{"c-2"}}); w.among(left) {
		t.Errorf("%+v is committed for nothing", w)
	}
}

func TestLoopBoundsItsGroups(t *testing.T) {
	store := &memoryStore{rows: newTables()}
	var sizes []int
	l := &Loop{
		Compile: testCompiler, Store: store, Full: func(error) bool { return false },
		Log: slog.New(slog.DiscardHandler), Wake: func(c Changes) { sizes = append(sizes, len(c.Signals)) },
	}
	ctx, cancel := context.WithCancel(t.Context())
	log := &inputLog{messages: steps(20, 100), end: cancel}
	l.Open, l.End = log.open, log.last
	if err := l.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if slices.Max(sizes) > MaxGroupSignals+100 || len(sizes) != 4 {
		t.Errorf("groups of %v signals", sizes)
	}
}

// TestLoopDoesNotOweACheckpoint: one that is due while the one before is being written is
// taken when that is done, although nothing more comes. INPUTS may be full, so that nothing
// can.
func TestLoopDoesNotOweACheckpoint(t *testing.T) {
	const inputs = 9
	store := &memoryStore{rows: newTables(), saving: make(chan struct{})}
	store.fail = func(int) error { return nil }
	l := &Loop{
		Compile: testCompiler, Store: store, Full: func(error) bool { return false },
		Log: slog.New(slog.DiscardHandler), Dir: t.TempDir(), CheckpointInputs: 2,
		Wake: func(c Changes) {
			if c.Position.Seq == inputs {
				close(store.saving)
			}
		},
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	noted := func() uint64 {
		store.mu.Lock()
		defer store.mu.Unlock()
		return store.checkpoint.Seq
	}
	log := &inputLog{messages: steps(inputs-1, 1), end: func() {
		for end := time.Now().Add(10 * time.Second); noted() != inputs; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Errorf("the last checkpoint is of input %d, and nothing more comes", noted())
				break
			}
		}
		cancel()
	}}
	l.Open, l.End = log.open, log.last
	if err := l.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestLoopRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(t *testing.T, log *inputLog, store *memoryStore, dir string)
		want   error
		text   string
	}{
		"a gap": {
			func(_ *testing.T, log *inputLog, _ *memoryStore, _ string) { log.messages[3].Seq = 9 },
			ErrOrder, "input 9 where 4 is next",
		},
		"a part that is no input": {
			func(_ *testing.T, log *inputLog, _ *memoryStore, _ string) { log.messages[2].Parts[0] = []byte("{") },
			nil, "input 3.0: input:",
		},
		"a store that is older than the checkpoint": {
			func(_ *testing.T, _ *inputLog, store *memoryStore, _ string) { store.rows.position = Position{Seq: 2} },
			nil, "the store is older than the checkpoint",
		},
		"a log that has lost its end": {
			func(_ *testing.T, log *inputLog, store *memoryStore, _ string) {
				store.rows.position = Position{Seq: 12}
			},
			ErrLost, "inputs end at 11, and the store has decided up to 12",
		},
		"a configuration that it cannot compile": {
			func(_ *testing.T, log *inputLog, _ *memoryStore, _ string) {
				log.messages = append(log.messages, messages(failNow{}, []part{{Position{Seq: 12}, model.Input{
					At: start, Config: &model.Config{Hash: "x", Text: []byte(`"nonsense"`)},
				}}})...)
			},
			nil, `input 12.0: config x: no configuration "nonsense"`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir, store, log := t.TempDir(), &memoryStore{rows: newTables()}, &inputLog{messages: steps(10, 1)}
			if strings.Contains(name, "older") {
				if _, err := loop(testCompiler, log, store, dir, io.Discard); err != nil {
					t.Fatal(err)
				}
			}
			c.change(t, log, store, dir)
			_, err := loop(testCompiler, log, store, dir, io.Discard)
			if err == nil || !strings.Contains(err.Error(), c.text) || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("err = %v", err)
			}
		})
	}
}

// TestCheckpointThatIsNoGood: without it all is read again.
func TestCheckpointThatIsNoGood(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"changed": func(path string) error { return os.WriteFile(path, []byte("other"), 0o600) },
		"missing": os.Remove,
		"cut":     func(path string) error { return os.Truncate(path, 100) },
	} {
		t.Run(name, func(t *testing.T) {
			dir, store, log := t.TempDir(), &memoryStore{rows: newTables()}, &inputLog{messages: steps(12, 1)}
			if _, err := loop(testCompiler, log, store, dir, io.Discard); err != nil {
				t.Fatal(err)
			}
			before := store.rows.dump()
			if err := spoil(filepath.Join(dir, store.checkpoint.File)); err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			l, err := loop(testCompiler, log, store, dir, &out)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(out.String(), "the checkpoint can't be used; more inputs are read again") {
				t.Errorf("log: %s", &out)
			}
			if diff := cmp.Diff(before, store.rows.dump()); diff != "" || l.machine.Position().Seq != 13 {
				t.Errorf("position %v, %s", l.machine.Position(), diff)
			}
		})
	}
}

// TestOfTwoCheckpointsOneMayBeDamaged: what is below the older one has been trimmed.
func TestOfTwoCheckpointsOneMayBeDamaged(t *testing.T) {
	dir, store, log := t.TempDir(), &memoryStore{rows: newTables()}, &inputLog{messages: steps(12, 1)}
	if _, err := loop(testCompiler, log, store, dir, io.Discard); err != nil {
		t.Fatal(err)
	}
	before, first := store.rows.dump(), store.checkpoint
	if first.Before.File == "" || first.Before.Seq >= first.Seq {
		t.Fatalf("the checkpoint is %+v, want one with another before it", first)
	}
	if err := os.Truncate(filepath.Join(dir, first.File), 100); err != nil {
		t.Fatal(err)
	}
	for i := range first.Before.Seq {
		log.messages[i] = Message{} // a loop that reads it fails
	}
	l, err := loop(testCompiler, log, store, dir, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, store.rows.dump()); diff != "" || l.machine.Position().Seq != 13 {
		t.Errorf("position %v, %s", l.machine.Position(), diff)
	}
	// The next one has the good one before it, and not the damaged one.
	if c := store.checkpoint; c.Seq != first.Seq || c.Before != first.Before {
		t.Errorf("the checkpoint is %+v, want one with %+v before it", c, first.Before)
	}
}

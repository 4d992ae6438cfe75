package decide

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
)

// ErrLost means that the end of INPUTS is lost: the store is ahead of it.
var ErrLost = errors.New("inputs are lost")

// Message is one message of INPUTS with its parts.
type Message struct {
	Seq   uint64
	Parts [][]byte
}

// Inputs reads INPUTS in order.
type Inputs interface {
	// Next waits for the next message until ctx ends.
	Next(ctx context.Context) (Message, error)
	// Ready tells whether Next would return without waiting.
	Ready() bool
	Close()
}

// Store keeps decide's rows. It is safe for concurrent use.
type Store interface {
	// Commit writes all of it, in one transaction, or nothing.
	Commit(ctx context.Context, c Changes) error
	// Position is that of the last Changes committed; zero before the first.
	Position(ctx context.Context) (Position, error)
	// Checkpoint is the last one recorded; its File is empty if there is none.
	Checkpoint(ctx context.Context) (Checkpoint, error)
	SaveCheckpoint(ctx context.Context, c Checkpoint) error
	// Recall finds settled cases, and what lookups have said, as of the last commit.
	Recall(ctx context.Context, w Wanted) (Recalled, error)
	// Recalls are the recorded ones of the first inputs after one, at most so many.
	Recalls(ctx context.Context, after Position, most int) ([]Recall, error)
	// Away gives add the hashes of all that has left memory; some may be back since.
	Away(ctx context.Context, add func(hash uint64)) error
}

// Bounds of a group of inputs, which is one transaction.
const (
	// MaxGroupSignals is how many signals end a group. The part that reaches it is
	// still in it.
	MaxGroupSignals = 512
	// maxGroupIntents is how many steps that are new or have an outcome end a group:
	// their calls wait for the commit, and what is claimed meanwhile waits with them.
	maxGroupIntents = 256
	// maxGroupParts ends a group of other inputs.
	maxGroupParts = 2048
)

// Defaults of a Loop.
const (
	DefaultCheckpointInputs   = 200_000
	DefaultCheckpointInterval = 10 * time.Minute
	defaultRetry              = time.Second
)

// Loop gives a Machine its inputs and commits what it makes of them.
type Loop struct {
	Compile Compiler
	// Open starts reading INPUTS at a sequence.
	Open func(ctx context.Context, from uint64) (Inputs, error)
	// End is the last sequence of INPUTS now.
	End   func(ctx context.Context) (uint64, error)
	Store Store
	// Full tells whether a commit failed for want of room: it is tried again for ever.
	Full func(error) bool
	// Wake is told what was committed, before the next input is read. It must not
	// block.
	Wake func(Changes)
	// Dir holds the checkpoints; it is made if need be. Empty: none are written.
	Dir string
	Log *slog.Logger
	// A checkpoint is written after so many parts, or so long by decide's own time,
	// and at the end. Zero: the defaults.
	CheckpointInputs int
	// CheckpointBytes of parts call for one too, since a start applies them again, but
	// not before as many as the last one had itself have come, or CheckpointMost, since
	// without one the log can't be trimmed; 0: any number may come.
	CheckpointBytes    int64
	CheckpointMost     int64
	CheckpointInterval time.Duration
	// Retry is the pause after a commit that found no room; zero: a second.
	Retry time.Duration

	machine *Machine
	// committed is the store's position; up to it inputs only fill the memory.
	committed Position
	group     int // parts since the last commit
	whole     bool
	saver     saver
	recaller  recaller
	away      int // hashes of the group that the filter and left have
	// left are these hashes: of them the store knows nothing yet.
	left  map[uint64]bool
	under *underway // nil: no commit is
}

// Run decides until ctx ends, which is no error. It begins with the checkpoint, if
// there is a good one, and gives the machine again what the store already has
// without committing it again.
func (l *Loop) Run(ctx context.Context) error {
	if err := l.start(ctx); err != nil {
		return err
	}
	defer l.saver.wait()
	if end, err := l.End(ctx); err != nil {
		return fmt.Errorf("end of inputs: %w", err)
	} else if end < l.committed.Seq {
		// New inputs would get numbers that the store believes to have.
		return fmt.Errorf("inputs end at %d, and the store has decided up to %d: %w", end, l.committed.Seq, ErrLost)
	}
	inputs, err := l.Open(ctx, l.machine.Position().Seq+1)
	if err != nil {
		return fmt.Errorf("inputs after %d: %w", l.machine.Position().Seq, err)
	}
	defer inputs.Close()
	err = l.read(ctx, inputs)
	last := l.wait()
	switch {
	case ctx.Err() == nil:
		return err
	case last != nil && !errors.Is(last, ctx.Err()):
		return last
	}
	l.saver.wait()
	l.checkpoint()
	return nil
}

// start fills the machine from the checkpoint.
func (l *Loop) start(ctx context.Context) error {
	var err error
	if l.committed, err = l.Store.Position(ctx); err != nil {
		return fmt.Errorf("position: %w", err)
	}
	c, err := l.Store.Checkpoint(ctx)
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	l.machine, l.whole, l.group, l.left = New(l.Compile), true, 0, map[uint64]bool{}
	l.saver = saver{dir: l.Dir, store: l.Store, log: l.Log}
	l.recaller = recaller{store: l.Store}
	if l.Dir == "" {
		return l.recaller.start(ctx, Position{})
	}
	if err := os.MkdirAll(l.Dir, 0o700); err != nil {
		return fmt.Errorf("checkpoints: %w", err)
	}
	for _, c := range []EarlierCheckpoint{c.earlier(), c.Before} {
		if c.File == "" {
			continue
		}
		m := New(l.Compile)
		if err := restore(l.Dir, c, m); err != nil {
			l.Log.Warn("the checkpoint can't be used; more inputs are read again", "file", c.File, "error", err)
			continue
		}
		if m.Position().After(l.committed) {
			return fmt.Errorf("checkpoint %s is at input %d, the store at %d: the store is older than the checkpoint", c.File, m.Position().Seq, l.committed.Seq)
		}
		l.machine = m
		l.saver.last, l.saver.taken, l.saver.at = c, m.Position(), m.At()
		break
	}
	return l.recaller.start(ctx, l.machine.Position())
}

func (l *Loop) read(ctx context.Context, inputs Inputs) error {
	for {
		msg, err := inputs.Next(ctx)
		if err != nil {
			return err
		}
		if want := l.machine.Position().Seq + 1; msg.Seq != want {
			return fmt.Errorf("input %d where %d is next: %w", msg.Seq, want, ErrOrder)
		}
		for i, part := range msg.Parts {
			if err := l.part(ctx, msg.Seq, i, part, i == len(msg.Parts)-1); err != nil {
				return err
			}
		}
		if len(msg.Parts) == 0 {
			return fmt.Errorf("input %d has no parts: %w", msg.Seq, ErrOrder)
		}
		if !inputs.Ready() {
			if err := l.commit(ctx); err != nil {
				return err
			}
		}
		if !l.saver.due(l.machine, l.CheckpointInputs, l.CheckpointBytes, l.CheckpointMost, l.CheckpointInterval) {
			continue
		}
		if !inputs.Ready() {
			// Nothing more may come before there is a checkpoint: INPUTS may be full.
			l.saver.wait()
		}
		if !l.saver.writing() {
			if err := l.commit(ctx); err != nil {
				return err
			}
			l.checkpoint()
		}
	}
}

// part applies one part, and ends the group where it is full.
func (l *Loop) part(ctx context.Context, seq uint64, i int, data []byte, last bool) error {
	in, err := model.DecodeInput(data)
	if err != nil {
		return fmt.Errorf("input %d.%d: %w", seq, i, err)
	}
	at := Position{seq, i}
	if err := l.recall(ctx, at, &in, 0); err != nil {
		return err
	}
	if err := l.machine.apply(at, in, func(step int) error { return l.recall(ctx, at, nil, step) }); err != nil {
		return err
	}
	for _, hash := range l.machine.changed.away[l.away:] {
		l.recaller.filter.add(hash)
		l.left[hash] = true
	}
	l.away = len(l.machine.changed.away)
	l.whole = last
	l.group++
	l.saver.parts++
	l.saver.bytes += int64(len(data))
	if p := l.machine.Position(); !p.After(l.committed) {
		if p == l.committed || l.machine.Signals() >= MaxGroupSignals {
			l.machine.drop() // the store has it
			l.group, l.away = 0, 0
			clear(l.left)
		}
		return nil
	}
	if l.machine.Signals() >= MaxGroupSignals || l.machine.Intents() >= maxGroupIntents || l.group >= maxGroupParts {
		return l.handOver(ctx)
	}
	return nil
}

// checkpoint writes the memory to a file. It is no error if that fails: the last
// one holds, and the tail is longer.
func (l *Loop) checkpoint() {
	m := l.machine
	if l.Dir == "" || !l.whole || m.Position() != l.committed || !m.Position().After(l.saver.taken) {
		return
	}
	if err := l.saver.save(m); err != nil && !errors.Is(err, errBusy) {
		l.Log.Warn("no checkpoint was written", "error", err)
	}
}

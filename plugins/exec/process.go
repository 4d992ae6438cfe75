package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// termGrace is how long a program has to end by itself when it is told to.
	termGrace = 300 * time.Millisecond
	// outputGrace is how long the output of a program that has ended is waited for, if
	// something that it started holds it open; each time something comes it begins anew.
	outputGrace = 200 * time.Millisecond
	// maxAfter bounds what is read after the program's end, in bytes. A pipe that was
	// full then holds less.
	maxAfter = 1 << 20
	// busyTries is how often a file that is just being written is tried, a busyWait
	// apart.
	busyTries = 20
	busyWait  = 25 * time.Millisecond
)

// process is one run of a program. One goroutine reads its output, and then waits for
// its end.
type process struct {
	cmd                   *exec.Cmd
	stdin, stdout, stderr *os.File // our ends
	log                   *slog.Logger
	guard                 *guard
	said                  *speech

	exited  chan struct{} // closed when it has ended; it is not reaped yet
	unread  chan struct{} // closed when nobody reads its output any more
	reaped  chan struct{}
	helpers sync.WaitGroup

	// Of the reader alone.
	stage stage
	after int

	told atomic.Bool // to end, by us

	mu   sync.Mutex
	pid  int // 0: not to be signalled
	code int // of its exit; -1: by a signal
	how  string
}

// stage of reading an output.
type stage int

const (
	running stage = iota
	ended         // what it started may have something to say yet
	killed        // and has ended with it
)

// launch starts a process. ctx ends it, with all that stays in its group. With open its
// standard input is not closed after the input.
func (p *program) launch(ctx context.Context, cmd *exec.Cmd, input []byte, open bool) (*process, error) {
	r := &process{
		cmd: cmd, log: p.log, guard: p.guard, said: &speech{log: p.log},
		exited: make(chan struct{}), unread: make(chan struct{}), reaped: make(chan struct{}),
	}
	theirs, err := r.connect()
	if err != nil {
		return nil, err
	}
	started := make(chan error, 1)
	go r.run(started) // wait waits for it
	err = <-started
	for _, f := range theirs {
		f.Close()
	}
	if err != nil {
		r.disconnect()
		return nil, err
	}
	r.helpers.Go(func() { r.feed(input, open) })
	r.helpers.Go(func() { r.said.listen(r.stderr) })
	r.helpers.Go(func() { r.watch(ctx) })
	return r, nil
}

// connect makes the pipes and returns the program's ends of them.
func (p *process) connect() ([]*os.File, error) {
	var files []*os.File
	for range 3 {
		read, write, err := os.Pipe()
		if err != nil {
			for _, f := range files {
				f.Close()
			}
			return nil, err
		}
		files = append(files, read, write)
	}
	p.stdin, p.stdout, p.stderr = files[1], files[2], files[4]
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = files[0], files[3], files[5]
	return []*os.File{files[0], files[3], files[5]}, nil
}

func (p *process) disconnect() {
	p.stdin.Close()
	p.stdout.Close()
	p.stderr.Close()
}

// run starts the program and waits for its end on one thread, which nothing else uses
// meanwhile: the kernel ends the program when the thread that started it ends.
func (p *process) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	if err != nil {
		started <- err
		return
	}
	p.mu.Lock()
	p.pid = p.cmd.Process.Pid
	p.mu.Unlock()
	p.guard.tell(p.pid, true)
	started <- nil
	defer close(p.reaped)
	if !awaitExit(p.pid) {
		_ = p.cmd.Wait()
	}
	close(p.exited)
	p.stdout.SetReadDeadline(time.Unix(1, 0)) // wakes the reader
	<-p.unread
	p.signal(signalKill) // what it left behind
	p.guard.tell(p.pid, false)
	p.stderr.SetReadDeadline(time.Now().Add(outputGrace))

	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Wait()
	}
	p.pid = 0
	p.code, p.how = -1, "in a way that is not known"
	if state := p.cmd.ProcessState; state != nil {
		p.code, p.how = state.ExitCode(), state.String()
	}
}

// feed gives the program its input. One that reads none of it is not bothered.
func (p *process) feed(input []byte, open bool) {
	_, _ = p.stdin.Write(input)
	if !open {
		p.stdin.Close()
	}
}

// watch ends the program when ctx ends.
func (p *process) watch(ctx context.Context) {
	select {
	case <-p.exited:
		return
	case <-ctx.Done():
	}
	select {
	case <-p.exited: // by itself, before anybody could tell it to
		return
	default:
	}
	p.told.Store(true)
	p.signal(signalTerm)
	timer := time.NewTimer(termGrace)
	defer timer.Stop()
	select {
	case <-p.exited:
	case <-timer.C:
		p.signal(signalKill)
	}
}

// kill ends the program at once.
func (p *process) kill() {
	p.told.Store(true)
	p.signal(signalKill)
}

// endsWithin tells whether the program ends within a time, or is to end anyway.
func (p *process) endsWithin(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-p.exited:
	case <-ctx.Done():
	case <-timer.C:
		return false
	}
	return true
}

// signal sends a signal to the program and what it started.
func (p *process) signal(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pid != 0 {
		signalGroup(p.pid, s)
	}
}

// Read reads the program's output. It ends when nothing can write to it any more, or
// with the program: what that has started and left behind has outputGrace to say
// something, and is then ended.
func (p *process) Read(b []byte) (int, error) {
	for {
		if p.stage != running {
			if p.after >= maxAfter {
				return 0, io.EOF
			}
			p.stdout.SetReadDeadline(time.Now().Add(outputGrace))
		}
		n, err := p.stdout.Read(b)
		switch {
		case n > 0:
			if p.stage != running {
				p.after += n
			}
			return n, nil
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return 0, io.EOF
		case p.stage == running && !p.told.Load():
			p.stage = ended
		case p.stage != killed:
			p.stage = killed
			if !p.told.Load() {
				p.log.Warn("what the program started goes on without it, and is ended: let the program wait for it, or start it as a service of its own")
			}
			p.signal(signalKill)
		default: // it has left the group
			return 0, io.EOF
		}
	}
}

// wait returns when the program has ended; what it prints yet is not read.
func (p *process) wait() ending {
	close(p.unread)
	<-p.reaped
	p.stdin.Close()
	p.helpers.Wait()
	p.disconnect()
	return ending{code: p.code, how: p.how, told: p.told.Load(), said: p.said.last()}
}

// ending is how a program ended.
type ending struct {
	code int // -1: by a signal
	how  string
	told bool   // it was ended
	said string // the last that it wrote to its standard error
}

// String is for people: "exit status 3: no such host".
func (e ending) String() string {
	if e.said == "" {
		return e.how
	}
	return fmt.Sprintf("%s: %s", e.how, e.said)
}

package eventlog

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	publishTimeout = 2 * time.Second
	lookTimeout    = 2 * time.Second // to find out what became of a publish
)

// Log is the open log. Close it after everything that was taken from it.
type Log struct {
	set     Settings
	timeout time.Duration // of one publish
	dial    dialer
	now     func() time.Time
	lock    *os.File
	mark    *mark
	lost    []Damage

	mu        sync.Mutex
	srv       *server       // nil while there is none
	opening   chan struct{} // not nil while Reopen works; closed when it is done
	closed    bool
	sick      sickness
	sources   map[string]*Source
	joiners   map[string]bool
	rejecting sync.Mutex // one at a time in REJECTED
}

type sickness struct {
	since  time.Time
	reason error
}

// Open opens the log, making it if there is none. It fails with ErrLocked when
// another process has it open. ctx bounds the opening only, which after a crash
// reads all that was not yet indexed: about a second for each GB.
func Open(ctx context.Context, set Settings) (*Log, error) {
	return open(ctx, set, dialInProcess)
}

func open(ctx context.Context, set Settings, dial dialer) (_ *Log, err error) {
	if err := set.Validate(); err != nil {
		return nil, fmt.Errorf("event log: %w", err)
	}
	set = set.withDefaults()
	if err := os.MkdirAll(set.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("event log: %w", err)
	}
	d, err := statDisk(set.Dir)
	if err != nil {
		return nil, fmt.Errorf("event log: %w", err)
	}
	if set.Reserve == 0 {
		set.Reserve = defaultReserve(d)
	}
	l := &Log{
		set: set, timeout: publishTimeout, dial: dial, now: time.Now,
		sources: map[string]*Source{}, joiners: map[string]bool{},
	}
	if l.lock, err = lockDir(set.Dir); err != nil {
		return nil, fmt.Errorf("event log: %w", err)
	}
	if err := l.begin(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("event log: %w", err), l.lock.Close())
	}
	if set.Sync == SyncInterval {
		set.Logger.Warn("event log writes to the disk at intervals: a power cut can lose what was acknowledged last",
			"interval", set.SyncInterval)
	}
	return l, nil
}

// lockDir keeps two servers from writing to one folder. The lock ends with the
// file, so also with the process.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s: %w", dir, ErrLocked)
		}
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return f, nil
}

// Close stops the server and unlocks the folder. Consumers, readers and joiners
// must have been closed before: what they still do fails with ErrClosed. It is
// done within half a minute, and a second call does nothing.
func (l *Log) Close() error {
	l.mu.Lock()
	for l.opening != nil {
		wait := l.opening
		l.mu.Unlock()
		<-wait
		l.mu.Lock()
	}
	srv, closed := l.srv, l.closed
	l.srv, l.closed = nil, true
	l.mu.Unlock()
	if closed {
		return nil
	}
	well := srv != nil && srv.broken.Err() == nil
	if srv != nil {
		if err := srv.stop(); err != nil {
			return err // and the folder stays locked
		}
	}
	return errors.Join(l.mark.close(well), l.lock.Close())
}

// Reopen closes the server and opens it again in the same process, which is
// what ends a sickness. It refuses with ErrFull while there is too little room
// to go on. Sources, consumers, readers and joiners stay usable. After an error
// it may be called again.
func (l *Log) Reopen(ctx context.Context) error {
	d, err := statDisk(l.set.Dir)
	if err != nil {
		return err
	}
	if need := min(l.set.Reserve, 64<<20); d.free < need {
		return fmt.Errorf("event log is not opened again with %d bytes free, of %d needed: %w", d.free, need, ErrFull)
	}
	l.mu.Lock()
	if l.closed || l.opening != nil {
		defer l.mu.Unlock()
		if l.closed {
			return ErrClosed
		}
		return errors.New("event log is being opened already")
	}
	old := l.srv
	l.srv, l.opening = nil, make(chan struct{})
	l.mu.Unlock()

	var srv *server
	if old != nil {
		err = old.stop()
	}
	if err == nil {
		old = nil
		srv, err = l.start(ctx)
	}

	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.opening)
	l.opening = nil
	if err != nil {
		l.srv = old
		if l.sick.reason == nil {
			l.sick = sickness{time.Now(), err}
		}
		return fmt.Errorf("event log: %w", err)
	}
	l.srv, l.sick = srv, sickness{}
	return nil
}

// server returns the running server, waiting while it is being opened again.
func (l *Log) server(ctx context.Context) (*server, error) {
	for {
		l.mu.Lock()
		srv, opening, closed, sick := l.srv, l.opening, l.closed, l.sick
		l.mu.Unlock()
		switch {
		case closed:
			return nil, ErrClosed
		case opening != nil:
			select {
			case <-opening:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		case srv == nil:
			return nil, fmt.Errorf("%w: %w", ErrSick, sick.reason)
		default:
			return srv, nil
		}
	}
}

// healthy returns the running server if it can be trusted with a write.
func (l *Log) healthy(ctx context.Context) (*server, error) {
	srv, err := l.server(ctx)
	if err != nil {
		return nil, err
	}
	if err := srv.sick(nil); err != nil {
		return nil, err
	}
	return srv, nil
}

// sick is ErrSick with its reason where the server can't be trusted with a write: it is
// being closed, perhaps, so that nothing else that went wrong with it tells more. Else it
// is err.
func (s *server) sick(err error) error {
	if s.broken.Err() != nil {
		return fmt.Errorf("%w: %w", ErrSick, context.Cause(s.broken))
	}
	return err
}

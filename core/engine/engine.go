// Package engine puts a Kelpie together: it opens what is durable, makes the
// stages of a configuration, owns every goroutine, and stops them in order.
package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/eventlog"
	"github.com/kelpie-sec/kelpie/core/host"
	"github.com/kelpie-sec/kelpie/core/store"
)

// Names in the data folder.
const (
	Socket     = "kelpie.sock"
	lockName   = "lock"
	logDir     = "log"
	pluginsDir = "plugins"
	runDir     = "run"
)

// ErrBusy means that another process has the data folder.
var ErrBusy = errors.New("the data folder is in use by another kelpie")

// Settings of a Kelpie's data.
type Settings struct {
	DataDir string
	// Sync "interval" lets a power cut lose the latest; see eventlog.Settings.
	Sync                                    string
	SyncInterval, Keep                      time.Duration
	EventsBytes, InputsBytes, RejectedBytes int64
	RejectedQuota, Reserve                  int64
	// AcceptLoss goes on although the log has lost what it had acknowledged.
	AcceptLoss bool
	// Look opens a log that has lost messages all the same, where nothing else is
	// damaged, so that it can be seen what is lost. It can't be run then.
	Look    bool
	Version string
	Logger  *slog.Logger

	trimEvery time.Duration // for tests; 0: trimInterval
	timing    host.Timing   // for tests; zero: the host's own
}

// Kelpie is an open data folder: its store, its log, and its API. Until Run it only
// reads, and takes people's orders.
type Kelpie struct {
	settings Settings
	lock     *os.File
	store    *store.Store
	log      *eventlog.Log
	logger   *slog.Logger
	clock    *clock
	uptime   func() (boot string, uptime time.Duration)

	unwritten unwritten
	tables    *shelf
	names     namesOf
	tracing   sync.Mutex // one event at a time
	proposing sync.Mutex // one proposal is accepted at a time

	mu      sync.Mutex
	running *flow // nil: not running
	// stopping: a run has ended, and its API is being closed.
	stopping bool
}

// Open takes the data folder, which it makes if it is not there. ErrBusy: another
// process has it.
func Open(ctx context.Context, s Settings) (*Kelpie, error) {
	if s.Logger == nil {
		s.Logger = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(filepath.Join(s.DataDir, checkpointDir), 0o700); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	if err := closeFolder(s.DataDir); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	syncParent(s.DataDir)
	lock, err := takeLock(filepath.Join(s.DataDir, lockName))
	if err != nil {
		return nil, err
	}
	k := &Kelpie{settings: s, lock: lock, logger: s.Logger, clock: newClock(time.Now, time.Time{}), uptime: machineUptime(), tables: &shelf{dir: filepath.Join(s.DataDir, tablesDir)}}
	if k.store, err = store.Open(ctx, store.Settings{Dir: s.DataDir, Relaxed: s.Sync == eventlog.SyncInterval}); err != nil {
		return nil, errors.Join(err, k.Close())
	}
	at, err := k.store.At(ctx)
	if err != nil {
		return nil, errors.Join(err, k.Close())
	}
	k.clock = newClock(time.Now, at)
	if err := k.openLog(ctx); err != nil {
		return nil, errors.Join(err, k.Close())
	}
	return k, nil
}

// Close closes the log and the store, and lets the folder go.
func (k *Kelpie) Close() error {
	var errs []error
	if k.log != nil {
		errs = append(errs, k.log.Close())
	}
	if k.store != nil {
		errs = append(errs, k.store.Close())
	}
	return errors.Join(append(errs, releaseLock(k.lock))...)
}

// path of something in the data folder.
func (k *Kelpie) path(name string) string { return filepath.Join(k.settings.DataDir, name) }

// Handler is the API.
func (k *Kelpie) Handler() http.Handler {
	s := &api.Server{Store: k.store, Log: k.log, Engine: k, Logger: k.logger, Now: k.clock.now}
	return s.Handler()
}

// Store of the folder.
func (k *Kelpie) Store() *store.Store { return k.store }

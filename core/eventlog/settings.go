package eventlog

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"golang.org/x/sys/unix"
)

// When the log's writes reach the disk.
const (
	// SyncAlways answers a publish when it is on the disk.
	SyncAlways = "always"
	// SyncInterval writes to the disk every Settings.SyncInterval: a process
	// may die without loss, the machine may not.
	SyncInterval = "interval"
)

// Defaults of Settings.
const (
	DefaultSyncInterval  = 2 * time.Second
	DefaultKeep          = 7 * 24 * time.Hour
	DefaultEventsBytes   = 32 << 30
	DefaultInputsBytes   = 8 << 30
	DefaultRejectedBytes = 2 << 30
	DefaultRejectedQuota = 64 << 20
)

// Settings say where the log is and how much room it may take. A zero field
// has its default.
type Settings struct {
	// Dir is the log's own folder; it is made if it is missing.
	Dir string
	// Sync is SyncAlways, the default, or SyncInterval.
	Sync string
	// SyncInterval is used with Sync "interval" only.
	SyncInterval time.Duration
	// EventsBytes, InputsBytes and RejectedBytes bound each stream. When they
	// add up to more than the disk has, Open makes them smaller and says so.
	EventsBytes, InputsBytes, RejectedBytes int64
	// RejectedQuota bounds in bytes what REJECTED keeps of one source.
	RejectedQuota int64
	// Reserve is how many bytes must stay free on the file system for what is
	// not ingest; below it EVENTS and REJECTED refuse. By default the larger of
	// 1 GiB and 5 % of the file system.
	Reserve int64
	// Keep is how long messages stay that nobody needs any more. They go
	// earlier when a stream is three quarters full.
	Keep time.Duration
	// Needed says up to where the log's messages have been worked off. After a good
	// close what is below is not read again at the start.
	Needed Positions
	// AcceptLoss opens a log although messages that it has acknowledged are lost. See
	// Log.Lost.
	AcceptLoss bool
	// Look opens a log of which only messages are missing, without accepting that: what
	// is missing is listed by Lost.
	Look bool
	// Logger gets what the log and its server have to say.
	Logger *slog.Logger
}

func (s Settings) withDefaults() Settings {
	set := func(v *int64, d int64) {
		if *v == 0 {
			*v = d
		}
	}
	set(&s.EventsBytes, DefaultEventsBytes)
	set(&s.InputsBytes, DefaultInputsBytes)
	set(&s.RejectedBytes, DefaultRejectedBytes)
	set(&s.RejectedQuota, DefaultRejectedQuota)
	if s.Sync == "" {
		s.Sync = SyncAlways
	}
	if s.SyncInterval == 0 {
		s.SyncInterval = DefaultSyncInterval
	}
	if s.Keep == 0 {
		s.Keep = DefaultKeep
	}
	if s.Logger == nil {
		s.Logger = slog.New(slog.DiscardHandler)
	}
	return s
}

// Validate reports every setting that Open would refuse.
func (s Settings) Validate() error {
	var errs []error
	if s.Dir == "" {
		errs = append(errs, errors.New("log folder is empty"))
	}
	if s.Sync != "" && s.Sync != SyncAlways && s.Sync != SyncInterval {
		errs = append(errs, fmt.Errorf("sync %q: it must be %q or %q", s.Sync, SyncAlways, SyncInterval))
	}
	if s.SyncInterval < 0 || s.Keep < 0 {
		errs = append(errs, errors.New("sync interval and keep must not be negative"))
	}
	for _, v := range []int64{s.EventsBytes, s.InputsBytes, s.RejectedBytes, s.RejectedQuota, s.Reserve} {
		if v < 0 {
			errs = append(errs, fmt.Errorf("size %d: it must not be negative", v))
		}
	}
	return errors.Join(errs...)
}

// disk is the state of a file system, in bytes.
type disk struct{ free, size int64 }

func statDisk(dir string) (disk, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return disk{}, fmt.Errorf("file system of %s: %w", dir, err)
	}
	// The fields' types are the system's own.
	unit := int64(st.Bsize)
	return disk{free: clamp(uint64(st.Bavail), unit), size: clamp(uint64(st.Blocks), unit)}, nil
}

func clamp(blocks uint64, size int64) int64 {
	if size <= 0 || blocks > math.MaxInt64/uint64(size) {
		return math.MaxInt64
	}
	return int64(blocks) * size
}

func defaultReserve(d disk) int64 { return max(1<<30, d.size/20) }

// sizes are the limits of the three streams in bytes.
type sizes struct{ events, inputs, rejected int64 }

func (s sizes) sum() int64 { return s.events + s.inputs + s.rejected }

// fit makes the wanted sizes smaller, all by the same share, so that together
// they leave the reserve free; used is what the log has on the disk already.
// No stream gets less than it holds or, when it holds less, than one message.
func fit(want, held sizes, d disk, reserve int64) sizes {
	usable := d.free + held.sum() - reserve
	share := 1.0
	if want.sum() > usable {
		share = max(0, float64(usable)/float64(want.sum()))
	}
	one := func(want, held int64) int64 {
		return max(int64(float64(want)*share), held, min(want, 2*maxMessage))
	}
	return sizes{
		events:   one(want.events, held.events),
		inputs:   one(want.inputs, held.inputs),
		rejected: one(want.rejected, held.rejected),
	}
}

package detect

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	mathrand "math/rand/v2"
	"sync"
	"time"

	"github.com/kelpie-sec/kelpie/core/eventlog"
	"github.com/kelpie-sec/kelpie/core/model"
)

// Plugins opens sessions of detector instances.
type Plugins interface {
	// Open starts a session from a cursor; nil is the source's beginning. It waits
	// while the plugin's process starts. The session ends with ctx. It must fail if
	// another connector than the instance's Maker has its address: the cursor is not for
	// that one.
	Open(ctx context.Context, in Instance, cursor []byte, once bool) (Session, error)
}

// Session is the plugin's side of a session. Recv is for one goroutine.
type Session interface {
	// Recv waits for what comes next. It returns io.EOF when the plugin has ended
	// the session well.
	Recv() (Message, error)
	// Credit allows more batches.
	Credit(batches int) error
	// Ack says that all batches up to this one are durable.
	Ack(number int64) error
	// Stop asks for the end: the plugin reads nothing more, and Recv returns io.EOF after
	// what was on its way.
	Stop() error
	// Close ends the session at once.
	Close()
}

// Message holds a batch or a status.
type Message struct {
	Batch  *Batch
	Status *Status
}

// Batch of a plugin. Numbers count from 1 in a session.
type Batch struct {
	Number int64
	Events []model.Event
	Cursor []byte
}

// Status of a source, as the plugin tells it.
type Status struct {
	// Ended: with once, everything that there was has been sent.
	Ended bool
	// Trouble is why the source can't be read now; empty if it can.
	Trouble    string
	Behind     int64
	BehindUnit string
}

// Log is where the batches go.
type Log interface {
	// Begin starts the log's side of a session and ends an older one of the instance.
	Begin(ctx context.Context, instance string) (Writer, error)
}

// Writer writes one session's batches. See eventlog.Source.
type Writer interface {
	Last() eventlog.Header
	Publish(ctx context.Context, h eventlog.Header, payload []byte) (uint64, error)
}

// State of one instance's session.
type State string

// The states.
const (
	Starting State = "starting"
	Running  State = "running"
	Troubled State = "troubled" // the source, or the plugin, is not well
	NoRoom   State = "no room"  // the log takes nothing
	Ended    State = "ended"    // with Once
	Stopped  State = "stopped"
)

// Report is how one instance is doing.
type Report struct {
	Instance  string    `json:"instance"`
	State     State     `json:"state"`
	Since     time.Time `json:"since"`
	Message   string    `json:"message,omitempty"`
	Total     uint64    `json:"total"` // events, ever
	LastBatch time.Time `json:"last_batch,omitzero"`
	// Contact is when the plugin last said anything in a session.
	Contact    time.Time `json:"contact,omitzero"`
	Behind     int64     `json:"behind,omitempty"`
	BehindUnit string    `json:"behind_unit,omitempty"`
}

// Detector keeps the sessions of all instances.
type Detector struct {
	Settings Settings
	Plugins  Plugins
	Log      Log
	Logger   *slog.Logger
	Now      func() time.Time

	mu        sync.Mutex
	asked     chan change
	instances []Instance // in force, once Run has begun
	reports   map[string]Report
}

// Run keeps the sessions until ctx ends or, with Once, until every source has
// ended.
func (d *Detector) Run(ctx context.Context) error {
	keepers := map[string]*keeper{}
	d.apply(ctx, keepers, change{instances: d.Settings.Instances})
	changes := d.changes()
	for !d.Settings.Once {
		select {
		case c := <-changes:
			d.apply(ctx, keepers, c)
			close(c.done)
			continue
		case <-ctx.Done():
		}
		break
	}
	for _, k := range keepers {
		<-k.done
	}
	return nil
}

// Reports of all instances, in the order of the configuration.
func (d *Detector) Reports() []Report {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []Report
	instances := d.instances
	if instances == nil {
		instances = d.Settings.Instances
	}
	for _, in := range instances {
		r, ok := d.reports[in.Address]
		if !ok {
			r = Report{Instance: in.Address, State: Starting}
		}
		all = append(all, r)
	}
	return all
}

// update changes an instance's report; Since moves when its state does.
func (d *Detector) update(instance string, change func(*Report)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.reports == nil {
		d.reports = map[string]Report{}
	}
	r := d.reports[instance]
	before := r.State
	r.Instance = instance
	change(&r)
	if r.State != before {
		r.Since = d.Now()
	}
	d.reports[instance] = r
}

func (d *Detector) state(instance string, s State, message string) {
	d.update(instance, func(r *Report) { r.State, r.Message = s, message })
}

// keep runs one session after the other, until ctx ends or it is asked to leave.
func (d *Detector) keep(ctx, stay context.Context, in Instance) {
	log := d.Logger.With("instance", in.Address)
	rewind := d.Settings.Rewind
	wait, failed := firstRetry, 0
	d.state(in.Address, Starting, "")
	for {
		began := d.Now()
		logged, err := d.session(ctx, stay, in, rewind)
		if err == nil {
			d.state(in.Address, Ended, "")
			return
		}
		if stay.Err() != nil {
			d.state(in.Address, Stopped, "")
			return
		}
		failed++
		if logged {
			rewind = false // the log's cursor is the new one
			wait, failed = firstRetry, 0
		}
		if d.Now().Sub(began) > calm {
			wait = firstRetry
		}
		d.state(in.Address, Troubled, err.Error())
		if older := (*CursorError)(nil); errors.As(err, &older) {
			// Nothing but another configuration can change that.
			log.Error("detector can't go on", "reason", err)
			if !d.Settings.Once {
				<-stay.Done()
				d.state(in.Address, Stopped, "")
			}
			return
		}
		if d.Settings.Once && failed >= giveUp {
			log.Error("source can't be read to its end", "reason", err)
			return
		}
		log.Warn("session ended; a new one starts from the last durable cursor", "reason", err, "wait", wait)
		if !pause(stay, wait/2+mathrand.N(wait/2)) {
			d.state(in.Address, Stopped, "")
			return
		}
		wait = min(2*wait, lastRetry)
	}
}

// session reads one session to its end; nil means that the source has ended. logged
// tells whether a batch of it is in the log.
func (d *Detector) session(ctx, stay context.Context, in Instance, rewind bool) (logged bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	opened := context.AfterFunc(stay, cancel)
	w, err := d.Log.Begin(ctx, in.Address)
	if err != nil {
		return false, err
	}
	last := w.Last()
	var cursor []byte
	if !rewind {
		var why string
		if cursor, why, err = in.Start(last); err != nil {
			return false, err
		}
		if why != "" {
			d.Logger.Warn(why, "instance", in.Address, "plugin", in.Maker.Name())
		}
	}
	plugin, err := d.Plugins.Open(ctx, in, cursor, d.Settings.Once)
	if err != nil {
		return false, err
	}
	defer plugin.Close()
	if !opened() {
		return false, stay.Err()
	}
	defer stopping(ctx, stay, plugin, cancel)()
	s := session{d: d, in: in, stay: stay, w: w, plugin: plugin, id: rand.Text(), total: last.Total, cursor: cursor}
	d.update(in.Address, func(r *Report) { r.State, r.Message, r.Total = Running, "", last.Total })
	err = s.run(ctx)
	return s.total > last.Total, err
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

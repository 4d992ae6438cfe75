package eventlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	startTimeout = 2 * time.Minute // an unclean start reads every block that is not indexed
	stopTimeout  = 20 * time.Second

	// The streams' own limits bound the store; the server's must only not be
	// in their way.
	serverMaxStore  = 1 << 50
	serverMaxMemory = 64 << 20

	ackWait    = 10 * time.Second
	maxPending = 64
	matchName  = "match"
)

// server is one run of the embedded server with its connections and streams.
type server struct {
	ns *natsserver.Server
	// pub carries publishes only, ask everything else: whether a publish that
	// was not answered was written is asked on another connection.
	pub, ask  *nats.Conn
	pubJS, js jetstream.JetStream
	streams   map[string]jetstream.Stream
	match     jetstream.Consumer
	limits    sizes
	names     map[string]*names // of each stream; none unless the disk is waited for

	// broken ends when the server can no longer be trusted with a write, with
	// the reason as its cause.
	broken     context.Context
	markBroken context.CancelCauseFunc
	since      func() time.Time
	stopping   sync.Once
	stopped    chan struct{} // closed when the server is being stopped
	ended      chan struct{} // closed when it has ended
}

// dialer makes a connection's transport; tests put faults into it.
type dialer func(ns *natsserver.Server, name string) (net.Conn, error)

func dialInProcess(ns *natsserver.Server, _ string) (net.Conn, error) { return ns.InProcessConn() }

type provider struct {
	ns   *natsserver.Server
	name string
	dial dialer
}

func (p provider) InProcessConn() (net.Conn, error) { return p.dial(p.ns, p.name) }

func startServer(ctx context.Context, set Settings, dial dialer) (_ *server, err error) {
	s := &server{streams: map[string]jetstream.Stream{}, stopped: make(chan struct{}), ended: make(chan struct{})}
	s.broken, s.markBroken = context.WithCancelCause(context.Background())
	var once sync.Once
	var brokenAt time.Time
	mark := s.markBroken
	s.markBroken = func(err error) { once.Do(func() { brokenAt = time.Now(); mark(err) }) }
	s.since = func() time.Time { return brokenAt }

	log := &serverLog{log: set.Logger, sick: s.markBroken}
	s.ns, err = natsserver.NewServer(&natsserver.Options{
		ServerName:             "kelpie",
		DontListen:             true,
		NoSigs:                 true,
		NoLog:                  true,
		MaxPayload:             maxMessage,
		JetStream:              true,
		DisableJetStreamBanner: true,
		StoreDir:               set.Dir,
		JetStreamMaxStore:      serverMaxStore,
		JetStreamMaxMemory:     serverMaxMemory,
		SyncAlways:             set.Sync == SyncAlways,
		SyncInterval:           set.SyncInterval,
	})
	if err != nil {
		return nil, fmt.Errorf("log server: %w", err)
	}
	s.ns.SetLoggerV2(log, false, false, false)
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stop())
		}
	}()
	s.ns.Start()
	if line := log.lastFatal(); line != "" {
		return nil, fmt.Errorf("log server: %s", line)
	}
	if !s.ns.ReadyForConnections(startTimeout) {
		return nil, errors.New("log server is not ready for connections")
	}
	if s.pub, s.pubJS, err = s.connect("publish", set.Logger, dial); err != nil {
		return nil, err
	}
	if s.ask, s.js, err = s.connect("read", set.Logger, dial); err != nil {
		return nil, err
	}
	if err = s.prepare(ctx, set); err != nil {
		return nil, err
	}
	return s, s.settleNames(set)
}

// settleNames brings the names of all that the server has made to the disk.
func (s *server) settleNames(set Settings) error {
	if set.Sync != SyncAlways {
		return nil
	}
	s.names = map[string]*names{}
	for stream := range s.streams {
		n, err := openNames(blockDir(set.Dir, stream))
		if err != nil {
			return err
		}
		s.names[stream] = n
	}
	return syncFolders(set.Dir)
}

func (s *server) connect(name string, log *slog.Logger, dial dialer) (*nats.Conn, jetstream.JetStream, error) {
	nc, err := nats.Connect(
		"",
		nats.InProcessServer(provider{s.ns, name, dial}),
		nats.Name(name),
		nats.NoReconnect(),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			log.Warn("event log connection", "connection", name, "error", err)
		}),
		nats.ClosedHandler(func(nc *nats.Conn) {
			s.markBroken(fmt.Errorf("%s connection closed: %w", name, errors.Join(nc.LastError(), nats.ErrConnectionClosed)))
		}),
	)
	if err != nil {
		return nil, nil, fmt.Errorf("log server: %w", err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		nc.Close()
		return nil, nil, fmt.Errorf("log server: %w", err)
	}
	return nc, js, nil
}

// prepare makes the streams and match's consumer, or brings them up to date.
func (s *server) prepare(ctx context.Context, set Settings) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	var held sizes
	for name, bytes := range map[string]*int64{events: &held.events, inputs: &held.inputs, rejected: &held.rejected} {
		st, err := s.js.Stream(ctx, name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue
		} else if err != nil {
			return fmt.Errorf("stream %s: %w", name, err)
		}
		*bytes = int64(st.CachedInfo().State.Bytes)
	}
	d, err := statDisk(set.Dir)
	if err != nil {
		return err
	}
	want := sizes{set.EventsBytes, set.InputsBytes, set.RejectedBytes}
	s.limits = fit(want, held, d, set.Reserve)
	if s.limits.sum() < want.sum() {
		set.Logger.Warn("event log gets less room than configured: the disk is too small",
			"events_bytes", s.limits.events, "inputs_bytes", s.limits.inputs, "rejected_bytes", s.limits.rejected,
			"configured_bytes", want.sum(), "free_bytes", d.free, "reserve_bytes", set.Reserve)
	}
	for name, bytes := range map[string]int64{events: s.limits.events, inputs: s.limits.inputs, rejected: s.limits.rejected} {
		if s.streams[name], err = s.js.CreateOrUpdateStream(ctx, streamConfig(name, bytes)); err != nil {
			return fmt.Errorf("stream %s: %w", name, err)
		}
	}
	if err := fitBlocks(s.ns); err != nil {
		set.Logger.Warn("the event log keeps more in memory than it needs", "error", err)
	}
	s.match, err = s.js.CreateOrUpdateConsumer(ctx, events, jetstream.ConsumerConfig{
		Durable:       matchName,
		DeliverPolicy: jetstream.DeliverAllPolicy,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       ackWait,
		MaxAckPending: maxPending,
		MaxDeliver:    -1,
	})
	if err != nil {
		return fmt.Errorf("consumer %s: %w", matchName, err)
	}
	if s.match.CachedInfo().NumAckPending > 0 {
		// Nobody holds a message of the run before: without this they would
		// come again only after AckWait, even those that were handed back.
		if _, err := s.js.ResetConsumer(ctx, events, matchName); err != nil {
			return fmt.Errorf("consumer %s: %w", matchName, err)
		}
	}
	return nil
}

func streamConfig(name string, bytes int64) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:     name,
		Subjects: []string{name + ".>"},
		Storage:  jetstream.FileStorage,
		Discard:  jetstream.DiscardNew,
		MaxBytes: bytes,
		// Our own ids find repeats, for ever; at start the server reads back
		// every message of this window.
		Duplicates: 100 * time.Millisecond,
		// Asked directly, a subject cannot be a pattern.
		AllowDirect: name != rejected,
	}
}

// publish writes one message whose subject's last sequence is last. Of the
// answers, only ErrFull, ErrTooLarge and errWrongLast say that nothing was
// written.
func (s *server) publish(ctx context.Context, subject string, last uint64, body []byte) (uint64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.broken, cancel)()
	ack, err := s.pubJS.PublishMsg(ctx, &nats.Msg{Subject: subject, Data: body},
		jetstream.WithRetryAttempts(0),
		jetstream.WithExpectLastSequencePerSubject(last))
	if err != nil {
		return 0, publishError(err)
	}
	if n := s.names[ack.Stream]; n != nil {
		if err := n.settle(); err != nil {
			return 0, err
		}
	}
	return ack.Sequence, nil
}

var (
	errWrongLast = errors.New("another message came first")
	errStopped   = errors.New("log server was stopped")
)

const (
	codeStoreFailed      = 10077
	codeNoResources      = 10023
	codeAccountResources = 10002
	codeStorageResources = 10047
)

func publishError(err error) error {
	if errors.Is(err, nats.ErrMaxPayload) {
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	}
	var api *jetstream.APIError
	if !errors.As(err, &api) {
		return err
	}
	switch api.ErrorCode {
	case jetstream.JSErrCodeStreamWrongLastSequence, jetstream.JSErrCodeStreamWrongLastSequenceConstant:
		return errWrongLast
	case jetstream.JSErrCodeStreamMessageExceedsMaximum:
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	case codeNoResources, codeAccountResources, codeStorageResources:
		return fmt.Errorf("%w: %w", ErrFull, err)
	case codeStoreFailed:
		if strings.Contains(api.Description, natsserver.ErrMaxBytes.Error()) {
			return fmt.Errorf("%w: %w", ErrFull, err)
		}
	}
	return err
}

// last returns the last message of a subject; jetstream.ErrMsgNotFound when
// there is none.
func (s *server) last(ctx context.Context, stream, subject string) (*jetstream.RawStreamMsg, error) {
	return s.streams[stream].GetLastMsgForSubject(ctx, subject)
}

// stop closes the connections and the server, in this order, so that nothing
// is half sent. It is given up after stopTimeout, and may be called again.
func (s *server) stop() error {
	s.stopping.Do(func() {
		close(s.stopped)
		s.markBroken(errStopped)
		for _, nc := range []*nats.Conn{s.pub, s.ask} {
			if nc != nil {
				nc.Close()
			}
		}
		go func() {
			defer close(s.ended)
			s.ns.Shutdown()
			s.ns.WaitForShutdown()
			for _, n := range s.names {
				_ = n.close() // it was only read
			}
		}()
	})
	select {
	case <-s.ended:
		return nil
	case <-time.After(stopTimeout):
		return fmt.Errorf("log server did not stop within %v", stopTimeout)
	}
}

// serverLog hands the server's lines on and watches for those that say that a
// write failed: it is all the server says about it.
type serverLog struct {
	log  *slog.Logger
	sick func(error)

	mu    sync.Mutex
	fatal string
}

func (l *serverLog) watch(line string) {
	if strings.Contains(line, "Critical write error") || strings.Contains(line, "disabling JetStream") {
		l.sick(errors.New(line))
	}
}

func (l *serverLog) Noticef(format string, v ...any) {
	l.log.Debug("event log server", "line", fmt.Sprintf(format, v...))
}

func (l *serverLog) Warnf(format string, v ...any) {
	line := fmt.Sprintf(format, v...)
	l.watch(line)
	l.log.Info("event log server", "line", line) // such as an index that is rebuilt after a crash
}

func (l *serverLog) Errorf(format string, v ...any) {
	line := fmt.Sprintf(format, v...)
	l.watch(line)
	l.log.Error("event log server", "line", line)
}

func (l *serverLog) Fatalf(format string, v ...any) {
	line := fmt.Sprintf(format, v...)
	l.mu.Lock()
	l.fatal = line
	l.mu.Unlock()
	l.sick(errors.New(line))
	l.log.Error("event log server", "line", line)
}

func (l *serverLog) Debugf(string, ...any) {}
func (l *serverLog) Tracef(string, ...any) {}

func (l *serverLog) lastFatal() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fatal
}

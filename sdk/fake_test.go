package sdk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"os"
	"strconv"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
)

// fakeConfig is the block of the fakes.
type fakeConfig struct {
	Path  string        `kelpie:"path" default:"/var/log/x"`
	Token string        `kelpie:"token,secret"`
	Every time.Duration `kelpie:"every" default:"10s"`
}

// fakeDetector is a Detector made of functions.
type fakeDetector struct {
	config   fakeConfig
	env      Env
	validate func(*fakeDetector) []Diagnostic
	open     func(context.Context, *fakeDetector) error
	detect   func(context.Context, *fakeDetector, Start, Sender) error
	acked    func(context.Context, []byte) error
	health   func(context.Context) error
	closed   func(*fakeDetector)
}

func (d *fakeDetector) Config() any { return &d.config }

func (d *fakeDetector) Validate() []Diagnostic {
	if d.validate == nil {
		return nil
	}
	return d.validate(d)
}

func (d *fakeDetector) Open(ctx context.Context, env Env) error {
	d.env = env
	if d.open == nil {
		return nil
	}
	return d.open(ctx, d)
}

func (d *fakeDetector) Detect(ctx context.Context, start Start, out Sender) error {
	return d.detect(ctx, d, start, out)
}

func (d *fakeDetector) Acknowledged(ctx context.Context, cursor []byte) error {
	if d.acked == nil {
		return nil
	}
	return d.acked(ctx, cursor)
}

func (d *fakeDetector) Health(ctx context.Context) error {
	if d.health == nil {
		return nil
	}
	return d.health(ctx)
}

func (d *fakeDetector) Close() error {
	if d.closed != nil {
		d.closed(d)
	}
	return nil
}

// fakeEnricher is an Enricher made of a function.
type fakeEnricher struct {
	config fakeConfig
	enrich func(context.Context, *fakeEnricher, []Question) ([]Reply, error)
}

func (e *fakeEnricher) Config() any { return &e.config }

func (e *fakeEnricher) Enrich(ctx context.Context, questions []Question) ([]Reply, error) {
	return e.enrich(ctx, e, questions)
}

// fakeActor is an Actor, Undoer, Checker and Answerer made of functions.
type fakeActor struct {
	config  fakeConfig
	execute func(context.Context, Call) (Result, error)
	undo    func(context.Context, UndoCall) (Result, error)
	check   func(context.Context, CheckCall) (Result, error)
	answers func(context.Context, []byte, func(PersonAnswer) error) error
}

func (a *fakeActor) Config() any { return &a.config }

func (a *fakeActor) Execute(ctx context.Context, call Call) (Result, error) {
	return a.execute(ctx, call)
}

func (a *fakeActor) Undo(ctx context.Context, call UndoCall) (Result, error) {
	return a.undo(ctx, call)
}

func (a *fakeActor) Check(ctx context.Context, call CheckCall) (Result, error) {
	return a.check(ctx, call)
}

func (a *fakeActor) Answers(ctx context.Context, cursor []byte, send func(PersonAnswer) error) error {
	return a.answers(ctx, cursor, send)
}

// detectorPlugin has one connector, made by make.
func detectorPlugin(fresh func() Instance) Plugin {
	return Plugin{Name: "fake", Version: "1.2.3", Connectors: []Connector{
		{Kind: KindDetector, Summary: "reports", New: fresh},
	}}
}

func enrichmentPlugin(fresh func() Instance) Plugin {
	return Plugin{Name: "fake", Version: "1.2.3", Connectors: []Connector{
		{Kind: KindEnrichment, Summary: "answers", New: fresh, Takes: []string{"ip"}, BatchLimit: 10},
	}}
}

type isolateParameters struct {
	Level int `kelpie:"level,required"`
}

func actionPlugin(fresh func() Instance) Plugin {
	return Plugin{Name: "fake", Version: "1.2.3", Connectors: []Connector{
		{Kind: KindAction, Summary: "acts", New: fresh, Verbs: []Verb{
			{
				Name: "isolate_host", Targets: []string{"host"}, Undo: true, Check: true,
				Parameters: func() any { return &isolateParameters{} },
			},
			{Name: "notify"},
		}},
	}}
}

// served is a plugin in this process behind a real gRPC connection.
type served struct {
	server *Server
	logs   *syncBuffer
	conn   *grpc.ClientConn
	plugin pluginv1.PluginServiceClient
	detect pluginv1.DetectorServiceClient
	enrich pluginv1.EnrichmentServiceClient
	act    pluginv1.ActionServiceClient
}

func serveHere(t testing.TB, p Plugin) *served {
	t.Helper()
	logs := &syncBuffer{}
	server, err := newServer(p, newLogHandler(logs, levelTrace))
	if err != nil {
		t.Fatal(err)
	}
	listener := bufconn.Listen(1 << 20)
	rpc := grpc.NewServer(server.Options()...)
	server.Register(rpc)
	served := &served{server: server, logs: logs}
	stopped := make(chan error, 1)
	go func() { stopped <- rpc.Serve(listener) }()
	served.conn, err = grpc.NewClient("passthrough:///fake",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(MaxMessage), grpc.MaxCallSendMsgSize(MaxMessage)))
	if err != nil {
		t.Fatal(err)
	}
	served.plugin = pluginv1.NewPluginServiceClient(served.conn)
	served.detect = pluginv1.NewDetectorServiceClient(served.conn)
	served.enrich = pluginv1.NewEnrichmentServiceClient(served.conn)
	served.act = pluginv1.NewActionServiceClient(served.conn)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		_ = served.conn.Close()
		rpc.Stop()
		<-stopped
	})
	return served
}

// configure makes an instance and fails the test if that is refused.
func (s *served) configure(t testing.TB, id string, kind pluginv1.ConnectorKind, config string) {
	t.Helper()
	if got := s.tryConfigure(t, id, kind, config); len(got) > 0 {
		t.Fatalf("Configure(%s): %v", id, got)
	}
}

func (s *served) tryConfigure(t testing.TB, id string, kind pluginv1.ConnectorKind, config string) []*pluginv1.Diagnostic {
	t.Helper()
	out, err := s.plugin.Configure(testContext(t), &pluginv1.ConfigureRequest{Instance: id, Kind: kind, Config: []byte(config)})
	if err != nil {
		t.Fatalf("Configure(%s): %v", id, err)
	}
	return out.GetDiagnostics()
}

// testContext bounds what a test waits for.
func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

const (
	asDetector   = pluginv1.ConnectorKind_CONNECTOR_KIND_DETECTOR
	asEnrichment = pluginv1.ConnectorKind_CONNECTOR_KIND_ENRICHMENT
	asAction     = pluginv1.ConnectorKind_CONNECTOR_KIND_ACTION
)

// childPlugin is what the test binary serves as a child process.
func childPlugin() Plugin {
	p := detectorPlugin(func() Instance {
		return &fakeDetector{
			closed: func(d *fakeDetector) { d.env.Log.Info("closed", "path", d.config.Path) },
			detect: func(ctx context.Context, d *fakeDetector, _ Start, out Sender) error {
				if n, err := strconv.Atoi(d.config.Path); err == nil {
					return flood(ctx, n, out)
				}
				receipt, err := out.Send(ctx, []Event{{ID: d.config.Path, Raw: []byte(`{"n":1}`)}}, []byte("1"))
				if err != nil {
					return err
				}
				if err := receipt.Wait(ctx); err != nil {
					return err
				}
				<-ctx.Done()
				return nil
			},
		}
	})
	p.Connectors = append(p.Connectors, Connector{
		Kind: KindEnrichment, BatchLimit: 4, Takes: []string{"ip"},
		New: func() Instance { return &fakeEnricher{enrich: childEnrich} },
	})
	return p
}

// flood sends for ever, so many events of 1.3 KB at once.
func flood(ctx context.Context, n int, out Sender) error {
	raw := bytes.Repeat([]byte("x"), 1300)
	events := make([]Event, n)
	for i := range events {
		events[i] = Event{ID: strconv.Itoa(i), Raw: raw}
	}
	for {
		if _, err := out.Send(ctx, events, nil); err != nil {
			return err
		}
	}
}

func childEnrich(ctx context.Context, e *fakeEnricher, questions []Question) ([]Reply, error) {
	switch questions[0].Observable.Value {
	case "panic":
		panic("with " + e.config.Token)
	case "hang":
		<-ctx.Done()
		return nil, ctx.Err()
	case "deaf": // like code that does not know of contexts
		select {}
	case "print":
		fmt.Println("stray on stdout")
		fmt.Fprintln(os.Stderr, "stray on stderr")
		log.Print("by the log package")
		slog.Warn("by slog", "token", e.config.Token)
	case "leak":
		return nil, &Error{Reason: Denied, Fault: FaultVendor, Err: errors.New("login with " + e.config.Token + " refused")}
	}
	out := make([]Reply, len(questions))
	for i := range out {
		out[i] = Reply{Answers: []Answer{{Asset: &Asset{Name: e.config.Path}}}}
	}
	return out, nil
}

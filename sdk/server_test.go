package sdk

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
)

func TestDescribe(t *testing.T) {
	p := childPlugin()
	p.Connectors = append(p.Connectors, actionPlugin(func() Instance { return &fakeActor{} }).Connectors...)
	s := serveHere(t, p)
	first, err := s.plugin.Describe(testContext(t), &pluginv1.DescribeRequest{})
	if err != nil {
		t.Fatal(err)
	}
	again, err := serveHere(t, p).plugin.Describe(testContext(t), &pluginv1.DescribeRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(first, again) {
		t.Error("Describe does not say the same twice")
	}
	if got := len(first.GetConnectors()); got != 3 {
		t.Fatalf("%d connectors, want 3", got)
	}
	action := first.GetConnectors()[2]
	if !action.GetAnswers() {
		t.Error("it answers, and Describe does not say so")
	}
	isolate, notify := action.GetVerbs()[0], action.GetVerbs()[1]
	if !isolate.GetUndo() || !isolate.GetCheck() || notify.GetUndo() || notify.GetCheck() {
		t.Errorf("verbs: %v", action.GetVerbs())
	}
	if got := isolate.GetParameters().GetAttributes()[0].GetName(); got != "level" {
		t.Errorf("parameter %q, want level", got)
	}
}

type plainInstance struct{}

func (plainInstance) Config() any { return nil }

type bothWays struct{ fakeDetector }

func (bothWays) Fetch(context.Context, []byte) (Page, error) { return Page{}, nil }
func (bothWays) Interval() time.Duration                     { return time.Second }

type plainActor struct{ plainInstance }

func (plainActor) Execute(context.Context, Call) (Result, error) { return Result{}, nil }

type reserved struct{ plainActor }

func (reserved) Config() any {
	return &struct {
		Timeout time.Duration `kelpie:"timeout"`
	}{}
}

type wantsConnection struct{ plainActor }

func (wantsConnection) ConfigConnection() any { return nil }

func TestDescribeErrors(t *testing.T) {
	instance := func(i Instance) func() Instance { return func() Instance { return i } }
	verbs := []Verb{{Name: "notify"}}
	for want, p := range map[string]Plugin{
		`its name "Fake"`:         {Name: "Fake", Version: "1.0.0"},
		`its version "v1"`:        {Name: "fake", Version: "v1"},
		"offers no connector":     {Name: "fake", Version: "1.0.0"},
		"detector: it has no New": {Connectors: []Connector{{Kind: KindDetector}}},
		"its Kind must be":        {Connectors: []Connector{{New: instance(plainInstance{})}}},
		"detector: sdk.plainInstance must implement one of Detector and Fetcher": {
			Connectors: []Connector{{Kind: KindDetector, New: instance(plainInstance{})}},
		},
		"*sdk.bothWays must implement one of": {
			Connectors: []Connector{{Kind: KindDetector, New: instance(&bothWays{})}},
		},
		"does not implement Enricher": {Connectors: []Connector{{Kind: KindEnrichment, New: instance(plainInstance{})}}},
		`takes "colour", which is no kind`: {
			Connectors: []Connector{{Kind: KindEnrichment, New: instance(&fakeEnricher{}), Takes: []string{"colour"}}},
		},
		"does not implement Actor": {Connectors: []Connector{{Kind: KindAction, New: instance(plainInstance{})}}},
		"action: it has no verbs":  {Connectors: []Connector{{Kind: KindAction, New: instance(plainActor{})}}},
		`verb "explode": the contract has no such verb`: {
			Connectors: []Connector{{Kind: KindAction, New: instance(plainActor{}), Verbs: []Verb{{Name: "explode"}}}},
		},
		"two of this name": {
			Connectors: []Connector{{Kind: KindAction, New: instance(plainActor{}), Verbs: []Verb{{Name: "fake.x"}, {Name: "fake.x"}}}},
		},
		"says Undo, but sdk.plainActor does not implement Undoer": {
			Connectors: []Connector{{Kind: KindAction, New: instance(plainActor{}), Verbs: []Verb{{Name: "notify", Undo: true}}}},
		},
		"implements Undoer, but no verb says Undo": {
			Connectors: []Connector{{Kind: KindAction, New: instance(&fakeActor{}), Verbs: []Verb{{Name: "notify", Check: true}}}},
		},
		`a field named "timeout", which is the core's own`: {
			Connectors: []Connector{{Kind: KindAction, New: instance(reserved{}), Verbs: verbs}},
		},
		"it wants a connection": {
			Connectors: []Connector{{Kind: KindAction, New: instance(wantsConnection{}), Verbs: verbs}},
		},
		`permission "tcp:{server}" names an attribute`: {
			Permissions: Permissions{Network: []string{"tcp:443", "tcp:{server}"}},
			Connectors:  []Connector{{Kind: KindAction, New: instance(plainActor{}), Verbs: verbs}},
		},
		"action: there are two of this name": {Connectors: []Connector{
			{Kind: KindAction, New: instance(plainActor{}), Verbs: verbs},
			{Kind: KindAction, New: instance(plainActor{}), Verbs: verbs},
		}},
	} {
		t.Run(want, func(t *testing.T) {
			if p.Name == "" {
				p.Name, p.Version = "fake", "1.0.0"
			}
			if _, err := NewServer(p); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("NewServer: %v, want %q", err, want)
			}
		})
	}
}

func TestConfigureReplacesOnlyWhatOpens(t *testing.T) {
	var closed atomic.Int32
	s := serveHere(t, detectorPlugin(func() Instance {
		return &fakeDetector{
			open: func(_ context.Context, d *fakeDetector) error {
				if d.config.Path == "bad" {
					return Diagnostic{Path: []string{"path"}, Summary: "no such file"}
				}
				return nil
			},
			validate: func(d *fakeDetector) []Diagnostic {
				if d.config.Path == "odd" {
					return []Diagnostic{{Path: []string{"path"}, Summary: "odd", Warning: true}}
				}
				return nil
			},
			health: func(context.Context) error { return nil },
			closed: func(*fakeDetector) { closed.Add(1) },
		}
	}))
	s.configure(t, "detector.x", asDetector, `{"path":"good"}`)
	before := s.instance("detector.x")
	got := s.tryConfigure(t, "detector.x", asDetector, `{"path":"bad"}`)
	want := &pluginv1.Diagnostic{Severity: pluginv1.Severity_SEVERITY_ERROR, Summary: "no such file", Path: []string{"path"}}
	if len(got) != 1 || !proto.Equal(got[0], want) {
		t.Errorf("diagnostics %v, want %v", got, want)
	}
	if after := s.instance("detector.x"); after != before {
		t.Error("an instance that did not open has replaced the older one")
	}
	if n := closed.Load(); n != 1 {
		t.Errorf("%d closed, want the one that did not open", n)
	}
	got = s.tryConfigure(t, "detector.x", asDetector, `{"path":"odd"}`)
	if len(got) != 1 || got[0].GetSeverity() != pluginv1.Severity_SEVERITY_WARNING {
		t.Errorf("diagnostics %v, want a warning", got)
	}
	if after := s.instance("detector.x"); after == before {
		t.Error("the older instance was not replaced")
	}
	waitFor(t, func() bool { return closed.Load() == 2 })
}

func TestConfigureComplaints(t *testing.T) {
	s := serveHere(t, detectorPlugin(func() Instance {
		return &fakeDetector{open: func(_ context.Context, d *fakeDetector) error {
			switch d.config.Path {
			case "many":
				return errors.Join(
					Diagnostic{Path: []string{"path"}, Summary: "one"},
					Diagnostic{Summary: "two", Detail: "with " + d.config.Token, Warning: true},
				)
			case "plain":
				return errors.New("token " + d.config.Token + " was refused")
			case "panic":
				panic(d.config.Token)
			}
			return nil
		}}
	}))
	summaries := func(config string) []string {
		var out []string
		for _, d := range s.tryConfigure(t, "detector.x", asDetector, config) {
			out = append(out, strings.Join(d.GetPath(), ".")+"|"+d.GetSummary()+"|"+d.GetDetail())
		}
		return out
	}
	for _, c := range []struct {
		config string
		want   []string
	}{
		{`{"path":"many","token":"s3cr3t"}`, []string{"path|one|", "|two|with (secret)"}},
		{`{"path":"plain","token":"s3cr3t"}`, []string{"|token (secret) was refused|"}},
		{`{"path":1,"token":"s3cr3t","s3cr3t":1}`, []string{`path|"path" must be text, not a number|`, `(secret)|there is no attribute or block "(secret)" here|`}},
		{`{"path":`, []string{"|the configuration is no JSON|unexpected EOF"}},
	} {
		if diff := cmp.Diff(c.want, summaries(c.config)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.config, diff)
		}
	}
	ctx := testContext(t)
	for _, c := range []struct {
		req  *pluginv1.ConfigureRequest
		code codes.Code
		want string
	}{
		{&pluginv1.ConfigureRequest{Kind: asDetector}, codes.InvalidArgument, "has no name"},
		{&pluginv1.ConfigureRequest{Instance: "x", Kind: asAction}, codes.InvalidArgument, `plugin "fake" has no action`},
		{&pluginv1.ConfigureRequest{Instance: "x", Kind: asDetector, Connector: "y"}, codes.InvalidArgument, "no detector y"},
		{&pluginv1.ConfigureRequest{Instance: "x", Kind: asDetector, Config: []byte(`{"path":"panic","token":"s3cr3t"}`)}, codes.Internal, "panicked"},
	} {
		_, err := s.plugin.Configure(ctx, c.req)
		if status.Code(err) != c.code || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%v: %v, want %v %q", c.req, err, c.code, c.want)
		}
	}
	if strings.Contains(s.logs.String(), "s3cr3t") {
		t.Error("the secret is in the log")
	}
	if s.instance("detector.x") != nil {
		t.Error("an instance that never opened is there")
	}
}

func TestInstancesAreIsolated(t *testing.T) {
	s := serveHere(t, enrichmentPlugin(func() Instance { return &fakeEnricher{enrich: childEnrich} }))
	s.configure(t, "enrichment.a", asEnrichment, `{"path":"a"}`)
	s.configure(t, "enrichment.b", asEnrichment, `{"path":"b"}`)
	for _, id := range []string{"a", "b", "a"} {
		out, err := s.enrich.Enrich(testContext(t), question("enrichment."+id, "1.2.3.4"))
		if err != nil {
			t.Fatal(err)
		}
		if got := out.GetAnswers()[0].GetAnswers()[0].GetAsset().GetName(); got != id {
			t.Errorf("enrichment.%s answered for %q", id, got)
		}
	}
	_, err := s.enrich.Enrich(testContext(t), question("enrichment.c", "1.2.3.4"))
	if status.Code(err) != codes.NotFound || !strings.Contains(err.Error(), `"enrichment.c" is not configured`) {
		t.Errorf("an unknown instance: %v", err)
	}
	if _, err := s.plugin.Close(testContext(t), &pluginv1.CloseRequest{Instance: "enrichment.a"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.enrich.Enrich(testContext(t), question("enrichment.a", "1.2.3.4")); status.Code(err) != codes.NotFound {
		t.Errorf("after Close: %v", err)
	}
	if _, err := s.enrich.Enrich(testContext(t), question("enrichment.b", "1.2.3.4")); err != nil {
		t.Errorf("the other instance: %v", err)
	}
}

func TestCloseWaitsForCallsAndMayBeRepeated(t *testing.T) {
	inside, goOn := make(chan struct{}), make(chan struct{})
	var calls, closed atomic.Int32
	s := serveHere(t, enrichmentPlugin(func() Instance {
		return &closingEnricher{closed: &closed, fakeEnricher: fakeEnricher{
			enrich: func(_ context.Context, _ *fakeEnricher, q []Question) ([]Reply, error) {
				if calls.Add(1) == 1 {
					close(inside)
					<-goOn
				}
				if closed.Load() != 0 {
					t.Error("closed under a call")
				}
				return make([]Reply, len(q)), nil
			},
		}}
	}))
	s.configure(t, "enrichment.x", asEnrichment, `{}`)
	ctx := testContext(t)
	asked := make(chan error, 1)
	go func() {
		_, err := s.enrich.Enrich(ctx, question("enrichment.x", "1.2.3.4"))
		asked <- err
	}()
	<-inside
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	if _, err := s.plugin.Close(short, &pluginv1.CloseRequest{Instance: "enrichment.x"}); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("Close with a call inside: %v, want DeadlineExceeded", err)
	}
	close(goOn)
	if err := <-asked; err != nil {
		t.Errorf("the call: %v", err)
	}
	waitFor(t, func() bool { return closed.Load() == 1 })
	for range 2 {
		if _, err := s.plugin.Close(ctx, &pluginv1.CloseRequest{Instance: "enrichment.x"}); err != nil {
			t.Errorf("Close again: %v", err)
		}
	}
	if n := closed.Load(); n != 1 {
		t.Errorf("closed %d times", n)
	}
}

type closingEnricher struct {
	fakeEnricher
	closed *atomic.Int32
}

func (c *closingEnricher) Close() error { c.closed.Add(1); return errors.New("not quite") }

func TestReplacedInstanceFinishesItsCalls(t *testing.T) {
	inside, goOn := make(chan struct{}), make(chan struct{})
	var closed atomic.Int32
	s := serveHere(t, enrichmentPlugin(func() Instance {
		return &closingEnricher{closed: &closed, fakeEnricher: fakeEnricher{
			enrich: func(ctx context.Context, e *fakeEnricher, q []Question) ([]Reply, error) {
				if e.config.Path == "old" {
					close(inside)
					<-goOn
				}
				return childEnrich(ctx, e, q)
			},
		}}
	}))
	s.configure(t, "enrichment.x", asEnrichment, `{"path":"old"}`)
	ctx := testContext(t)
	name := func() string {
		out, err := s.enrich.Enrich(ctx, question("enrichment.x", "1.2.3.4"))
		if err != nil {
			t.Error(err)
			return ""
		}
		return out.GetAnswers()[0].GetAnswers()[0].GetAsset().GetName()
	}
	older := make(chan string, 1)
	go func() { older <- name() }()
	<-inside
	s.configure(t, "enrichment.x", asEnrichment, `{"path":"new"}`)
	if got := name(); got != "new" {
		t.Errorf("after Configure %q answers", got)
	}
	if closed.Load() != 0 {
		t.Error("the older instance was closed under its call")
	}
	close(goOn)
	if got := <-older; got != "old" {
		t.Errorf("the call inside was answered by %q", got)
	}
	waitFor(t, func() bool { return closed.Load() == 1 })
}

func (s *served) instance(id string) *instance {
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	return s.server.instances[id]
}

// While an instance is replaced again and again, every call finds one.
func TestConfigureUnderLoad(t *testing.T) {
	var closed atomic.Int32
	s := serveHere(t, enrichmentPlugin(func() Instance {
		return &closingEnricher{closed: &closed, fakeEnricher: fakeEnricher{enrich: childEnrich}}
	}))
	s.configure(t, "enrichment.x", asEnrichment, `{"path":"p"}`)
	ctx := testContext(t)
	var asking sync.WaitGroup
	done := make(chan struct{})
	for range 4 {
		asking.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if _, err := s.enrich.Enrich(ctx, question("enrichment.x", "1.2.3.4")); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	const replaced = 50
	for range replaced {
		s.configure(t, "enrichment.x", asEnrichment, `{"path":"p"}`)
	}
	close(done)
	asking.Wait()
	waitFor(t, func() bool { return closed.Load() == replaced })
}

func TestHealth(t *testing.T) {
	var trouble atomic.Pointer[string]
	s := serveHere(t, detectorPlugin(func() Instance {
		return &fakeDetector{health: func(context.Context) error {
			if text := trouble.Load(); text != nil {
				return errors.New(*text)
			}
			return nil
		}}
	}))
	s.configure(t, "detector.x", asDetector, `{"token":"s3cr3t"}`)
	health := func(id string) *pluginv1.HealthResponse {
		out, err := s.plugin.Health(testContext(t), &pluginv1.HealthRequest{Instance: id})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if !health("").GetOk() || !health("detector.x").GetOk() {
		t.Error("it should be well")
	}
	text := "login with s3cr3t failed"
	trouble.Store(&text)
	first := health("detector.x")
	if first.GetOk() || first.GetMessage() != "login with (secret) failed" || first.GetSince() == nil {
		t.Errorf("health %v", first)
	}
	if again := health("detector.x"); !proto.Equal(first, again) {
		t.Errorf("it is unwell since %v, and then %v", first.GetSince(), again.GetSince())
	}
	if _, err := s.plugin.Health(testContext(t), &pluginv1.HealthRequest{Instance: "y"}); status.Code(err) != codes.NotFound {
		t.Errorf("an unknown instance: %v", err)
	}
}

type connectedActor struct {
	plainActor
	connection struct {
		Token string `kelpie:"token,secret,required"`
	}
}

func (c *connectedActor) ConfigConnection() any { return &c.connection }

func (c *connectedActor) Validate() []Diagnostic {
	if c.connection.Token == "wr0ng-t0ken" {
		return []Diagnostic{{Summary: "token " + c.connection.Token + " is of another product"}}
	}
	return nil
}

func TestConnection(t *testing.T) {
	p := Plugin{
		Name: "fake", Version: "1.0.0",
		Connection: func() any { return (&connectedActor{}).ConfigConnection() },
		Connectors: []Connector{
			{Kind: KindAction, New: func() Instance { return &connectedActor{} }, Verbs: []Verb{{Name: "notify"}}},
			{Kind: KindAction, Name: "alone", New: func() Instance { return plainActor{} }, Verbs: []Verb{{Name: "notify"}}},
		},
	}
	s := serveHere(t, p)
	for _, c := range []struct {
		connector, connection, want string
		in                          bool
	}{
		{"", `{"token":"s3cr3t"}`, "", false},
		{"", ``, "a connection is missing", false},
		{"", `{"token":"wr0ng-t0ken"}`, "token (secret) is of another product", false},
		{"", `{}`, `"token" is missing`, true},
		{"alone", `{"token":"s3cr3t"}`, "takes no connection", true},
		{"alone", ``, "", false},
	} {
		out, err := s.plugin.Configure(testContext(t), &pluginv1.ConfigureRequest{
			Instance: "action.x", Kind: asAction, Connector: c.connector, Connection: []byte(c.connection),
		})
		if err != nil {
			t.Fatal(err)
		}
		got := out.GetDiagnostics()
		if c.want == "" && len(got) == 0 {
			continue
		}
		if len(got) != 1 || !strings.Contains(got[0].GetSummary(), c.want) || got[0].GetConnection() != c.in {
			t.Errorf("%q with %q: %v, want %q", c.connector, c.connection, got, c.want)
		}
	}
}

func TestMessagesHaveALimit(t *testing.T) {
	s := serveHere(t, enrichmentPlugin(func() Instance { return &fakeEnricher{enrich: childEnrich} }))
	s.configure(t, "enrichment.x", asEnrichment, `{"path":"p"}`)
	// Above gRPC's own 4 MiB.
	if _, err := s.enrich.Enrich(testContext(t), question("enrichment.x", strings.Repeat("a", 5<<20))); err != nil {
		t.Errorf("5 MiB: %v", err)
	}
	_, err := s.enrich.Enrich(testContext(t), question("enrichment.x", strings.Repeat("a", MaxMessage)))
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("above 16 MiB: %v, want ResourceExhausted", err)
	}
}

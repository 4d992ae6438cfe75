//go:build linux

package host

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-plugin"
	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/kelpie-sec/kelpie/sdk"
	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
)

// The test binary is the plugin too: started with this variable, which only an
// instance's Env can give it, or by a name that begins so, it is one of these.
const (
	roleEnv    = "KELPIE_HOST_TEST"
	rolePrefix = "fake_"
)

func TestMain(m *testing.M) {
	role := os.Getenv(roleEnv)
	if name, ok := strings.CutPrefix(filepath.Base(os.Args[0]), rolePrefix); ok {
		role = name
	}
	switch role {
	case "":
		goleak.VerifyTestMain(m)
	case "sdk":
		sdk.Serve(sdkPlugin())
	case "host":
		hostToBeKilled()
	default:
		(&fake{role: role}).serve()
	}
}

// fake is a plugin without the SDK, which can lie. Its role says how it starts; what
// its instances do, their configurations say.
type fake struct {
	pluginv1.UnimplementedPluginServiceServer
	pluginv1.UnimplementedDetectorServiceServer
	pluginv1.UnimplementedEnrichmentServiceServer
	pluginv1.UnimplementedActionServiceServer
	plugin.NetRPCUnsupportedPlugin

	role   string
	mu     sync.Mutex
	config map[string]fakeConfig
}

// fakeConfig is what an instance of the fake does.
type fakeConfig struct {
	Do     string   `json:"do"`
	Secret string   `json:"secret"`
	Times  int      `json:"times"`
	Try    []string `json:"try"`

	// What its permissions stand for.
	Path   string `json:"path"`
	Out    string `json:"out"`
	Server string `json:"server"`
	Listen string `json:"listen"`
}

func (f *fake) serve() {
	switch f.role {
	case "prints":
		fmt.Println("hello, I am starting")
		fmt.Fprintln(os.Stderr, "about to serve")
	case "silent":
		fmt.Fprintln(os.Stderr, "thinking")
		time.Sleep(time.Hour)
	case "exits":
		fmt.Fprintln(os.Stderr, "cannot find libfoo.so")
		os.Exit(3)
	case "elsewhere":
		fmt.Println("1|1|tcp|127.0.0.1:9|grpc|" + strings.Repeat("A", 60))
		time.Sleep(time.Hour)
	case "nocert":
		fmt.Println("1|1|unix|" + os.Getenv("PLUGIN_UNIX_SOCKET_DIR") + "/plugin1|grpc|")
		time.Sleep(time.Hour)
	case "tomorrow":
		fmt.Println("1|7|unix|/x|grpc|" + strings.Repeat("A", 60))
		time.Sleep(time.Hour)
	case "crashes":
		defer os.Exit(0)
		fmt.Fprintln(os.Stderr, "panic: this always happens")
		os.Exit(2)
	}
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig:  sdk.Handshake(),
		VersionedPlugins: map[int]plugin.PluginSet{sdk.ProtocolVersion: {sdk.PluginName: f}},
		GRPCServer: func(options []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(options, grpc.MaxRecvMsgSize(sdk.MaxMessage))...)
		},
	})
}

func (f *fake) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	f.config = map[string]fakeConfig{}
	pluginv1.RegisterPluginServiceServer(s, f)
	if f.role == "plain" { // it has no other service
		return nil
	}
	pluginv1.RegisterDetectorServiceServer(s, f)
	pluginv1.RegisterEnrichmentServiceServer(s, f)
	pluginv1.RegisterActionServiceServer(s, f)
	return nil
}

func (f *fake) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.New("no client")
}

func (f *fake) Describe(context.Context, *pluginv1.DescribeRequest) (*pluginv1.DescribeResponse, error) {
	d := &pluginv1.DescribeResponse{Name: "fake", Version: "1.2.3", Homepage: "https://example.org"}
	switch f.role {
	case "liar":
		d.Name = "somebody_else"
	case "versionless":
		d.Version = "latest"
	case "alive":
		d.Capabilities = []string{"detect.tomorrow", sdk.DetectPulse}
	}
	text := &pluginv1.Type{Kind: pluginv1.Kind_KIND_STRING}
	schema := &pluginv1.Schema{
		Doc: "A fake.",
		Attributes: []*pluginv1.Attribute{
			{Name: "do", Type: text, Default: []byte(`"well"`), Example: `"crash"`, OneOf: []string{"well", "crash"}},
			{Name: "path", Type: &pluginv1.Type{Kind: pluginv1.Kind_KIND_PATH}},
		},
		Blocks: []*pluginv1.Block{{Name: "inner", Nesting: pluginv1.BlockNesting_BLOCK_NESTING_MAP, Schema: &pluginv1.Schema{
			Attributes: []*pluginv1.Attribute{{Name: "list", Required: true, Type: &pluginv1.Type{Kind: pluginv1.Kind_KIND_LIST, Element: text}}},
		}}},
	}
	d.Connection = &pluginv1.Schema{Attributes: []*pluginv1.Attribute{{Name: "token", Type: text, Secret: true}}}
	d.Connectors = []*pluginv1.Connector{
		{Kind: pluginv1.ConnectorKind_CONNECTOR_KIND_DETECTOR, Schema: schema, CursorVersion: 2, Finite: true},
		{Kind: pluginv1.ConnectorKind_CONNECTOR_KIND_ENRICHMENT, Schema: schema, Takes: []string{"ip"}, DefaultTtlSeconds: 60},
		{Kind: pluginv1.ConnectorKind_CONNECTOR_KIND_ACTION, Schema: schema, Verbs: []*pluginv1.Verb{
			{Name: "notify", Check: true, SettleSeconds: 5, Parameters: schema},
		}},
	}
	return d, nil
}

func (f *fake) Configure(_ context.Context, r *pluginv1.ConfigureRequest) (*pluginv1.ConfigureResponse, error) {
	var c fakeConfig
	if err := json.Unmarshal(r.GetConfig(), &c); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	if c.Do == "crash at once" {
		os.Exit(5)
	}
	if c.Do == "refuse" {
		return &pluginv1.ConfigureResponse{Diagnostics: []*pluginv1.Diagnostic{
			{Severity: pluginv1.Severity_SEVERITY_WARNING, Summary: "this is old", Path: []string{"do"}},
			{Severity: pluginv1.Severity_SEVERITY_ERROR, Summary: "no such thing", Detail: "the key " + c.Secret + " is not known", Path: []string{"inner", "a", "list", "0"}, Connection: true},
		}}, nil
	}
	if path, ok := strings.CutPrefix(c.Do, "open "); ok {
		if _, err := os.Open(path); err != nil {
			return &pluginv1.ConfigureResponse{Diagnostics: []*pluginv1.Diagnostic{{Summary: "it cannot be opened", Detail: err.Error()}}}, nil
		}
	}
	if c.Do == "refuse once" {
		mark := filepath.Join(r.GetStateDir(), "mark")
		if _, err := os.Stat(mark); err != nil {
			os.WriteFile(mark, nil, 0o600)
			return &pluginv1.ConfigureResponse{Diagnostics: []*pluginv1.Diagnostic{{Summary: "not now"}}}, nil
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.config[r.GetInstance()] = c
	return &pluginv1.ConfigureResponse{}, nil
}

// of an instance; one that was not configured gets an error.
func (f *fake) of(instance string) (fakeConfig, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c, ok := f.config[instance]
	if !ok {
		return c, status.Error(codes.FailedPrecondition, "instance "+instance+" was not configured")
	}
	return c, nil
}

func (f *fake) Health(ctx context.Context, r *pluginv1.HealthRequest) (*pluginv1.HealthResponse, error) {
	c, _ := f.of(r.GetInstance())
	switch c.Do {
	case "sick":
		return &pluginv1.HealthResponse{Message: "the vendor is away; key " + c.Secret}, nil
	case "odd":
		return nil, status.Error(codes.Unimplemented, "what is health? "+c.Secret)
	case "deaf":
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return &pluginv1.HealthResponse{Ok: true}, nil
}

func (f *fake) Close(_ context.Context, r *pluginv1.CloseRequest) (*pluginv1.CloseResponse, error) {
	fmt.Fprintf(originalStderr, `{"@level":"info","@message":"closed","instance":%q}`+"\n", r.GetInstance())
	return &pluginv1.CloseResponse{}, nil
}

// originalStderr is what go-plugin replaces.
var originalStderr = os.Stderr

func (f *fake) Enrich(ctx context.Context, r *pluginv1.EnrichRequest) (*pluginv1.EnrichResponse, error) {
	c, err := f.of(r.GetInstance())
	if err != nil {
		return nil, err
	}
	out := &pluginv1.EnrichResponse{Instance: r.GetInstance()}
	for range r.GetQuestions() {
		out.Answers = append(out.Answers, &pluginv1.QuestionAnswer{Answers: []*pluginv1.Answer{verdictOf(pluginv1.Disposition_DISPOSITION_BENIGN, 0)}})
	}
	first := out.Answers[0]
	switch c.Do {
	case "miscount":
		out.Answers = out.Answers[1:]
	case "misname":
		out.Instance = "enrichment.other"
	case "crash":
		fmt.Fprintln(originalStderr, "panic: the secret is "+c.Secret)
		os.Exit(2)
	case "crash later":
		mark := os.Getenv("MARK")
		if _, err := os.Stat(mark); err != nil {
			os.WriteFile(mark, nil, 0o600)
			os.Exit(4)
		}
	case "unsaid":
		return nil, status.Error(codes.ResourceExhausted, "grpc: trying to send message larger than max (17000000 vs. 16777216)")
	case "unsayable":
		return nil, status.Error(codes.Internal, "grpc: error while marshaling: string field contains invalid UTF-8")
	case "busy":
		for range c.Times {
			if err := exec.Command("/bin/sh", "-c", "while :; do :; done").Start(); err != nil {
				return nil, status.Error(codes.Internal, err.Error())
			}
		}
		first.Answers[0].Details = []byte("{}")
	case "hang":
		<-ctx.Done()
		return nil, ctx.Err()
	case "slow":
		time.Sleep(200 * time.Millisecond)
	case "env":
		env, _ := json.Marshal(map[string]any{"env": os.Environ(), "args": os.Args, "dir": func() string { d, _ := os.Getwd(); return d }()})
		first.Answers[0].Details = env
	case "child":
		child := exec.Command("/bin/sleep", "1000")
		child.Stderr = originalStderr
		child.SysProcAttr = &syscall.SysProcAttr{Setsid: c.Times == 1} // out of its parent's group
		if err := child.Start(); err != nil {
			return nil, status.Error(codes.Internal, err.Error())
		}
		first.Answers[0].Details = fmt.Appendf(nil, `{"pid":%d}`, child.Process.Pid)
	case "print":
		fmt.Println("printed to stdout")
		fmt.Fprintln(os.Stderr, "printed to stderr")
		syscall.Write(1, []byte("printed to descriptor 1\n"))
	case "flood":
		line := bytes.Repeat([]byte("x"), 100)
		for n := range c.Times {
			fmt.Fprintf(originalStderr, `{"@level":"info","@message":"line %d %s"}`+"\n", n, line)
		}
	case "logs":
		for _, line := range logLines(c.Secret) {
			fmt.Fprintln(originalStderr, line)
		}
	case "large answer":
		first.Aliases = append(first.Aliases, &pluginv1.Observable{Kind: "file", Value: strings.Repeat("x", c.Times)})
	case "echo size":
		size := 0
		for _, q := range r.GetQuestions() {
			size += len(q.GetObservable().GetValue())
		}
		first.Answers[0].Details = fmt.Appendf(nil, `{"size":%d}`, size)
	case "retry":
		st, _ := status.New(codes.Unavailable, "quota of key "+c.Secret+" is used up").WithDetails(
			&errdetails.ErrorInfo{Domain: sdk.ErrorDomain, Reason: "VENDOR"},
			&errdetails.RetryInfo{RetryDelay: durationpb.New(90 * time.Second)},
		)
		return nil, st.Err()
	case "denied":
		return nil, status.Error(codes.PermissionDenied, "401 for \x1b[31m"+c.Secret)
	case "invalid":
		return nil, status.Error(codes.InvalidArgument, "that is no address")
	case "failure":
		first.Answers, first.Failure = nil, &pluginv1.Failure{Code: int32(codes.Unavailable), Fault: pluginv1.Fault_FAULT_VENDOR}
	case "answers":
		out.Answers = fakeAnswers(c.Secret)
		out.Quota = &pluginv1.Quota{Remaining: 17}
	case "try":
		said := map[string]string{}
		for _, attempt := range c.Try {
			said[attempt] = try(attempt)
		}
		first.Answers[0].Details, _ = json.Marshal(said)
	case "bad utf8":
		bad := protowire.AppendTag(nil, 3, protowire.BytesType)
		out.ProtoReflect().SetUnknown(protowire.AppendBytes(bad, []byte("\xff")))
	}
	return out, nil
}

func verdictOf(d pluginv1.Disposition, score int32) *pluginv1.Answer {
	return &pluginv1.Answer{Answer: &pluginv1.Answer_Verdict{Verdict: &pluginv1.Verdict{Disposition: d, Score: score, Confidence: 50}}}
}

func (f *fake) Execute(ctx context.Context, r *pluginv1.ExecuteRequest) (*pluginv1.ExecuteResponse, error) {
	c, err := f.of(r.GetInstance())
	if err != nil {
		return nil, err
	}
	out := &pluginv1.ExecuteResponse{
		Instance: r.GetInstance(), Outcome: pluginv1.Outcome_OUTCOME_DONE, Reference: "ticket-7",
		Message:   fmt.Sprintf("%s %s %s %s %d %v", r.GetVerb(), r.GetTarget().GetValue(), r.GetParameters(), r.GetIdempotencyKey(), r.GetAttempt(), r.GetDryRun()),
		UndoToken: []byte("undo"),
	}
	switch c.Do {
	case "misname":
		out.Instance = "action.other"
	case "failed":
		out.Outcome = pluginv1.Outcome_OUTCOME_FAILED
	case "refused":
		out.Outcome = pluginv1.Outcome_OUTCOME_REFUSED
	case "unknown":
		out.Outcome = pluginv1.Outcome_OUTCOME_UNKNOWN
	case "leak":
		out.Message, out.UndoToken = "used "+c.Secret, nil
	case "leak token":
		out.UndoToken = []byte(c.Secret)
	case "crash":
		os.Exit(2)
	case "hang":
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return out, nil
}

func (f *fake) Detect(stream grpc.BidiStreamingServer[pluginv1.DetectRequest, pluginv1.DetectResponse]) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	c, err := f.of(first.GetInstance())
	if err != nil {
		return err
	}
	batch := func(n int64, events ...*pluginv1.Event) error {
		return stream.Send(&pluginv1.DetectResponse{Message: &pluginv1.DetectResponse_Batch{Batch: &pluginv1.Batch{Number: n, Events: events, Cursor: []byte{byte(n)}}}})
	}
	event := &pluginv1.Event{Id: "1", Raw: []byte(`{}`)}
	pulse := first.GetStart().GetPulse().AsDuration()
	if (pulse > 0) != (f.role == "alive") {
		return fmt.Errorf("a plugin that is %q is asked for signs of life each %s", f.role, pulse)
	}
	if c.Do == "no credit" {
		return batch(1, event)
	}
	if _, err := stream.Recv(); err != nil { // credit
		return err
	}
	switch c.Do {
	case "flood":
		big := &pluginv1.Event{Id: "1", Raw: bytes.Repeat([]byte("x"), sdk.MaxEvent)}
		for n := int64(1); ; n++ {
			if err := batch(n, big); err != nil {
				return err
			}
		}
	case "beat":
		for stream.Context().Err() == nil {
			if err := stream.Send(&pluginv1.DetectResponse{Message: &pluginv1.DetectResponse_Status{Status: &pluginv1.DetectorStatus{}}}); err != nil {
				return err
			}
			time.Sleep(pulse / 4)
		}
		return nil
	case "gap":
		return batch(2, event)
	case "misname":
		return stream.Send(&pluginv1.DetectResponse{Instance: "detector.other", Message: &pluginv1.DetectResponse_Status{Status: &pluginv1.DetectorStatus{}}})
	case "too many":
		return batch(1, make([]*pluginv1.Event, 600)...)
	case "bad events":
		var raw []byte
		raw = protowire.AppendTag(raw, 1, protowire.BytesType)
		raw = protowire.AppendBytes(raw, []byte("id\xff"))
		raw = protowire.AppendTag(raw, 3, protowire.BytesType)
		raw = protowire.AppendBytes(raw, []byte("\x00\xff{"))
		bad := &pluginv1.Event{}
		bad.ProtoReflect().SetUnknown(raw)
		return batch(1, bad, event, &pluginv1.Event{Id: "3", Raw: bytes.Repeat([]byte("x"), sdk.MaxEvent+1)}, &pluginv1.Event{})
	case "troubled":
		for _, state := range []pluginv1.DetectorState{
			pluginv1.DetectorState_DETECTOR_STATE_TROUBLED, pluginv1.DetectorState_DETECTOR_STATE_TROUBLED,
			pluginv1.DetectorState_DETECTOR_STATE_RUNNING, pluginv1.DetectorState_DETECTOR_STATE_TROUBLED,
		} {
			if err := stream.Send(&pluginv1.DetectResponse{Message: &pluginv1.DetectResponse_Status{Status: &pluginv1.DetectorStatus{State: state}}}); err != nil {
				return err
			}
		}
	case "crash":
		if err := batch(1, event); err != nil {
			return err
		}
		stream.Recv() // the ack
		os.Exit(2)
	}
	if err := batch(1, event); err != nil {
		return err
	}
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		if m.GetStop() != nil {
			return nil
		}
	}
}

// Answers hands back what people chose, or what no plugin may.
func (f *fake) Answers(r *pluginv1.AnswersRequest, stream grpc.ServerStreamingServer[pluginv1.AnswersResponse]) error {
	c, err := f.of(r.GetInstance())
	if err != nil {
		return err
	}
	one := &pluginv1.AnswersResponse{IdempotencyKey: "i-1", Option: "contain", User: "kim", Cursor: append(r.GetCursor(), 'x')}
	switch c.Do {
	case "crash":
		if err := stream.Send(one); err != nil {
			return err
		}
		<-stream.Context().Done()
		return nil
	case "large":
		one.Reason = strings.Repeat("x", c.Times)
	case "cursor":
		one.Cursor = make([]byte, c.Times)
	case "leak":
		one.Option, one.Reason, one.User = "use "+c.Secret, "\x1b[31mred\n"+c.Secret, c.Secret
	case "leak cursor":
		one.Cursor = []byte(c.Secret)
	case "keys":
		for _, key := range []string{"", "I-1", "i 1", strings.Repeat("i", 65), "i-\u00e9"} {
			if err := stream.Send(&pluginv1.AnswersResponse{IdempotencyKey: key, Cursor: []byte{1}}); err != nil {
				return err
			}
		}
	case "bad utf8":
		one.Option = ""
		one.ProtoReflect().SetUnknown(protowire.AppendBytes(protowire.AppendTag(nil, 2, protowire.BytesType), []byte("\xff")))
	}
	return stream.Send(one)
}

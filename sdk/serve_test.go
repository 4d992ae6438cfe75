package sdk

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
)

// syncBuffer is a buffer that may be written and read at once.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// child is this test binary as a plugin process.
type child struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout io.ReadCloser
	stderr io.ReadCloser
	exited chan struct{}

	client *plugin.Client
	conn   *grpc.ClientConn
	log    *syncBuffer // what the core's side logged of it
	stray  *syncBuffer // what it printed
	dir    string
}

// startChild launches it as a core does: with a stdin that is held, and AutoMTLS.
func startChild(t testing.TB, env ...string) *child {
	t.Helper()
	c := &child{log: &syncBuffer{}, stray: &syncBuffer{}, exited: make(chan struct{}), dir: t.TempDir()}
	c.client = plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  Handshake(),
		VersionedPlugins: map[int]plugin.PluginSet{ProtocolVersion: {PluginName: &connOnly{}}},
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		AutoMTLS:         true,
		SkipHostEnv:      true,
		StartTimeout:     20 * time.Second,
		SyncStdout:       c.stray,
		SyncStderr:       c.stray,
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: c.dir},
		Logger:           hclog.New(&hclog.LoggerOptions{Output: c.log, Level: hclog.Trace, JSONFormat: true}),
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, _ string) (runner.Runner, error) {
			c.cmd = exec.Command(os.Args[0])
			// Without the option the race detector waits a second before it exits.
			c.cmd.Env = append(append(cmd.Env, childEnv+"=1", "TMPDIR="+c.dir, "GORACE=atexit_sleep_ms=0"), env...)
			return c, nil
		},
	})
	t.Cleanup(func() {
		c.client.Kill()
		if c.stdin != nil {
			_ = c.stdin.Close()
		}
	})
	protocol, err := c.client.Client()
	if err != nil {
		t.Fatalf("start: %v\n%s", err, c.log.String())
	}
	dispensed, err := protocol.Dispense(PluginName)
	if err != nil {
		t.Fatal(err)
	}
	c.conn = dispensed.(*grpc.ClientConn)
	return c
}

// connOnly hands out the connection.
type connOnly struct{ plugin.NetRPCUnsupportedPlugin }

func (*connOnly) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error { return nil }

func (*connOnly) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return conn, nil
}

// The methods of runner.Runner.

func (c *child) Start(context.Context) error {
	var err error
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		return err
	}
	if c.stdout, err = c.cmd.StdoutPipe(); err != nil {
		return err
	}
	if c.stderr, err = c.cmd.StderrPipe(); err != nil {
		return err
	}
	return c.cmd.Start()
}

func (c *child) Wait(context.Context) error {
	defer close(c.exited)
	return c.cmd.Wait()
}

func (c *child) Kill(context.Context) error                       { return c.cmd.Process.Kill() }
func (c *child) Stdout() io.ReadCloser                            { return c.stdout }
func (c *child) Stderr() io.ReadCloser                            { return c.stderr }
func (c *child) Name() string                                     { return "child" }
func (c *child) ID() string                                       { return "child" }
func (c *child) Diagnose(context.Context) string                  { return "" }
func (c *child) PluginToHost(n, a string) (string, string, error) { return n, a, nil }
func (c *child) HostToPlugin(n, a string) (string, string, error) { return n, a, nil }

func (c *child) configure(t testing.TB, id string, kind pluginv1.ConnectorKind, config string) {
	t.Helper()
	out, err := pluginv1.NewPluginServiceClient(c.conn).Configure(testContext(t),
		&pluginv1.ConfigureRequest{Instance: id, Kind: kind, Config: []byte(config)})
	if err != nil || len(out.GetDiagnostics()) > 0 {
		t.Fatalf("Configure(%s) = %v, %v", id, out, err)
	}
}

func (c *child) ask(t *testing.T, id, value string) (*pluginv1.EnrichResponse, error) {
	t.Helper()
	return pluginv1.NewEnrichmentServiceClient(c.conn).Enrich(testContext(t), question(id, value))
}

func question(id string, values ...string) *pluginv1.EnrichRequest {
	req := &pluginv1.EnrichRequest{Instance: id}
	for _, v := range values {
		req.Questions = append(req.Questions, &pluginv1.Question{Observable: &pluginv1.Observable{Kind: "ip", Value: v}})
	}
	return req
}

// exitsWithin fails the test if the process is there longer than that.
func (c *child) exitsWithin(t *testing.T, limit time.Duration) {
	t.Helper()
	begin := time.Now()
	select {
	case <-c.exited:
		t.Logf("exited after %v", time.Since(begin).Round(time.Millisecond))
	case <-time.After(limit):
		t.Fatalf("the process is still there after %v", limit)
	}
}

// endings are the ways in which a core ends a plugin without asking it over gRPC.
var endings = map[string]func(*child){
	"stdin":   func(c *child) { _ = c.stdin.Close() },
	"SIGTERM": func(c *child) { _ = c.cmd.Process.Signal(syscall.SIGTERM) },
}

func TestServeClosesItsInstancesAndExits(t *testing.T) {
	for name, end := range endings {
		t.Run(name, func(t *testing.T) {
			c := startChild(t)
			c.configure(t, "enrichment.x", asEnrichment, `{"path":"p"}`)
			c.configure(t, "detector.x", asDetector, `{"path":"seen at close"}`)
			end(c)
			c.exitsWithin(t, 1500*time.Millisecond)
			waitFor(t, func() bool { return strings.Contains(c.log.String(), "seen at close") })
			if left, _ := filepath.Glob(filepath.Join(c.dir, "plugin*", "*")); len(left) > 0 {
				t.Errorf("it left its socket: %v", left)
			}
		})
	}
}

func TestServeExitsWithACallThatHangs(t *testing.T) {
	for name, end := range endings {
		t.Run(name, func(t *testing.T) {
			c := startChild(t)
			c.configure(t, "enrichment.x", asEnrichment, `{}`)
			asked := make(chan struct{})
			go func() { defer close(asked); _, _ = c.ask(t, "enrichment.x", "deaf") }()
			if _, err := c.ask(t, "enrichment.x", "1.2.3.4"); err != nil {
				t.Fatal(err)
			}
			end(c)
			c.exitsWithin(t, 2*time.Second)
			<-asked
		})
	}
}

func TestServeIgnoresInterrupt(t *testing.T) {
	c := startChild(t)
	c.configure(t, "enrichment.x", asEnrichment, `{}`)
	if err := c.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool {
		_, err := c.ask(t, "enrichment.x", "1.2.3.4")
		return err == nil
	})
}

func TestServeContainsAPanic(t *testing.T) {
	c := startChild(t)
	c.configure(t, "enrichment.x", asEnrichment, `{"token":"hunter2-hunter2"}`)
	_, err := c.ask(t, "enrichment.x", "panic")
	if status.Code(err) != codes.Internal {
		t.Fatalf("code %v, want Internal: %v", status.Code(err), err)
	}
	if _, err := c.ask(t, "enrichment.x", "1.2.3.4"); err != nil {
		t.Fatalf("after the panic: %v", err)
	}
	waitFor(t, func() bool { return strings.Contains(c.log.String(), "childEnrich") })
	if strings.Contains(c.log.String(), "hunter2") || strings.Contains(err.Error(), "hunter2") {
		t.Error("the secret left the process")
	}
}

func TestServeKeepsStdoutCleanAndLogs(t *testing.T) {
	c := startChild(t)
	c.configure(t, "enrichment.x", asEnrichment, `{"token":"hunter2-hunter2"}`)
	if _, err := c.ask(t, "enrichment.x", "print"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool {
		return strings.Contains(c.stray.String(), "stray on stdout") &&
			strings.Contains(c.stray.String(), "stray on stderr") &&
			strings.Contains(c.log.String(), `"@level":"warn","@message":"by slog"`) &&
			strings.Contains(c.log.String(), `"@level":"info","@message":"by the log package"`)
	})
	if strings.Contains(c.log.String(), "hunter2") {
		t.Error("the secret is in the log")
	}
}

func TestServeByHand(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = []string{childEnv + "=1"}
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("exit: %v, want 1", err)
	}
	if !strings.Contains(string(out), "fake 1.2.3, a plugin of Kelpie") || !strings.Contains(string(out), `detector "fake"`) {
		t.Errorf("output:\n%s", out)
	}
}

// waitFor waits for a condition that another goroutine or process makes true.
func waitFor(t testing.TB, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(15 * time.Second)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatal("the condition did not come true")
		}
		time.Sleep(time.Millisecond)
	}
}

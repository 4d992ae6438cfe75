package host

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	goplugin "github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
)

// Windows of HTTP/2's flow control: one batch of a detector fits without a pause.
const (
	streamWindow     = 4 << 20
	connectionWindow = 16 << 20
)

// launch is what a process is made from.
type launch struct {
	name   string // as the configuration calls the plugin; empty: any
	own    string // what it must call itself; empty: the same
	fetch  string // the command that gets it, if it is not there
	path   string
	env    []string
	roster *roster
	lock   func(path, sha256 string) error // nil: any file
	// attached: it is not launched, it is there.
	attached *Attached
	run      *runDir
	log      *slog.Logger
	timing   Timing
	kernel   kernel
	held     *confinement // nil: granted nothing
}

// process is a running plugin that has described itself.
type process struct {
	runner *runner
	client *plugin.Client
	conn   *grpc.ClientConn
	api    pluginv1.PluginServiceClient
	about  model.Plugin
	sha256 string
	dir    string
	since  time.Time
	// attached: somebody else has started it, and will end it.
	attached bool

	calls traffic
}

// start verifies the executable, runs it, connects to it and lets it describe itself.
// ctx ends the attempt. An error is a *StartError.
func (l launch) start(ctx context.Context) (*process, error) {
	if l.attached != nil {
		return l.attach(ctx)
	}
	if l.held == nil {
		l.kernel, l.held = askKernel(), &confinement{}
	}
	exe, err := openExecutable(l.path)
	if errors.Is(err, errMissing) && l.fetch != "" {
		err = fmt.Errorf("%w: run %q", err, l.fetch)
	}
	if err != nil {
		return nil, l.refused("", err)
	}
	defer exe.close()
	if l.lock != nil {
		if err := l.lock(exe.path, exe.sha256); err != nil {
			return nil, l.refused(exe.path, err)
		}
	}
	dir, err := l.run.workDir()
	if err != nil {
		return nil, &StartError{Plugin: l.name, Path: exe.path, Err: err}
	}
	p := &process{sha256: exe.sha256, dir: dir, since: time.Now()}
	for _, state := range l.held.may.state {
		if err := os.MkdirAll(state, 0o700); err != nil {
			return nil, &StartError{Plugin: l.name, Path: exe.path, Err: err}
		}
	}
	p.runner = l.newRunner(exe, dir)
	transport, certificate, err := newCertificate()
	if err != nil {
		return nil, &StartError{Plugin: l.name, Path: exe.path, Err: err}
	}
	p.runner.certificate = certificate
	p.client = plugin.NewClient(l.config(p.runner, transport))
	if err := p.connect(ctx); err != nil {
		p.kill()
		return nil, l.failed(p, err)
	}
	if err := l.describe(ctx, p); err != nil {
		p.kill()
		return nil, l.failed(p, err)
	}
	return p, nil
}

// config of go-plugin for one start: a client and its configuration serve once.
func (l launch) config(r *runner, transport *tls.Config) *plugin.ClientConfig {
	unexpected := func(stream string) io.Writer {
		return &lineWriter{do: func(line []byte) { r.output.unexpected(stream, line) }}
	}
	return &plugin.ClientConfig{
		HandshakeConfig:  sdk.Handshake(),
		VersionedPlugins: map[int]plugin.PluginSet{sdk.ProtocolVersion: {sdk.PluginName: connection{}}},
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		TLSConfig:        transport,
		SkipHostEnv:      true,
		StartTimeout:     l.timing.Start,
		RunnerFunc: func(_ hclog.Logger, wanted *exec.Cmd, socketDir string) (goplugin.Runner, error) {
			return r, r.prepare(wanted, socketDir)
		},
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: l.run.path},
		GRPCDialOptions:  dialOptions(),
		SyncStdout:       unexpected("stdout"),
		SyncStderr:       unexpected("stderr"),
		Logger:           hclog.NewNullLogger(),
	}
}

func dialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(sdk.MaxMessage), grpc.MaxCallSendMsgSize(sdk.MaxMessage)),
		grpc.WithInitialWindowSize(streamWindow),
		grpc.WithInitialConnWindowSize(connectionWindow),
		grpc.WithChainUnaryInterceptor(unsent),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(), // an action is not tried again by anybody but respond
	}
}

// connection gives go-plugin's connection as it is.
type connection struct{ plugin.NetRPCUnsupportedPlugin }

func (connection) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error {
	return errors.New("the core serves no plugins")
}

func (connection) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, c *grpc.ClientConn) (any, error) {
	return c, nil
}

// connect starts the process and dials it. go-plugin knows no contexts: what it waits
// for ends when the process is killed.
func (p *process) connect(ctx context.Context) error {
	defer close(p.runner.release)
	stop := context.AfterFunc(ctx, func() { p.runner.signal(signalKill) })
	defer stop()
	if _, err := p.client.Start(); err != nil {
		return err
	}
	protocol, err := p.client.Client()
	if err != nil {
		return err
	}
	raw, err := protocol.Dispense(sdk.PluginName)
	if err != nil {
		return err
	}
	p.conn = raw.(*grpc.ClientConn)
	p.api = pluginv1.NewPluginServiceClient(p.conn)
	return ctx.Err()
}

// describe asks the plugin what it is, and whether it is what was asked for.
func (l launch) describe(ctx context.Context, p *process) error {
	ctx, cancel := context.WithTimeout(ctx, l.timing.Start)
	defer cancel()
	answer, err := p.api.Describe(ctx, &pluginv1.DescribeRequest{})
	if err != nil {
		return fmt.Errorf("it does not describe itself: %s", status.Convert(err).Message())
	}
	p.about, err = pluginModel(answer)
	if err != nil {
		return &permanentError{err}
	}
	if own := cmp.Or(l.own, l.name); own != "" && p.about.Name != own {
		return &permanentError{fmt.Errorf("it says that it is plugin %q, and not %q", p.about.Name, own)}
	}
	return nil
}

// refused is the error of a file that may not be run.
func (l launch) refused(path string, err error) error {
	if path == "" {
		path = l.path
	}
	return &StartError{Plugin: l.name, Path: path, Err: err, Permanent: true}
}

func (l launch) failed(p *process, err error) error {
	start := (*StartError)(nil)
	if !errors.As(err, &start) {
		start = &StartError{Plugin: l.name, Path: p.runner.exe.path, Tail: p.runner.output.last(), Err: err}
	}
	permanent := (*permanentError)(nil)
	start.Permanent = errors.As(start.Err, &permanent)
	return start
}

// exited is closed when the process has ended.
func (p *process) exited() <-chan struct{} { return p.runner.done }

// endsWithin tells whether the process ends within a time; 0: whether it has ended.
func (p *process) endsWithin(d time.Duration) bool {
	if d == 0 {
		select {
		case <-p.exited():
			return true
		default:
			return false
		}
	}
	select {
	case <-p.exited():
		return true
	case <-time.After(d):
		return false
	}
}

// kill ends the process at once and frees what it had.
func (p *process) kill() {
	if p.attached {
		p.conn.Close()
		<-p.runner.done
		return
	}
	p.runner.signal(signalKill)
	if p.runner.pid != 0 {
		<-p.runner.done
	}
	p.client.Kill() // frees the connection; the process is gone, so that nothing waits
	os.RemoveAll(p.dir)
}

// stages of a stop, at parts of the time that it may take.
type stages struct{ drained, closed, asked, told time.Time }

// stagesUntil leaves each step some of the time until the deadline: calls in flight
// the first half, the instances' Close until 70 %, the plugin's own end until 80 %,
// that on SIGTERM until 95 %. What is left then is killed.
func stagesUntil(now, deadline time.Time) stages {
	total := max(0, deadline.Sub(now))
	at := func(percent time.Duration) time.Time { return now.Add(total * percent / 100) }
	return stages{drained: at(50), closed: at(70), asked: at(80), told: at(95)}
}

// stop ends the process before the deadline, in good order as far as it lasts. No
// call may be added meanwhile.
func (p *process) stop(deadline time.Time, instances []string) {
	defer p.kill()
	s := stagesUntil(time.Now(), deadline)
	if !p.await(p.calls.drained(), s.drained) {
		return
	}
	if !p.closeInstances(instances, s.closed) || p.attached {
		return
	}
	// go-plugin's own Kill sends this without a deadline, and a process that is
	// stopped would hold it for ever.
	ctx, cancel := context.WithDeadline(context.Background(), s.asked)
	defer cancel()
	_ = p.conn.Invoke(ctx, "/plugin.GRPCController/Shutdown", &emptypb.Empty{}, &emptypb.Empty{})
	if !p.await(nil, s.asked) {
		return
	}
	p.runner.stdin.Close()
	p.runner.signal(signalTerm)
	p.await(nil, s.told)
}

// await waits for what is waited for or the time, and tells whether the process still
// runs.
func (p *process) await(done <-chan struct{}, until time.Time) bool {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-p.exited():
		return false
	case <-done:
	case <-timer.C:
	}
	return true
}

// closeInstances tells each that it ends, and whether the process still runs.
func (p *process) closeInstances(instances []string, until time.Time) bool {
	ctx, cancel := context.WithDeadline(context.Background(), until)
	defer cancel()
	var closing sync.WaitGroup
	for _, address := range instances {
		closing.Go(func() {
			_, _ = p.api.Close(ctx, &pluginv1.CloseRequest{Instance: address})
		})
	}
	closing.Wait()
	return !p.endsWithin(0)
}

// traffic counts the calls that are in flight.
type traffic struct {
	mu      sync.Mutex
	flying  int
	waiting chan struct{} // not nil: somebody waits until none flies
}

func (t *traffic) enter() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.flying++
}

func (t *traffic) leave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.flying--; t.flying == 0 && t.waiting != nil {
		close(t.waiting)
		t.waiting = nil
	}
}

// drained is closed when no call is in flight; the caller lets none enter.
func (t *traffic) drained() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.waiting == nil {
		t.waiting = make(chan struct{})
	}
	done := t.waiting
	if t.flying == 0 {
		close(t.waiting)
		t.waiting = nil
	}
	return done
}

func (t *traffic) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.flying
}

// identity tells which instances may share a process: those with the same executable,
// environment and confinement. What they are allowed by their attributes may differ. Of a
// plugin that is attached there is one.
func (s *Settings) identity(i Instance) string {
	if a, ok := s.Attached[i.Plugin]; ok {
		return "attached\x00" + i.Plugin + "\x00" + a.Socket
	}
	env := slices.Clone(i.Env)
	slices.Sort(env)
	id := s.path(i) + "\x00" + s.Lock.sum(i.Plugin) + "\x00" + strings.Join(env, "\x00")
	id += fmt.Sprintf("\x00%+v", i.Confinement)
	if i.Own {
		id += "\x00\x00" + i.Address
	}
	return id
}

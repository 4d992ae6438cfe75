package conformance

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/kelpie-sec/kelpie/sdk"
	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
)

const (
	// startLimit bounds the time from exec to the handshake.
	startLimit = 10 * time.Second
	// outputGrace is how long the output of a process that has ended is still read.
	outputGrace = 500 * time.Millisecond
	// maxLine bounds a line of output that is looked at.
	maxLine = 64 << 10
	// tailLines of the standard error are shown of a process that is at fault.
	tailLines = 8
)

// process is a running plugin, launched as the core launches it. The handshake is done
// here step by step, so that this file says to authors in other languages what go-plugin
// does:
//
//  1. The plugin is started with the cookie, the versions of the contract that the core
//     speaks, a folder for its socket, and the certificate of its only client, as PEM.
//  2. It makes a key and a certificate of its own for "localhost", listens on a socket in
//     that folder, and prints one line, which is the only one that it ever prints:
//     1|VERSION|unix|SOCKET|grpc|CERTIFICATE, the certificate's DER in base64 without
//     padding.
//  3. The core connects with TLS. Each side trusts the other's certificate and no other.
//  4. The plugin logs to its standard error and ends when its standard input does.
type process struct {
	trial  *trial
	cmd    *exec.Cmd
	dir    string // working folder, socket and states
	stdin  io.WriteCloser
	first  chan string // the first line printed
	exited chan struct{}

	line   string
	conn   *grpc.ClientConn
	reader sync.WaitGroup // of what go-plugin carries of the output
	plugin pluginv1.PluginServiceClient
	detect pluginv1.DetectorServiceClient
	enrich pluginv1.EnrichmentServiceClient
	act    pluginv1.ActionServiceClient

	mu     sync.Mutex
	tail   []string // of the standard error
	reason string   // how it ended
}

// start launches the plugin, makes the handshake and connects.
func (t *trial) start(ctx context.Context) (*process, error) {
	p, err := t.launch()
	if err != nil {
		return nil, err
	}
	if err := p.awaitLine(ctx); err != nil {
		return nil, p.told(err)
	}
	socket, certificate, err := parseHandshake(p.line, p.dir)
	if err != nil {
		p.endsWithin(outputGrace) // and may say why
		return nil, p.told(err)
	}
	if p.conn, err = dial(socket, certificate, []tls.Certificate{t.client}, t.seen); err != nil {
		return nil, p.told(err)
	}
	p.plugin = pluginv1.NewPluginServiceClient(p.conn)
	p.detect = pluginv1.NewDetectorServiceClient(p.conn)
	p.enrich = pluginv1.NewEnrichmentServiceClient(p.conn)
	p.act = pluginv1.NewActionServiceClient(p.conn)
	p.reader.Go(p.readCarried)
	return p, nil
}

// launch starts the process and reads its output.
func (t *trial) launch() (*process, error) {
	dir, err := os.MkdirTemp(t.dir, "")
	if err != nil {
		return nil, err
	}
	p := &process{trial: t, dir: dir, first: make(chan string, 1), exited: make(chan struct{})}
	shake := sdk.Handshake()
	line := append(slices.Clone(t.settings.Launcher), t.binary)
	p.cmd = exec.Command(line[0], line[1:]...)
	p.cmd.Dir = dir
	p.cmd.Env = append(append([]string{"TMPDIR=" + dir}, t.settings.Env...),
		shake.MagicCookieKey+"="+shake.MagicCookieValue,
		"PLUGIN_PROTOCOL_VERSIONS="+strconv.Itoa(sdk.ProtocolVersion),
		"PLUGIN_UNIX_SOCKET_DIR="+dir,
		"PLUGIN_CLIENT_CERT="+t.encoded,
		sdk.LogLevelEnv+"=trace",
	)
	p.cmd.WaitDelay = outputGrace
	stdout, stderr := &lines{do: p.printed()}, &lines{do: p.logged}
	p.cmd.Stdout, p.cmd.Stderr = stdout, stderr
	ownGroup(p.cmd)
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, unfit(t.binary, err)
	}
	t.running = append(t.running, p)
	go func() { // ends with the process, which kill waits for
		err := p.cmd.Wait()
		stdout.flush()
		stderr.flush()
		p.mu.Lock()
		p.reason = p.cmd.ProcessState.String()
		if errors.Is(err, exec.ErrWaitDelay) {
			p.reason += ", and something that it started holds its output"
		}
		p.mu.Unlock()
		close(p.exited)
	}()
	return p, nil
}

// printed hands on the first line of the standard output; the others should not be.
func (p *process) printed() func(string) {
	shaken := false
	return func(line string) {
		if !shaken {
			shaken = true
			p.first <- line
			return
		}
		p.trial.seen.stray(p.trial.check, line)
	}
}

func (p *process) logged(line string) {
	p.trial.seen.look("a line of its log", []byte(line))
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tail = append(p.tail, line)
	if len(p.tail) > tailLines {
		p.tail = p.tail[1:]
	}
}

// unfit says why the system does not run a file, and what to do.
// What a launcher exits with that could not run the plugin.
const (
	exitRefused  = 125
	exitUnfit    = 126
	exitHomeless = 127
)

// errRefused: it is the launcher that will not run it.
var errRefused = errors.New("it is refused before it is run")

// unlaunched is why a launcher did not run the plugin; the launcher has said more.
func (p *process) unlaunched(why error) error {
	if len(p.trial.settings.Launcher) == 0 {
		return fail("End with another code: a shell says by this one that it could not run a program.", "it ended (%s) without a handshake", p.ending())
	}
	return unfit(p.trial.binary, why)
}

func unfit(path string, err error) error {
	switch info, statErr := os.Stat(path); {
	case statErr == nil && info.Mode()&0o111 == 0:
		return fail("Make it executable: chmod +x "+path, "it is not executable")
	case errors.Is(err, errRefused):
		return fail("Do what it says; Kelpie would not start it either.", "%v", err)
	case errors.Is(err, fs.ErrPermission):
		return fail("Look at its rights and its interpreter's, and whether its file system is mounted with noexec.", "the system does not let it run")
	case errors.Is(err, syscall.ENOEXEC):
		return fail("Build it for this machine; a script begins with #! and its interpreter.", "it is no program for %s on %s, and no script", runtime.GOOS, runtime.GOARCH)
	case errors.Is(err, fs.ErrNotExist) && statErr == nil:
		return fail("Install what the file names: for a script that stands in its first line, behind #!.", "its interpreter or loader is not on this machine")
	}
	return fail("Build it for this machine, and make it executable.", "it cannot be run: %v", err)
}

func (p *process) awaitLine(ctx context.Context) error {
	limit := time.NewTimer(startLimit)
	defer limit.Stop()
	select {
	case p.line = <-p.first:
		return nil
	case <-p.exited:
		select { // it may have printed and ended
		case p.line = <-p.first:
			return nil
		default:
		}
		switch p.cmd.ProcessState.ExitCode() {
		case exitRefused:
			return p.unlaunched(errRefused)
		case exitUnfit:
			return p.unlaunched(syscall.ENOEXEC)
		case exitHomeless:
			return p.unlaunched(fs.ErrNotExist)
		}
		return fail("Run it by hand with the environment that docs/handshake.md lists, and see what it says.", "it ended (%s) without a handshake", p.ending())
	case <-limit.C:
		return fail("Print the handshake as soon as the socket listens, and flush the output.", "it printed no line within %s", startLimit)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// readCarried takes what go-plugin's side of a plugin carries of its output over the
// connection, where there is such a thing: what is printed after the handshake.
func (p *process) readCarried() {
	stream, err := p.conn.NewStream(context.Background(), &grpc.StreamDesc{ServerStreams: true}, "/plugin.GRPCStdio/StreamStdio")
	if err != nil || stream.SendMsg(&emptypb.Empty{}) != nil || stream.CloseSend() != nil {
		return
	}
	stdout, stderr := &lines{do: func(line string) { p.trial.seen.stray(p.trial.check, line) }}, &lines{do: p.logged}
	for {
		var chunk emptypb.Empty // whose unknown fields are those of go-plugin's StdioData
		if stream.RecvMsg(&chunk) != nil {
			stdout.flush()
			stderr.flush()
			return
		}
		channel, data := carried(chunk.ProtoReflect().GetUnknown())
		switch channel {
		case 1:
			_, _ = stdout.Write(data)
		case 2:
			_, _ = stderr.Write(data)
		}
	}
}

func carried(message []byte) (channel uint64, data []byte) {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return 0, nil
		}
		message = message[n:]
		switch {
		case number == 1 && kind == protowire.VarintType:
			channel, n = protowire.ConsumeVarint(message)
		case number == 2 && kind == protowire.BytesType:
			data, n = protowire.ConsumeBytes(message)
		default:
			n = protowire.ConsumeFieldValue(number, kind, message)
		}
		if n < 0 {
			return 0, nil
		}
		message = message[n:]
	}
	return channel, data
}

// configure makes an instance, and fails if that is refused.
func (p *process) configure(ctx context.Context, i *Instance, id string) error {
	found, err := p.tryConfigure(ctx, i.Kind, i.Connector, id, encode(i.Config), encode(i.Connection))
	if err != nil {
		return p.told(fail("Answer complaints about a configuration as diagnostics.", "Configure of %s is answered by an error: %s", i.Name, text(err)))
	}
	for _, d := range found {
		if d.GetSeverity() != pluginv1.Severity_SEVERITY_WARNING {
			return fail("Correct the configuration that the suite is given.", "the plugin refuses %s: %s", i.Name, diagnosticText(d))
		}
	}
	return nil
}

// tryConfigure returns what the plugin complains about.
func (p *process) tryConfigure(ctx context.Context, kind sdk.Kind, connector, id string, config, connection []byte) ([]*pluginv1.Diagnostic, error) {
	ctx, cancel := context.WithTimeout(ctx, p.trial.settings.Patience)
	defer cancel()
	state, err := os.MkdirTemp(p.dir, "state-")
	if err != nil {
		return nil, err
	}
	answer, err := p.plugin.Configure(ctx, &pluginv1.ConfigureRequest{
		Instance: id, Kind: pluginv1.ConnectorKind(kind), Connector: connector,
		Config: config, Connection: connection, StateDir: state,
	})
	return answer.GetDiagnostics(), err
}

func (p *process) close(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	_, err := p.plugin.Close(ctx, &pluginv1.CloseRequest{Instance: id})
	return err
}

// kill ends the process at once, with what it started, and waits for that.
func (p *process) kill() {
	select {
	case <-p.exited:
	default:
		killGroup(p.cmd)
	}
	<-p.exited
	if p.conn != nil {
		_ = p.conn.Close()
	}
	p.reader.Wait()
	_ = p.stdin.Close()
}

// endsWithin tells whether the process ends within a time.
func (p *process) endsWithin(d time.Duration) bool {
	limit := time.NewTimer(d)
	defer limit.Stop()
	select {
	case <-p.exited:
		return true
	case <-limit.C:
		return false
	}
}

// ending is how the process ended.
func (p *process) ending() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.reason
}

// told adds to a failure what the process said last.
func (p *process) told(err error) error {
	var f *failure
	if !errors.As(err, &f) {
		f = &failure{seen: err.Error()}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.tail) == 0 {
		return f
	}
	return &failure{seen: f.seen + "; it said last: " + strings.Join(p.tail, " | "), do: f.do}
}

func encode(values map[string]any) []byte {
	if len(values) == 0 {
		return nil
	}
	data, _ := json.Marshal(values) // which Settings.check has tried
	return data
}

// text is what a call's error says.
func text(err error) string {
	if s, ok := status.FromError(err); ok {
		return fmt.Sprintf("%s (%s)", clip(s.Message()), s.Code())
	}
	return err.Error()
}

func diagnosticText(d *pluginv1.Diagnostic) string {
	out := strings.Join(append(d.GetPath(), d.GetSummary()), ": ")
	if d.GetDetail() != "" {
		out += ": " + d.GetDetail()
	}
	return clip(out)
}

// clip shortens what a plugin said.
func clip(s string) string {
	const most = 300
	if len(s) <= most {
		return strings.ToValidUTF8(s, "\uFFFD")
	}
	return strings.ToValidUTF8(s[:most], "\uFFFD") + "…"
}

// lines calls do for each line written to it.
type lines struct {
	do   func(string)
	rest []byte
}

func (l *lines) Write(data []byte) (int, error) {
	written := len(data)
	for {
		line, after, ended := bytes.Cut(data, []byte("\n"))
		l.rest = append(l.rest, line[:min(len(line), max(0, maxLine-len(l.rest)))]...)
		if !ended {
			return written, nil
		}
		l.flush()
		data = after
	}
}

// flush takes what has no line end for a line.
func (l *lines) flush() {
	if line := strings.TrimRight(string(l.rest), "\r"); line != "" {
		l.do(line)
	}
	l.rest = l.rest[:0]
}

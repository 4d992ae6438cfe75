package host

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

const (
	// maxHandshake bounds the line by which a plugin says where it listens.
	maxHandshake = 16 << 10
	// outputGrace is how long the pipes of a process that has ended are still read:
	// something that it started may hold them.
	outputGrace = 200 * time.Millisecond
)

// runner is one process, as go-plugin's runner.Runner. It differs from go-plugin's own
// in that it runs an open file and not a path, that the process dies with this one,
// that it reads the process's output itself, and that a kill reaches whatever the
// process started.
type runner struct {
	name   string
	exe    *executable
	env    []string
	dir    string // working folder
	kernel kernel
	held   *confinement
	output *output
	// certificate of the only client that the process is to serve.
	certificate string

	cmd       *exec.Cmd
	socketDir string
	stdin     *os.File // held open; closing it tells the plugin to end
	line      string   // of the handshake
	granted   ground
	stamp     stamp    // of granted; nil: nothing is enforced
	lacks     []string // what its confinement lacks, as it has turned out
	untraced  bool     // this machine allows no tracing

	readers sync.WaitGroup
	done    chan struct{} // closed when the process has ended and its output is read
	release chan struct{} // closed when go-plugin may learn that it has ended

	mu     sync.Mutex
	doomed bool // killed before it was started
	pid    int
	reaped bool
	reason string
}

func (l launch) newRunner(exe *executable, dir string) *runner {
	return &runner{
		name: l.name, exe: exe, env: append([]string{"TMPDIR=" + dir}, l.env...), dir: dir,
		kernel: l.kernel, held: l.held, output: newOutput(l.log, l.roster),
		done: make(chan struct{}), release: make(chan struct{}),
	}
}

// prepare takes what go-plugin wants the process to have in its environment.
func (r *runner) prepare(wanted *exec.Cmd, socketDir string) error {
	if runtime.GOOS != "windows" && len(filepath.Join(socketDir, "plugin1234567890")) >= maxSocketPath {
		return fmt.Errorf("folder for sockets %s is too long a path: a socket's may have %d bytes", socketDir, maxSocketPath)
	}
	r.socketDir = socketDir
	r.cmd = r.exe.command()
	r.cmd.Dir = r.dir
	r.cmd.Env = append(append([]string{}, r.env...), wanted.Env...)
	r.cmd.Env = append(r.cmd.Env, certificateEnv+"="+r.certificate)
	return nil
}

// Start runs the process and waits for its handshake. Any error is a *StartError, and
// then the process is gone.
func (r *runner) Start(ctx context.Context) error {
	first, err := r.spawn()
	if err != nil {
		return &StartError{Plugin: r.name, Path: r.exe.path, Err: r.refusal(err)}
	}
	began := time.Now()
	select {
	case line, ok := <-first:
		if !ok {
			err = errors.New("it ended without a handshake; is it a plugin of Kelpie, built for this machine?")
			break
		}
		if err = r.checkHandshake(line); err == nil {
			r.line = line
			return nil
		}
		r.line = cut(plain(r.output.roster.scrub().text(line)), tailBytes)
	case <-ctx.Done():
		err = fmt.Errorf("it made no handshake in time: none in %s", time.Since(began).Round(100*time.Millisecond))
	}
	// A process that is about to end may do so, and say why.
	select {
	case <-r.done:
		err = fmt.Errorf("%w (%s)", err, r.exitReason())
	case <-time.After(outputGrace):
	}
	r.signal(signalKill)
	<-r.done
	return &StartError{Plugin: r.name, Path: r.exe.path, Line: r.line, Tail: r.output.last(), Err: err}
}

// refusal says why the system did not start the process.
func (r *runner) refusal(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		if folder := r.held.closed(r.dir); folder != "" {
			return &permanentError{fmt.Errorf("it runs as user %q, who may not pass through %s: run \"chmod o+x\" on that, or let Kelpie's data be elsewhere", r.held.user, folder)}
		}
	}
	return r.exe.unfit(err)
}

// spawn starts the process, and gives the first line that it prints.
func (r *runner) spawn() (<-chan string, error) {
	var files []*os.File
	closeAll := func() {
		for _, f := range files {
			f.Close()
		}
	}
	for range 3 {
		read, write, err := os.Pipe()
		if err != nil {
			closeAll()
			return nil, err
		}
		files = append(files, read, write)
	}
	stdout, stderr := files[2], files[4]
	r.cmd.Stdin, r.cmd.Stdout, r.cmd.Stderr = files[0], files[3], files[5]
	r.stdin = files[1]

	started := make(chan error, 1)
	ended := make(chan struct{})
	go r.run(started, ended)
	err := <-started
	for _, ours := range []int{0, 3, 5} { // the child has its own
		files[ours].Close()
	}
	if err != nil {
		files[1].Close()
		stdout.Close()
		stderr.Close()
		close(r.done)
		return nil, err
	}
	first := make(chan string, 1)
	r.readers.Add(2)
	go r.readStdout(stdout, first)
	go func() {
		defer r.readers.Done()
		r.output.readLines(stderr, r.output.stderr)
	}()
	go func() {
		<-ended
		r.stdin.Close()
		deadline := time.Now().Add(outputGrace)
		stdout.SetReadDeadline(deadline)
		stderr.SetReadDeadline(deadline)
		r.readers.Wait()
		stdout.Close()
		stderr.Close()
		r.output.report()
		close(r.done)
	}()
	return first, nil
}

// run starts the process and waits for its end on one thread, which nothing else uses
// meanwhile: the kernel kills the process when the thread that started it ends. A thread
// that is confined ends with run.
func (r *runner) run(started chan<- error, ended chan<- struct{}) {
	if !r.held.off {
		onThreadOfItsOwn(func() { r.runHere(started, ended) })
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r.runHere(started, ended)
}

// onThreadOfItsOwn runs f on a thread that ends with it, and is for the last call of a
// goroutine. It may return before f does.
func onThreadOfItsOwn(f func()) {
	runtime.LockOSThread()
	if !onFirstThread() {
		f()
		return
	}
	// By it others judge the whole program; it is kept from who runs beside.
	away := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		close(away)
		f()
	}()
	<-away
	runtime.UnlockOSThread()
}

// runHere is run on a thread that is locked.
func (r *runner) runHere(started chan<- error, ended chan<- struct{}) {
	r.mu.Lock()
	err := error(nil)
	if r.doomed {
		err = context.Canceled
	} else if err = r.launch(); err == nil {
		r.pid = r.cmd.Process.Pid
	}
	r.mu.Unlock()
	if errors.Is(err, errOtherThread) {
		go onThreadOfItsOwn(func() { r.runHere(started, ended) })
		return
	}
	defer close(ended)
	started <- err
	if err != nil {
		return
	}
	if !awaitExit(r.pid) {
		err = r.cmd.Wait()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	// What it started goes with it.
	_ = signalGroup(r.pid, signalKill)
	if r.cmd.ProcessState == nil {
		err = r.cmd.Wait()
	}
	r.reaped = true
	r.reason = exitText(r.cmd.ProcessState, err)
}

// errOtherThread: this thread can start nothing any more, another one may.
var errOtherThread = errors.New("what this thread started first has ended, and its name space with it")

// launch starts the process, confined.
func (r *runner) launch() (err error) {
	own := []string{r.dir, r.socketDir}
	if err := r.held.as(r.cmd, own); err != nil {
		return err
	}
	if r.untraced {
		r.cmd.SysProcAttr.Ptrace = false
	}
	if r.granted, err = r.kernel.enter(r.held, r.exe.file, own); err != nil {
		return err
	}
	r.lacks = append(r.lacks, r.granted.lacks...)
	if r.kernel.grants() && !r.held.off {
		r.stamp = r.granted.stamp()
	}
	for {
		if err = r.cmd.Start(); err == nil {
			break
		}
		lack, err := loosen(r.cmd.SysProcAttr, err)
		if err != nil {
			return err
		}
		r.lacks = append(r.lacks, lack)
		r.cmd = &exec.Cmd{
			Path: r.cmd.Path, Args: r.cmd.Args, Env: r.cmd.Env, Dir: r.cmd.Dir, SysProcAttr: r.cmd.SysProcAttr,
			Stdin: r.cmd.Stdin, Stdout: r.cmd.Stdout, Stderr: r.cmd.Stderr, ExtraFiles: r.cmd.ExtraFiles,
		}
		if r.untraced = !r.cmd.SysProcAttr.Ptrace; r.granted.apart {
			return errOtherThread
		}
	}
	if err = r.held.limit(r.cmd.Process.Pid, r.cmd.SysProcAttr); err != nil {
		_ = r.cmd.Process.Kill()
		_ = r.cmd.Wait()
	}
	return err
}

func exitText(state *os.ProcessState, err error) string {
	switch {
	case state == nil:
		return fmt.Sprint(err)
	case state.Exited():
		return fmt.Sprintf("exit status %d", state.ExitCode())
	}
	return state.String() // "signal: killed"
}

// exitReason tells how the process ended, once it has.
func (r *runner) exitReason() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.reason
}

// signal sends a signal to the process and what it started, unless it has ended.
func (r *runner) signal(s syscall.Signal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.pid == 0:
		r.doomed = r.doomed || s == signalKill
	case !r.reaped:
		_ = signalGroup(r.pid, s)
	}
}

// readStdout hands on the first line, which is the handshake, and logs the others,
// which should not be.
func (r *runner) readStdout(stdout *os.File, first chan<- string) {
	defer r.readers.Done()
	reader := bufio.NewReaderSize(stdout, maxHandshake)
	line, err := reader.ReadSlice('\n')
	if err == nil || len(line) > 0 {
		first <- strings.TrimSpace(string(line))
	}
	close(first)
	if err != nil && err != bufio.ErrBufferFull {
		return
	}
	r.output.readLines(reader, func(line []byte) { r.output.unexpected("stdout", line) })
}

// checkHandshake holds the line to what go-plugin's protocol and the contract allow.
// go-plugin would connect to whatever address it names.
func (r *runner) checkHandshake(line string) error {
	parts := strings.Split(line, "|")
	if len(parts) < 5 || parts[0] != "1" {
		return &permanentError{errors.New("the first line that it printed is not the handshake: a plugin must not print before sdk.Serve")}
	}
	if version, err := strconv.Atoi(parts[1]); err != nil || version != sdk.ProtocolVersion {
		remedy := "take a newer release of the plugin"
		if err == nil && version > sdk.ProtocolVersion {
			remedy = "take a newer Kelpie, or an older release of the plugin"
		}
		return &permanentError{fmt.Errorf("it speaks version %q of the plugin protocol, this Kelpie speaks version %d: %s", cut(parts[1], 20), sdk.ProtocolVersion, remedy)}
	}
	if parts[4] != "grpc" {
		return &permanentError{fmt.Errorf("it speaks %q and not gRPC", cut(parts[4], 20))}
	}
	if len(parts) < 6 || len(parts[5]) <= 50 {
		return &permanentError{errors.New("it gives no certificate: a plugin must serve with the certificate in PLUGIN_CLIENT_CERT as its only client's")}
	}
	if runtime.GOOS == "windows" {
		return nil
	}
	if parts[2] != "unix" || filepath.Dir(parts[3]) != r.socketDir {
		return &permanentError{fmt.Errorf("it listens on %s %q and not on a socket in $PLUGIN_UNIX_SOCKET_DIR", cut(parts[2], 20), cut(parts[3], 200))}
	}
	return nil
}

// permanentError is one that the same file would give again.
type permanentError struct{ error }

func (e *permanentError) Unwrap() error { return e.error }

// What go-plugin asks of a runner. It gets the handshake, and none of the output: it
// would panic on a log line that is not as it expects.

// Stdout is the line of the handshake.
func (r *runner) Stdout() io.ReadCloser { return io.NopCloser(strings.NewReader(r.line + "\n")) }

// Stderr is empty.
func (r *runner) Stderr() io.ReadCloser { return io.NopCloser(strings.NewReader("")) }

// Wait returns when the process has ended and go-plugin may know: it leaks a
// connection if it learns it while it connects.
func (r *runner) Wait(context.Context) error {
	<-r.release
	<-r.done
	return nil
}

// Kill is the end of what is left.
func (r *runner) Kill(context.Context) error {
	r.signal(signalKill)
	return nil
}

// Diagnose has nothing to add to Start's errors.
func (r *runner) Diagnose(context.Context) string { return "" }

// Name of the executable.
func (r *runner) Name() string { return r.exe.path }

// ID is the process's number.
func (r *runner) ID() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strconv.Itoa(r.pid)
}

// PluginToHost is the same address.
func (r *runner) PluginToHost(network, address string) (string, string, error) {
	return network, address, nil
}

// HostToPlugin is the same address.
func (r *runner) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}

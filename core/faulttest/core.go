//go:build linux

package faulttest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Core is one life of the program.
type Core struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has
	err   error         // read after ended
}

// Start runs the program, which is not up yet when it returns.
func (w *World) Start() error {
	log, err := os.OpenFile(w.path("core.log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	fmt.Fprintf(log, "---- start %d\n", w.starts+1)
	c := &Core{cmd: exec.Command(w.p.Kelpie, "run", "--log-level", "info"), ended: make(chan struct{})}
	c.cmd.Dir, c.cmd.Stderr, c.cmd.Stdout = w.dir, log, log
	c.cmd.Env = append(os.Environ(),
		"KELPIE_FAULT_PLAN="+w.path("plan"), "KELPIE_FAULT_LOG="+w.path("kills"), "KELPIE_FAULT_CLOCK="+w.path("clock"))
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.cmd.Start(); err != nil {
		return err
	}
	w.core = c
	w.starts++
	go func() {
		c.err = c.cmd.Wait()
		close(c.ended)
	}()
	return nil
}

// Pid of the core.
func (w *World) Pid() int { return w.core.cmd.Process.Pid }

// Up waits until the core answers.
func (w *World) Up() error {
	return w.Until("the core to answer", func() (bool, error) {
		var plugins []plugin
		return w.get("plugins", &plugins) == nil, w.alive()
	})
}

// alive is an error if the core has ended by itself.
func (w *World) alive() error {
	select {
	case <-w.core.ended:
		return fmt.Errorf("the core ended by itself: %v\n%s", w.core.err, w.lastWords())
	default:
		return nil
	}
}

// Kill ends the core as a power switch would, and waits until it is gone.
func (w *World) Kill() error {
	if err := w.alive(); err != nil {
		return err
	}
	if err := w.core.cmd.Process.Kill(); err != nil {
		return err
	}
	return w.Killed()
}

// Killed waits until somebody's SIGKILL has ended the core.
func (w *World) Killed() error {
	select {
	case <-w.core.ended:
	case <-time.After(patience):
		return fmt.Errorf("the core was not killed within %s", patience)
	}
	var exit *exec.ExitError
	if !errors.As(w.core.err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		return fmt.Errorf("the core ended by itself: %v\n%s", w.core.err, w.lastWords())
	}
	return nil
}

// Stop ends the core in good order.
func (w *World) Stop() error {
	if err := w.alive(); err != nil {
		return err
	}
	if err := w.core.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-w.core.ended:
	case <-time.After(patience):
		_ = w.core.cmd.Process.Signal(syscall.SIGABRT) // its stacks go to its log
		<-w.core.ended
		return fmt.Errorf("the core did not stop within %s", patience)
	}
	if w.core.err != nil {
		return fmt.Errorf("the core was told to stop: %v\n%s", w.core.err, w.lastWords())
	}
	return nil
}

// lastWords of the core's log.
func (w *World) lastWords() string {
	data, err := os.ReadFile(w.path("core.log"))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(string(data), "\n")
	return strings.Join(lines[max(len(lines)-12, 0):], "\n")
}

// plugin is a process of the core's.
type plugin struct {
	Plugin    string
	PID       int
	State     string
	Instances []struct{ Address string }
}

// errAway means that the core could not be asked.
var errAway = errors.New("the core does not answer")

// get asks the core's API, which is away while the core is stopped or starts.
func (w *World) get(path string, into any) error {
	ctx, cancel := context.WithTimeout(context.Background(), askPatience)
	defer cancel()
	return w.do(ctx, http.MethodGet, path, nil, into)
}

func (w *World) post(path string, body, into any) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return w.do(ctx, http.MethodPost, path, body, into)
}

func (w *World) do(ctx context.Context, method, path string, body, into any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://kelpie/v1/"+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	resp, err := w.api.Do(req)
	if err != nil {
		return fmt.Errorf("%w: %w", errAway, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("%w: %w", errAway, err)
	}
	if resp.StatusCode == http.StatusUnauthorized { // the key was that of the core before
		return errAway
	}
	// What is refused says why in a body of the same form.
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusUnprocessableEntity {
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, data)
	}
	return json.Unmarshal(data, into)
}

func dialAPI(socket string) *http.Client {
	return &http.Client{Transport: keyring{filepath.Join(filepath.Dir(socket), "kelpie.key"), &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}}
}

// keyring shows the key of the core that runs, which each start makes anew.
type keyring struct {
	file string
	next http.RoundTripper
}

func (k keyring) RoundTrip(r *http.Request) (*http.Response, error) {
	key, err := os.ReadFile(k.file)
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(key)))
	return k.next.RoundTrip(r)
}

// kelpie runs a command of the program to its end, and gives what it printed. It is an
// error if the exit code is not 0.
func (w *World) kelpie(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	c := exec.CommandContext(ctx, w.p.Kelpie, args...)
	c.Dir = w.dir
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil {
		return out.String(), fmt.Errorf("kelpie %s: %w\n%s%s", strings.Join(args, " "), err, out.String(), errs.String())
	}
	return out.String(), nil
}

func (w *World) decode(v any, args ...string) error {
	out, err := w.kelpie(args...)
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(out), v)
}

// Children are the core's plugin processes, by the name of their executables.
func (w *World) Children() map[string][]int {
	found := map[string][]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range stats {
		data, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
		if len(fields) < 2 || fields[0] == "Z" || fields[1] != strconv.Itoa(w.Pid()) {
			continue
		}
		args, err := os.ReadFile(filepath.Join(filepath.Dir(file), "cmdline"))
		if err != nil {
			continue
		}
		first, _, _ := strings.Cut(string(args), "\x00")
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil {
			found[filepath.Base(first)] = append(found[filepath.Base(first)], pid)
		}
	}
	return found
}

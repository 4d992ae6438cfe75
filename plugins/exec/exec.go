package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

// Exit codes that mean something; they are those of sysexits.h. Every other one is a
// failure of which nothing is known.
const (
	exitLater   = 75 // EX_TEMPFAIL: nothing has happened; try again
	exitRefused = 77 // EX_NOPERM: nothing has happened; trying again is no use
)

// maxLater bounds for how long a program may ask to be left alone.
const maxLater = time.Hour

// program is what a block runs.
type program struct {
	config *programConfig
	dir    string // working folder
	log    *slog.Logger
	// slots bound how many of it run at once.
	slots chan struct{}
	guard *guard
}

// newProgram is closed by who made it.
func newProgram(c *programConfig, env sdk.Env, g *guard, atOnce int) *program {
	g.join(env.Log)
	return &program{config: c, dir: env.StateDir, log: env.Log, slots: make(chan struct{}, atOnce), guard: g}
}

// close may be called where there is none.
func (p *program) close() {
	if p != nil {
		p.guard.leave()
	}
}

// checkProgram says what is wrong with a program's file, and what to do. It is no use
// against its owner, who may change it at any time.
func checkProgram(path string) error {
	if path == "" {
		return errors.New("it is not named")
	}
	if !filepath.IsAbs(path) {
		return fmt.Errorf("%s is not an absolute path", path)
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s does not exist", path)
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file", path)
	case runtime.GOOS == "windows":
		return nil
	case info.Mode().Perm()&0o111 == 0:
		return fmt.Errorf("%s is not executable: run \"chmod +x\" on it", path)
	case info.Mode().Perm()&0o002 != 0:
		return writable(path)
	}
	if err := checkFolders(path); err != nil {
		return err
	}
	if real, err := filepath.EvalSymlinks(path); err == nil && real != path {
		return checkFolders(real)
	}
	return nil
}

// checkFolders looks at the folder of a program, in which nobody else may put a file,
// and at those above it, in which nobody else may rename one.
func checkFolders(path string) error {
	for folder := filepath.Dir(path); ; folder = filepath.Dir(folder) {
		info, err := os.Stat(folder)
		if err != nil {
			return err
		}
		sticky := info.Mode()&fs.ModeSticky != 0 && folder != filepath.Dir(path)
		if info.Mode().Perm()&0o002 != 0 && !sticky {
			return writable(folder)
		}
		if folder == filepath.Dir(folder) {
			return nil
		}
	}
}

func writable(path string) error {
	return fmt.Errorf("%s may be written by everybody, so that anybody could replace the program: run \"chmod o-w\" on it", path)
}

// errNotRun means that the program was not started: nothing has happened.
var errNotRun = errors.New("it was not run")

// start runs the program once. An error is errNotRun, with a reason for people.
func (p *program) start(ctx context.Context, input any, open bool) (*process, error) {
	data, err := encode(input)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNotRun, err)
	}
	path := string(p.config.Program)
	if err := checkProgram(path); err != nil {
		return nil, fmt.Errorf("%w: %w", errNotRun, err)
	}
	for try := 1; ; try++ {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%w: there was no time left", errNotRun)
		}
		running, err := p.launch(ctx, &exec.Cmd{
			Path: path, Args: append([]string{path}, p.config.Arguments...),
			Env: p.config.environment(), Dir: p.dir, SysProcAttr: attributes(),
		}, data, open)
		if err == nil {
			return running, nil
		}
		if !busy(err) || try == busyTries {
			return nil, fmt.Errorf("%w: %s", errNotRun, p.explain(err))
		}
		select {
		case <-time.After(busyWait):
		case <-ctx.Done():
		}
	}
}

// explain says why the system does not run a file that is there.
func (p *program) explain(err error) string {
	path := string(p.config.Program)
	switch {
	case foreign(err):
		return path + " is no program for this machine, and no script: a script's first line is such as #!/bin/sh"
	case errors.Is(err, fs.ErrNotExist) && isMissing(p.dir):
		return "its working folder " + p.dir + " is not there"
	case errors.Is(err, fs.ErrNotExist):
		return path + " wants an interpreter that is not there: look at its first line, after #!"
	case busy(err):
		return path + " is being written; try again when that has ended"
	}
	return err.Error()
}

func isMissing(path string) bool {
	_, err := os.Stat(path)
	return errors.Is(err, fs.ErrNotExist)
}

func encode(input any) ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(input)
	return out.Bytes(), err
}

// ask runs the program once and returns what it printed, at most most bytes. The error
// is errNotRun, or tells what is wrong with how it ended; then the output is no use.
func (p *program) ask(ctx context.Context, input any, most int64) ([]byte, ending, error) {
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return nil, ending{}, fmt.Errorf("%w: as many as at_once allows were running all the time", errNotRun)
	}
	limited, cancel := context.WithTimeout(ctx, p.config.TimeLimit)
	defer cancel()
	running, err := p.start(limited, input, false)
	if err != nil {
		return nil, ending{}, err
	}
	output, _ := io.ReadAll(io.LimitReader(running, most+1))
	tooMuch := int64(len(output)) > most
	if tooMuch {
		running.kill()
	}
	end := running.wait()
	switch {
	case tooMuch:
		return nil, end, fmt.Errorf("it printed more than %d MiB and was ended: let it print its answer alone", most>>20)
	case end.told:
		return nil, end, p.overdue(ctx)
	}
	return output, end, nil
}

// overdue is the error of a program that was ended.
func (p *program) overdue(ctx context.Context) error {
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return errors.New("it was ended, since its answer is not wanted any more")
	case ctx.Err() != nil:
		return errors.New("it took longer than the block's timeout and was ended: set timeout, or make it faster")
	}
	return fmt.Errorf("it took longer than %s and was ended: set time_limit, or make it faster", p.config.TimeLimit)
}

// early is a context that ends before ctx does, so that what is to be said of the end
// arrives in time.
func early(ctx context.Context) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, end.Add(-min(time.Second, time.Until(end)/4)))
}

// decode reads the one JSON object that a program prints, strictly: what it means by a
// name that nobody knows could be anything. Nothing leaves into as it is.
func decode(output []byte, into any) error {
	output = bytes.TrimSpace(output)
	if len(output) == 0 {
		return nil
	}
	if output[0] != '{' || !json.Valid(output) {
		return fmt.Errorf("it printed what is no JSON object: %s: what is for people goes to the standard error", excerpt(output))
	}
	decoder := json.NewDecoder(bytes.NewReader(output))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return plain(err)
	}
	return nil
}

// plain is an error of package json in words for who wrote the program.
func plain(err error) error {
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return fmt.Errorf("%q is of the wrong type: %s", wrong.Field, wrong.Value)
	}
	return errors.New(strings.TrimPrefix(err.Error(), "json: "))
}

// excerpt is the beginning of an output, quoted.
func excerpt(output []byte) string {
	const most = 60
	return fmt.Sprintf("%q", shortened(sdk.Visible(string(output[:min(len(output), 4*most)])), most))
}

// span is a duration as it is written in a block: "30s", "24h", "7d".
type span time.Duration

// UnmarshalJSON takes null too, for none.
func (s *span) UnmarshalJSON(data []byte) error {
	var text *string
	if json.Unmarshal(data, &text) != nil {
		return errors.New(`a duration is written "30s", "24h" or "7d"`)
	}
	if text == nil {
		return nil
	}
	d, err := sdk.ParseDuration(*text)
	if err != nil {
		return err
	}
	*s = span(d)
	return nil
}

package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"google.golang.org/grpc"
)

// ReattachEnv names the variable by which a core learns of plugins that it must not
// start, since they are there: a JSON object with, by the plugin's name, the path of
// its socket and the number of its process.
const ReattachEnv = "KELPIE_REATTACH"

// debugFlag makes a plugin that is started by hand, as in a debugger, serve a core that
// is told of it by ReattachEnv.
const debugFlag = "--debug"

// serveDebug serves without TLS on a socket that only this user reaches, at the same
// path each time, until it is interrupted. Its instances live on when the core goes.
func serveDebug(p Plugin, out io.Writer, stderr *os.File) int {
	logs := newLogHandler(stderr, levelFromEnv(os.Getenv(LogLevelEnv)))
	server, err := newServer(p, logs)
	if err != nil {
		fmt.Fprintf(stderr, "plugin %q cannot start: %v\n", p.Name, err)
		return 1
	}
	slog.SetDefault(slog.New(logs))
	listener, err := listenDebug(p.Name)
	if err != nil {
		fmt.Fprintf(stderr, "plugin %q cannot be debugged: %v\n", p.Name, err)
		return 1
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	rpc := grpc.NewServer(server.Options()...)
	server.Register(rpc)
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		<-ctx.Done()
		stop() // another signal ends the process at once
		closing, cancel := context.WithTimeout(context.Background(), closeGrace)
		defer cancel()
		_ = server.Shutdown(closing)
		rpc.Stop()
	}()
	fmt.Fprintf(stderr, "%s %s waits for a Kelpie that is started with the line below. Any program of this\n"+
		"user may use it so. Ctrl-C ends it.\n\n", p.Name, p.Version)
	fmt.Fprintln(out, reattachLine(p.Name, listener.Addr().String(), os.Getpid()))
	err = rpc.Serve(listener)
	stop()
	<-closed
	if err != nil {
		fmt.Fprintf(stderr, "plugin %q: %v\n", p.Name, err)
		return 1
	}
	return 0
}

// reattachLine is to be pasted into a shell. Neither a plugin's name nor JSON's own
// signs end the quotes; a path that would is quoted once more.
func reattachLine(name, socket string, pid int) string {
	type at struct {
		Socket string `json:"socket"`
		PID    int    `json:"pid"`
	}
	text, _ := json.Marshal(map[string]at{name: {socket, pid}}) // of texts and a number
	return "export " + ReattachEnv + "=" + shellQuoted(string(text))
}

func shellQuoted(text string) string {
	quoted := "'"
	for _, r := range text {
		if r == '\'' {
			quoted += `'\''`
			continue
		}
		quoted += string(r)
	}
	return quoted + "'"
}

// listenDebug takes the plugin's socket in a folder of this user alone.
func listenDebug(name string) (net.Listener, error) {
	dir := filepath.Join(os.TempDir(), "kelpie-debug-"+strconv.Itoa(os.Getuid()))
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() || !ownFile(info) {
		return nil, fmt.Errorf("%s is not a folder of this user", dir)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, name+".sock")
	if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
		_ = c.Close()
		return nil, fmt.Errorf("another one serves %s; end that first", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return net.Listen("unix", path)
}

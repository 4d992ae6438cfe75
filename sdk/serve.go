package sdk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
)

const (
	// closeGrace is how long the instances have to close when the core is gone or
	// wants the process to end.
	closeGrace = time.Second
	// exitGrace is after when the process ends, whatever still runs.
	exitGrace = 1300 * time.Millisecond
)

// Serve runs the plugin until the core ends it, and then exits the process; it is the
// only statement of a plugin's main. The process exits too, within 1.5 seconds, when
// its standard input is closed, which is how it learns that the core is gone, and on
// SIGTERM. It ignores SIGINT: a person's Ctrl-C is the core's to handle.
//
// A plugin that contradicts itself (a verb that nobody undoes but says that it can
// be, a config struct that uses an attribute of the core) and one that was started by
// hand exit with status 1 and a text on the standard error.
//
// Started by hand with --debug as its only argument it serves until it is interrupted,
// and prints the line by which a core is told to use it instead of starting one:
//
//	export KELPIE_REATTACH='{"acme":{"socket":"…","pid":4711}}'
func Serve(p Plugin) {
	os.Exit(serve(p, os.Stdin, os.Stderr))
}

func serve(p Plugin, stdin io.Reader, stderr *os.File) int {
	shake := Handshake()
	if os.Getenv(shake.MagicCookieKey) != shake.MagicCookieValue {
		if slices.Equal(os.Args[1:], []string{debugFlag}) {
			return serveDebug(p, os.Stdout, stderr)
		}
		fmt.Fprintf(stderr, "This is %s %s, a plugin of Kelpie. It is not started by hand: name it in a block,\n"+
			"such as %s, and Kelpie starts it.\n"+
			"To try it, \"kelpie plugin call\"; to run it in a debugger, start it with %s.\n", p.Name, p.Version, sampleBlock(p), debugFlag)
		return 1
	}
	// Whoever prints to standard error by os.Stderr is sent elsewhere once go-plugin
	// serves; the log keeps the original.
	logs := newLogHandler(stderr, levelFromEnv(os.Getenv(LogLevelEnv)))
	server, err := newServer(p, logs)
	if err != nil {
		fmt.Fprintf(stderr, "plugin %q cannot start: %v\n", p.Name, err)
		return 1
	}
	slog.SetDefault(slog.New(logs))

	stop := make(chan struct{}) // closed when gRPC has stopped serving
	var rpc *grpc.Server
	config := &plugin.ServeConfig{
		HandshakeConfig:  shake,
		VersionedPlugins: map[int]plugin.PluginSet{ProtocolVersion: {PluginName: &glue{server: server}}},
		GRPCServer: func(options []grpc.ServerOption) *grpc.Server {
			rpc = grpc.NewServer(append(options, server.Options()...)...)
			go leave(rpc, server, stdin, stop)
			return rpc
		},
		Logger: hclog.New(&hclog.LoggerOptions{
			Name:       "go-plugin",
			Level:      hclog.LevelFromString(os.Getenv(LogLevelEnv)),
			Output:     logs.out,
			JSONFormat: true,
		}),
	}
	plugin.Serve(config)
	close(stop)
	// The core asked for the end over gRPC; it has closed the instances, or meant not to.
	deadline := time.AfterFunc(exitGrace, func() { os.Exit(0) })
	defer deadline.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), closeGrace)
	defer cancel()
	_ = server.Shutdown(ctx)
	return 0
}

// leave ends the process when the core is gone or asks for it by a signal. Stopping
// gRPC lets go-plugin return and remove its socket.
func leave(rpc *grpc.Server, server *Server, stdin io.Reader, stopped <-chan struct{}) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		if _, err := io.Copy(io.Discard, stdin); err != nil && !errors.Is(err, os.ErrClosed) {
			slog.Warn("standard input cannot be read", "error", err)
		}
	}()
	select {
	case <-stopped:
		return
	case <-gone:
		slog.Info("standard input is closed, so the core is gone: the plugin ends")
	case <-signals:
		slog.Info("the plugin is told to end")
	}
	time.AfterFunc(exitGrace, func() { os.Exit(0) })
	ctx, cancel := context.WithTimeout(context.Background(), closeGrace)
	defer cancel()
	_ = server.Shutdown(ctx)
	rpc.Stop()
}

func sampleBlock(p Plugin) string {
	for _, c := range p.Connectors {
		return fmt.Sprintf("%s %q %q { … }", c.Kind, p.Name, "mine")
	}
	return "one of its own"
}

// glue makes a Server known to go-plugin.
type glue struct {
	plugin.NetRPCUnsupportedPlugin
	server *Server
}

func (g *glue) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	g.server.Register(s)
	return nil
}

func (g *glue) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.New("the plugin's side has no client")
}

package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
)

// AttachedPatience is for calls of plugins that are attached, and for whatever else has
// a limit of time: somebody may be reading the code at a breakpoint.
const AttachedPatience = time.Hour

// attachedPause is the longest time between two attempts to reach a socket.
const attachedPause = time.Second

// Attached is a plugin that somebody has started by hand, as in a debugger: it is
// used as it is, and neither verified nor started, restarted or ended.
type Attached struct {
	Socket string `json:"socket"`
	PID    int    `json:"pid"` // as it was printed, for people; 0: not known
}

// ParseAttached reads what sdk.ReattachEnv holds: attached plugins by their names. An
// empty text is none. The error is for people.
func ParseAttached(text string) (map[string]Attached, error) {
	if text == "" {
		return nil, nil
	}
	var all map[string]Attached
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		return nil, fmt.Errorf("%s is not what a plugin prints that is started with --debug: %w", sdk.ReattachEnv, err)
	}
	for name, a := range all {
		switch {
		case !pluginName.MatchString(name):
			return nil, fmt.Errorf("%s: %q is no name of a plugin", sdk.ReattachEnv, cut(plain(name), 80))
		case !filepath.IsAbs(a.Socket):
			return nil, fmt.Errorf("%s: plugin %s has no absolute path to its socket", sdk.ReattachEnv, name)
		}
		if err := a.check(); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s: plugin %s: %w", sdk.ReattachEnv, name, err)
		}
	}
	return all, nil
}

// DescribeAttached asks an attached plugin what it is. It must call itself own.
func DescribeAttached(ctx context.Context, own string, a Attached) (model.Plugin, error) {
	l := launch{name: own, attached: &a, roster: newRoster(), log: slog.New(slog.DiscardHandler), timing: Timing{}.withDefaults()}
	p, err := l.start(ctx)
	if err != nil {
		return model.Plugin{}, err
	}
	p.kill()
	return p.about, nil
}

// check refuses a socket that is not this user's, or that others could put another in
// the place of.
func (a Attached) check() error {
	dir := filepath.Dir(a.Socket)
	for _, path := range []string{dir, a.Socket} {
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		if path == a.Socket && info.Mode().Type() != fs.ModeSocket {
			return fmt.Errorf("%s is not a socket", path)
		}
		if path == dir && !info.IsDir() {
			return fmt.Errorf("%s is not a folder", path)
		}
		if err := refuseShared(path, info); err != nil {
			return err
		}
	}
	return nil
}

// patient is the timing of a plugin at which somebody may look in a debugger: no call
// and no health is waited for in vain, and it is looked for again and again.
func (t Timing) patient() Timing {
	t.Configure, t.HealthEvery, t.Crashes = AttachedPatience, AttachedPatience, math.MaxInt
	return t
}

// attach connects to a plugin that is there, and lets it describe itself. An error is a
// *StartError.
func (l launch) attach(ctx context.Context) (*process, error) {
	fail := func(err error) error { return &StartError{Plugin: l.name, Path: l.attached.Socket, Err: err} }
	switch err := l.attached.check(); {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fail(errNotServed)
	case err != nil:
		return nil, l.refused(l.attached.Socket, err)
	}
	options := append(dialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithIdleTimeout(0))
	conn, err := grpc.NewClient("unix:"+l.attached.Socket, options...)
	if err != nil {
		return nil, fail(err)
	}
	connecting, cancel := context.WithTimeout(ctx, l.timing.Start)
	defer cancel()
	if !connected(connecting, conn) {
		conn.Close()
		return nil, fail(errNotServed)
	}
	p := &process{
		runner: l.newRunner(nil, ""),
		conn:   conn, api: pluginv1.NewPluginServiceClient(conn), since: time.Now(), attached: true,
	}
	go p.watchAttached() // kill waits for it
	if err := l.describe(ctx, p); err != nil {
		p.kill()
		start := &StartError{Plugin: l.name, Path: l.attached.Socket, Err: err}
		permanent := (*permanentError)(nil)
		start.Permanent = errors.As(err, &permanent)
		return nil, start
	}
	l.log.Warn("plugin is attached: it is not verified, not limited in time, and not started again by Kelpie", "socket", l.attached.Socket)
	return p, nil
}

var errNotServed = errors.New("nobody serves this socket; start the plugin with --debug")

// connected waits for the first connection, and gives up with the first that fails.
func connected(ctx context.Context, conn *grpc.ClientConn) bool {
	conn.Connect()
	for {
		switch state := conn.GetState(); state {
		case connectivity.Ready:
			return true
		case connectivity.TransientFailure, connectivity.Shutdown:
			return false
		default:
			if !conn.WaitForStateChange(ctx, state) {
				return false
			}
		}
	}
}

// watchAttached tells, as the end of the process, that the connection has broken: who
// serves the socket next knows none of the instances.
func (p *process) watchAttached() {
	p.conn.WaitForStateChange(context.Background(), connectivity.Ready)
	p.runner.mu.Lock()
	p.runner.reason = "nobody serves its socket any more"
	p.runner.mu.Unlock()
	close(p.runner.done)
}

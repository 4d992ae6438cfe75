package host

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
)

// Inspect starts an executable once, lets it describe itself, and ends it. It returns
// what it said and the sha256 of the file that said it, in lower-case hexadecimal. No
// lock is consulted: inspecting is how an entry of one is made. It is confined, and
// granted nothing. An error is a
// *StartError, unless there is no folder for a socket.
func Inspect(ctx context.Context, path string) (model.Plugin, string, error) {
	run, err := openRunDir("")
	if err != nil {
		return model.Plugin{}, "", err
	}
	defer run.close()
	quiet := slog.New(slog.DiscardHandler)
	p, err := launch{
		path: path, env: environment(nil, quiet), run: run,
		roster: newRoster(), log: quiet, timing: Timing{}.withDefaults(),
		kernel: askKernel(), held: &confinement{limits: inspectLimits()},
	}.start(ctx)
	if err != nil {
		return model.Plugin{}, "", err
	}
	p.stop(time.Now().Add(inspectStop), nil)
	if err := ctx.Err(); err != nil {
		return model.Plugin{}, "", fmt.Errorf("inspect %s: %w", path, err)
	}
	return p.about, p.sha256, nil
}

// inspectLimits bound a process of which nothing is known yet.
func inspectLimits() Limits { return Limits{Processes: 512, Files: 1024, CPU: time.Minute} }

// inspectStop bounds the end of an inspected process.
const inspectStop = 2 * time.Second

// Command counter is an action that does nothing but write down each call: a line
// with the call's key, the text it was given, and when it came. Calls with dry_run are
// written to a second file, whose name ends in ".dry". Tests count by it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

type config struct {
	File sdk.Path `kelpie:"file,required" doc:"Where each call is written down."`
}

type parameters struct {
	Text string `kelpie:"text" doc:"Written down with the call."`
}

type counter struct {
	config config
	mu     sync.Mutex
	file   *os.File
	dry    *os.File
}

func (c *counter) Config() any { return &c.config }

func (c *counter) Open(context.Context, sdk.Env) (err error) {
	const flags = os.O_APPEND | os.O_CREATE | os.O_WRONLY
	if c.file, err = os.OpenFile(string(c.config.File), flags, 0o600); err != nil {
		return err
	}
	c.dry, err = os.OpenFile(string(c.config.File)+".dry", flags, 0o600)
	return err
}

func (c *counter) Close() error {
	if c.file == nil {
		return nil
	}
	return errors.Join(c.file.Close(), c.dry.Close())
}

func (c *counter) Execute(_ context.Context, call sdk.Call) (sdk.Result, error) {
	line := fmt.Sprintf("%s %q %d\n", call.Key, call.Parameters.(*parameters).Text, time.Now().UnixNano())
	c.mu.Lock()
	defer c.mu.Unlock()
	to := c.file
	if call.DryRun {
		to = c.dry
	}
	if _, err := to.WriteString(line); err != nil {
		return sdk.Result{}, err
	}
	return sdk.Result{Outcome: sdk.OutcomeDone, Reference: call.Key}, nil
}

func main() {
	sdk.Serve(sdk.Plugin{
		Name: "counter", Version: "0.1.0",
		Connectors: []sdk.Connector{{
			Kind: sdk.KindAction, Summary: "Counts calls.",
			New: func() sdk.Instance { return &counter{} },
			Verbs: []sdk.Verb{{
				Name: "notify", Targets: []string{"address"}, Summary: "Count.",
				Parameters: func() any { return &parameters{} },
			}},
		}},
		Permissions: sdk.Permissions{Write: []string{"{file}", "{file}.dry"}},
	})
}

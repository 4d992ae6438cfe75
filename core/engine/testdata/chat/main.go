// Command chat is an action whose people answer in a file: each line is the key of a
// notify, who answers, the option and the reason. A cursor is how many lines were handed
// back. Each start of the stream, and each notify, is written to notes.
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

type config struct {
	Answers sdk.Path `kelpie:"answers,required" doc:"What people answer."`
	Notes   sdk.Path `kelpie:"notes,required" doc:"Where it is written down what was done."`
	Mark    string   `kelpie:"mark" doc:"Makes a block another one."`
}

type parameters struct {
	Notice any `kelpie:"notice" doc:"The case; Kelpie fills it."`
}

type chat struct {
	config config
	mu     sync.Mutex
}

func (c *chat) Config() any { return &c.config }

func (c *chat) note(format string, args ...any) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	f, err := os.OpenFile(string(c.config.Notes), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = fmt.Fprintf(f, format+"\n", args...)
	return err
}

func (c *chat) Execute(_ context.Context, call sdk.Call) (sdk.Result, error) {
	if err := c.note("%s %s", call.Key, call.Target.Value); err != nil {
		return sdk.Result{}, err
	}
	return sdk.Result{Outcome: sdk.OutcomeDone}, nil
}

// Answers hands back the lines after the cursor. The line "flood" is handed back for ever,
// "huge" has a cursor that is too long, "end" ends the stream.
func (c *chat) Answers(ctx context.Context, cursor []byte, send func(sdk.PersonAnswer) error) error {
	if err := c.note("from %q", cursor); err != nil {
		return err
	}
	at, _ := strconv.Atoi(string(cursor))
	for ctx.Err() == nil {
		text, err := os.ReadFile(string(c.config.Answers))
		if err != nil {
			return err
		}
		lines := strings.Split(string(text), "\n")
		for ; at < len(lines)-1; at++ {
			switch lines[at] {
			case "flood":
				for n := 0; ; n++ {
					if err := send(sdk.PersonAnswer{Key: "i-nobody", Reason: strings.Repeat("x", 1000), Cursor: strconv.AppendInt(nil, int64(at), 10)}); err != nil {
						return err
					}
					if n%100 == 0 {
						if err := c.note("flooded %d", n); err != nil {
							return err
						}
					}
				}
			case "huge":
				return send(sdk.PersonAnswer{Key: "i-nobody", Cursor: make([]byte, 70_000)})
			case "end":
				return nil
			}
			words := append(strings.SplitN(lines[at], " ", 4), "", "", "", "")
			a := sdk.PersonAnswer{Key: words[0], User: words[1], Option: words[2], Reason: words[3], Cursor: strconv.AppendInt(nil, int64(at)+1, 10)}
			if err := send(a); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(5 * time.Millisecond):
		}
	}
	return ctx.Err()
}

func main() {
	sdk.Serve(sdk.Plugin{
		Name: "chat", Version: "1.0.0",
		Connectors: []sdk.Connector{{
			Kind: sdk.KindAction, Summary: "Asks people.", New: func() sdk.Instance { return &chat{} },
			Verbs: []sdk.Verb{{
				Name: "notify", Targets: []string{"address"}, Summary: "Ask.", Idempotent: true,
				Parameters: func() any { return &parameters{} },
			}},
		}},
		Permissions: sdk.Permissions{Read: []string{"{answers}"}, Write: []string{"{notes}"}},
	})
}

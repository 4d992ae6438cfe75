//go:build unix

// Command contain is an action that contains and lets go, in a world of its own: a file
// (package world). A script says which calls go wrong, and how:
//
//	# OP TARGET N BEHAVIOUR [AFTER]
//	execute ws-1 1 lose
//	undo    *    1 late 500ms
//	check   ws-1 * hang
//
// N counts the calls of that operation about that target, over all processes there ever
// were, so that a script always gives the same run. The script is read at every call.
//
// Its verbs differ in what they promise: isolate_host can be checked, disable_account is
// idempotent and can be checked, contain.block can do neither, and contain.tag can't be
// undone.
package main

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/kelpie-sec/kelpie/core/faulttest/contain/world"
	"github.com/kelpie-sec/kelpie/sdk"
)

// settle is how long after not_after a request may still take effect.
const settle = time.Second

func verbs() []sdk.Verb {
	return []sdk.Verb{
		{Name: "isolate_host", Targets: []string{sdk.Host}, Summary: "Isolate a host.", Undo: true, Check: true, Settle: settle},
		{Name: "disable_account", Targets: []string{sdk.User, sdk.Account}, Summary: "Disable an account.", Undo: true, Check: true, Idempotent: true, Settle: settle},
		{Name: "contain.block", Targets: []string{sdk.IP, sdk.Host}, Summary: "Block a host.", Undo: true},
		{Name: "contain.tag", Targets: []string{sdk.Host}, Summary: "Tag a host."},
	}
}

func main() {
	sdk.Serve(sdk.Plugin{
		Name: "contain", Version: "0.1.0",
		Connectors: []sdk.Connector{{
			Kind: sdk.KindAction, Summary: "Contains, in a world of its own.",
			New: func() sdk.Instance { return &contain{} }, Verbs: verbs(),
		}},
		Permissions: sdk.Permissions{Read: []string{"{script}"}, Write: []string{"{world}"}},
	})
}

type contain struct {
	config struct {
		World  sdk.Path `kelpie:"world,required" doc:"The file that is the world."`
		Script sdk.Path `kelpie:"script" doc:"Which calls go wrong."`
	}
}

func (c *contain) Config() any { return &c.config }

func (c *contain) Execute(ctx context.Context, call sdk.Call) (sdk.Result, error) {
	if call.DryRun {
		return sdk.Result{Outcome: sdk.OutcomeDone, Message: "would do it"}, nil
	}
	r := request{world.Execute, call.Verb, call.Target.Value, call.Key, call.NotAfter}
	return c.serve(ctx, r, sdk.Result{UndoToken: []byte("undo of " + call.Key), Reference: call.Key})
}

func (c *contain) Undo(ctx context.Context, call sdk.UndoCall) (sdk.Result, error) {
	if len(call.Token) == 0 {
		return sdk.Result{Outcome: sdk.OutcomeRefused, Message: "there is no token"}, nil
	}
	return c.serve(ctx, request{world.Undo, call.Verb, call.Target.Value, call.Key, call.NotAfter}, sdk.Result{})
}

// request is an execute or an undo.
type request struct {
	op                world.Op
	verb, target, key string
	notAfter          time.Time
}

var errLost = errors.New("the line went dead")

// serve does what the script says of a request. ok is what it answers when it was done.
func (c *contain) serve(ctx context.Context, r request, ok sdk.Result) (sdk.Result, error) {
	do, err := c.begin(r.op, r.verb, r.target, r.key)
	if err != nil {
		return sdk.Result{}, err
	}
	switch do.Do {
	case world.Fails:
		return sdk.Result{Outcome: sdk.OutcomeFailed, Message: "the script says no"}, nil
	case world.Refuses:
		return sdk.Result{Outcome: sdk.OutcomeRefused, Message: "the script says never"}, nil
	case world.Doubts:
		return sdk.Result{Outcome: sdk.OutcomeUnknown, Message: "the script says perhaps"}, nil
	case world.Hangs:
		<-ctx.Done()
		return sdk.Result{}, ctx.Err()
	case world.Crashes:
		os.Exit(3)
	case world.Late, world.CrashesLate:
		if err := c.send(r, do.After); err != nil {
			return sdk.Result{}, err
		}
		if do.Do == world.CrashesLate {
			os.Exit(3)
		}
		return sdk.Result{}, errLost
	case world.Slow:
		select {
		case <-time.After(do.After):
		case <-ctx.Done():
			return sdk.Result{}, ctx.Err()
		}
	}
	if ok.Outcome, ok.SameKey, err = c.act(r); err != nil {
		return sdk.Result{}, err
	}
	switch do.Do {
	case world.Loses:
		return sdk.Result{}, errLost
	case world.HangsAfter:
		<-ctx.Done()
		return sdk.Result{}, ctx.Err()
	case world.CrashesAfter:
		os.Exit(3)
	}
	return ok, nil
}

func (c *contain) world() world.World { return world.World{Path: string(c.config.World)} }

// begin notes a call, and says how it goes.
func (c *contain) begin(op world.Op, verb, target, key string) (do world.Line, err error) {
	script, err := world.ReadScript(string(c.config.Script))
	if err != nil {
		return do, err
	}
	err = c.world().Change(func(s *world.State) []world.Entry {
		do = script.Of(op, target, s.Times[op][target]+1)
		return []world.Entry{{What: world.Called, Op: op, Verb: verb, Target: target, Key: key}}
	})
	return do, err
}

// act does what is asked. The idempotent verb does nothing for a key that it knows.
func (c *contain) act(r request) (outcome sdk.Outcome, sameKey bool, err error) {
	err = c.world().Change(func(s *world.State) []world.Entry {
		if r.verb == "disable_account" && s.Effects[r.op][r.key] > 0 {
			outcome, sameKey = sdk.OutcomeAlready, true
			return nil
		}
		e := s.Act(r.op, r.verb, r.target, r.key)
		if outcome = sdk.OutcomeDone; e.What == world.Already {
			outcome = sdk.OutcomeAlready
			sameKey = r.op == world.Execute && s.Contained[r.verb+" "+r.target] == r.key
		}
		return []world.Entry{e}
	})
	return outcome, sameKey, err
}

// send puts a request on its way, which takes effect later, but never after what the
// contract allows.
func (c *contain) send(r request, after time.Duration) error {
	after = min(after, time.Until(r.notAfter)+settle/2)
	return c.world().Change(func(s *world.State) []world.Entry {
		if r.verb == "disable_account" && s.Effects[r.op][r.key] > 0 {
			return nil
		}
		return []world.Entry{{
			What: world.Sent, Op: r.op, Verb: r.verb, Target: r.target, Key: r.key, Due: world.Uptime() + after,
		}}
	})
}

// Check says what became of a key. Of what is on its way it knows nothing yet.
func (c *contain) Check(ctx context.Context, call sdk.CheckCall) (sdk.Result, error) {
	op := world.Execute
	if call.Undo {
		op = world.Undo
	}
	do, err := c.begin(world.Check, call.Verb, call.Target.Value, call.Key)
	if err != nil {
		return sdk.Result{}, err
	}
	switch do.Do {
	case world.Answers:
	case world.Hangs, world.HangsAfter:
		<-ctx.Done()
		return sdk.Result{}, ctx.Err()
	case world.Crashes, world.CrashesAfter, world.CrashesLate:
		os.Exit(3)
	case world.Doubts:
		return sdk.Result{Outcome: sdk.OutcomeUnknown, Message: "the script says perhaps"}, nil
	default:
		return sdk.Result{}, errLost
	}
	s, err := c.world().Read()
	if err != nil {
		return sdk.Result{}, err
	}
	r := sdk.Result{Outcome: sdk.OutcomeFailed, Message: "no such request is known"}
	switch {
	case s.Effects[op][call.Key] > 0:
		r = sdk.Result{Outcome: sdk.OutcomeDone}
	case s.Found[op][call.Key] > 0:
		r = sdk.Result{Outcome: sdk.OutcomeAlready}
	}
	if op == world.Execute && r.Outcome != sdk.OutcomeFailed {
		r.UndoToken, r.Reference = []byte("undo of "+call.Key), call.Key
	}
	return r, nil
}

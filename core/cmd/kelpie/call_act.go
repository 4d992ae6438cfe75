package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/core/host"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/plan"
	"github.com/kelpie-sec/kelpie/sdk"
)

// calledResult is what came of an action.
type calledResult struct {
	Did       string      `json:"did"` // "act", "undo", "check"
	Verb      string      `json:"verb"`
	Kind      string      `json:"kind"`
	Value     string      `json:"value"`
	Key       string      `json:"key"`
	DryRun    bool        `json:"dry_run"`
	Outcome   sdk.Outcome `json:"outcome"`
	Reference string      `json:"reference,omitempty"`
	UndoToken []byte      `json:"undo_token,omitempty"`
	SameKey   bool        `json:"same_key,omitempty"`
	Message   string      `json:"message,omitempty"`
}

// callTime is how long an action has if its block does not say.
const callTime = 30 * time.Second

func (k *calling) act() (func(context.Context) error, error) {
	verb, target, err := k.order()
	if err != nil {
		return nil, err
	}
	f := k.flags
	switch {
	case f.really && f.dryRun:
		return nil, usage("--really and --dry-run contradict each other")
	case f.undo != "" && f.check != "" && !f.checkUndo:
		return nil, usage("--undo and --check: to ask about an undo, add --of-undo")
	case f.checkUndo && f.check == "":
		return nil, usage("--of-undo goes with --check")
	case f.undo != "" && f.check == "" && !f.really:
		return nil, usage("an undo has no dry run: with --really it is done")
	case (f.undo != "" || f.check != "") && len(f.params) > 0:
		return nil, usage("--param goes with an action, not with --undo or --check")
	}
	token, err := base64.StdEncoding.DecodeString(f.undo)
	if err != nil {
		return nil, usage("--undo is not a token that was shown")
	}
	parameters, err := parametersOf(verb, f.params)
	if err != nil && f.undo == "" && f.check == "" {
		return nil, err
	}
	r := calledResult{Did: "act", Verb: verb.Name, Kind: target.Kind, Value: target.Value, Key: f.key, DryRun: !f.really}
	if r.Key == "" {
		r.Key = newKey()
	}
	return func(ctx context.Context) error { return k.perform(ctx, r, target, token, parameters) }, nil
}

// order reads the verb and the target.
func (k *calling) order() (model.Verb, model.Target, error) {
	var names []string
	for _, v := range k.connector.Verbs {
		names = append(names, v.Name)
	}
	if len(k.args) == 0 {
		return model.Verb{}, model.Target{}, usage("act takes a verb; this action offers: %s", joined(names))
	}
	i := slices.Index(names, k.args[0])
	if i < 0 {
		return model.Verb{}, model.Target{}, usage("this action does not offer %q; it offers: %s", k.args[0], joined(names))
	}
	verb := k.connector.Verbs[i]
	if len(k.args) > 2 {
		return verb, model.Target{}, usage("act takes one target, not %q as well", k.args[2])
	}
	if len(verb.Targets) == 0 {
		if len(k.args) > 1 {
			return verb, model.Target{}, usage("%s is done for a case, and takes no target", verb.Name)
		}
		return verb, model.Target{Kind: plan.CaseKind, Value: "c-" + strings.ReplaceAll(byHand, "_", "-")}, nil
	}
	if len(k.args) == 1 {
		return verb, model.Target{}, usage("%s takes a target, as KIND:VALUE; the kind is one of: %s", verb.Name, joined(verb.Targets))
	}
	target, err := targetOf(verb, k.args[1])
	return verb, target, err
}

// targetOf reads KIND:VALUE; where there is one kind it may be left out.
func targetOf(verb model.Verb, text string) (model.Target, error) {
	kind, value, ok := strings.Cut(text, ":")
	if !ok || !slices.Contains(verb.Targets, kind) {
		if len(verb.Targets) > 1 {
			return model.Target{}, usage("%s takes a target as KIND:VALUE, and the kind is one of: %s", verb.Name, joined(verb.Targets))
		}
		kind, value = verb.Targets[0], text
	}
	if !slices.Contains(sdk.Kinds(), kind) {
		return model.Target{Kind: kind, Value: value}, nil
	}
	o, err := sdk.Canonical(kind, value)
	if err != nil {
		return model.Target{}, usage("%v", err)
	}
	return model.Target{Kind: o.Kind, Value: o.Value}, nil
}

// parametersOf makes the verb's parameters of name=value: texts as they are, all else
// as JSON. A list of texts may be given a part at a time.
func parametersOf(verb model.Verb, given []string) (json.RawMessage, error) {
	out := map[string]any{}
	var names []string
	for _, a := range verb.Parameters.Attributes {
		names = append(names, a.Name)
		if len(a.Default) > 0 {
			out[a.Name] = a.Default
		}
	}
	for _, b := range verb.Parameters.Blocks {
		names = append(names, b.Name)
	}
	had := map[string]bool{}
	for _, text := range given {
		name, value, ok := strings.Cut(text, "=")
		switch {
		case !ok:
			return nil, usage("--param takes name=value, not %q", text)
		case !slices.Contains(names, name):
			return nil, usage("%s has no parameter %q; it has: %s", verb.Name, name, joined(names))
		}
		v, err := parameter(verb, name, value)
		if err != nil {
			return nil, err
		}
		if more, isList := v.([]any); isList && had[name] {
			before, wasList := out[name].([]any)
			if !wasList {
				return nil, usage("--param %s is given as a list and as something else", name)
			}
			v = append(before, more...)
		}
		out[name], had[name] = v, true
	}
	for _, a := range verb.Parameters.Attributes {
		if a.Required && out[a.Name] == nil {
			return nil, usage("%s needs --param %s=…: %s", verb.Name, a.Name, a.Doc)
		}
	}
	return json.Marshal(out)
}

func parameter(verb model.Verb, name, value string) (any, error) {
	kind, item := "any", ""
	for _, a := range verb.Parameters.Attributes {
		if a.Name != name {
			continue
		}
		if kind = a.Type.Kind; a.Type.Element != nil {
			item = a.Type.Element.Kind
		}
	}
	switch kind {
	case "string", "duration":
		return value, nil
	case "path":
		return filepath.Abs(value)
	}
	var v any
	decoder := json.NewDecoder(strings.NewReader(value))
	decoder.UseNumber()
	err := decoder.Decode(&v)
	list, isList := v.([]any)
	switch {
	case kind == "list" && err == nil && isList:
		return list, nil
	case kind == "list" && item == "string":
		return []any{value}, nil
	case err == nil && json.Valid([]byte(value)):
		return v, nil
	case kind == "any":
		return value, nil
	}
	return nil, usage("--param %s takes a %s, written as JSON", name, kind)
}

// newKey is one that no other call has.
func newKey() string {
	var b [10]byte
	rand.Read(b[:]) // never fails
	return "by-hand-" + hex.EncodeToString(b[:])
}

func (k *calling) perform(ctx context.Context, r calledResult, target model.Target, token []byte, parameters json.RawMessage) error {
	a, err := k.host.Action(k.address)
	if err != nil {
		return err
	}
	limit := k.flags.timeout
	if limit <= 0 {
		limit = callTime
	}
	notAfter := time.Now().Add(limit)
	var got sdk.Result
	switch {
	case k.flags.check != "":
		r.Did, r.Key, r.DryRun = "check", k.flags.check, false
		got, err = a.Check(ctx, host.ActionCheck{Verb: r.Verb, Target: target, Key: r.Key, Undo: k.flags.checkUndo, Token: token})
	case k.flags.undo != "":
		r.Did, r.DryRun = "undo", false
		got, err = a.Undo(ctx, host.ActionUndo{Verb: r.Verb, Target: target, Token: token, Key: r.Key, NotAfter: notAfter})
	default:
		got, err = a.Execute(ctx, host.ActionCall{
			Verb: r.Verb, Target: target, Parameters: parameters, Key: r.Key, NotAfter: notAfter, DryRun: r.DryRun, Attempt: 1,
		})
	}
	if err != nil {
		return fmt.Errorf("%w (key %s)", err, r.Key)
	}
	r.Outcome, r.Reference, r.UndoToken, r.SameKey, r.Message = got.Outcome, got.Reference, got.UndoToken, got.SameKey, got.Message
	if k.o.json {
		err = k.line(r)
	} else {
		k.printResult(r)
	}
	if err == nil && r.Outcome != sdk.OutcomeDone && r.Outcome != sdk.OutcomeAlready {
		err = &codeError{code: exitFailed}
	}
	return err
}

func (k *calling) printResult(r calledResult) {
	what := map[string]string{"act": r.Verb + " for ", "undo": "undo of " + r.Verb + " for ", "check": "what became of " + r.Verb + " for "}[r.Did]
	if r.DryRun {
		what = "dry run of " + what
	}
	indented(k.out, "", what+r.Kind+" "+r.Value)
	row := func(name, text string) {
		if text != "" {
			indented(k.out, "  "+pad(name, 11), text)
		}
	}
	outcome := string(r.Outcome)
	if r.SameKey {
		outcome += ", by an earlier call with this key"
	}
	row("outcome", outcome)
	row("message", r.Message)
	row("reference", r.Reference)
	row("key", r.Key)
	if len(r.UndoToken) > 0 {
		row("undo", "it can be undone: the same, with --really and")
		fmt.Fprintf(k.out, "  --undo %s\n", base64.StdEncoding.EncodeToString(r.UndoToken)) // whole, to be pasted
	}
}

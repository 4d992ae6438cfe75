package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/config"
	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/match"
	"github.com/kelpie-sec/kelpie/core/model"
)

const consoleLong = `Try expressions on a stored event or case.

What they can read is what the configuration's can: with --event "event", as the
conditions of a pipeline see it, before its map; with --case "case", as responses
do, with the score that it has. var, local and all functions are there.

An event is named by its place, as "kelpie event list" shows it, or by its detector,
which means the newest. Without an expression they are read line by line.`

func (p program) consoleCommand(o *options) *cobra.Command {
	var event, incident string
	c := &cobra.Command{
		Use: "console [EXPRESSION]", Short: "Try expressions on a stored event or case", Args: cobra.MaximumNArgs(1), Long: consoleLong,
		Example: "  kelpie console --event detector.eve 'event.raw.alert.severity <= 2'\n" +
			"  kelpie console --case c-a2e08997 'case.score.total >= 80 && case.stopped != true'",
		RunE: func(c *cobra.Command, args []string) error {
			if event != "" && incident != "" {
				return usage("--event and --case: one of them")
			}
			k, err := p.openConsole(c.Context(), o, event, incident)
			if err != nil {
				return err
			}
			if len(args) > 0 {
				return k.evaluate(args[0])
			}
			return k.loop(c.Context())
		},
	}
	c.Flags().StringVar(&event, "event", "", "the event at this place (SEQ/INDEX), or the newest of this detector")
	c.Flags().StringVar(&incident, "case", "", "the case with this id, or the beginning of it")
	return c
}

// console evaluates expressions on one value.
type console struct {
	program
	o        *options
	source   *config.Source
	compiler *config.Console
	scope    expr.Scope
}

func (p program) openConsole(ctx context.Context, o *options, event, incident string) (*console, error) {
	read, err := o.parse()
	if err != nil {
		return nil, err
	}
	k := &console{program: p, o: o, source: read.source}
	if k.source == nil { // there is no configuration, and so nothing in it
		k.source = &config.Source{Files: []config.File{{}}}
	}
	root := ""
	switch {
	case event != "":
		root = "event"
		v, err := p.storedEvent(ctx, o, event)
		if err != nil {
			return nil, err
		}
		k.scope.Set(root, v)
	case incident != "":
		if read.diags.HasErrors() { // it says which enrichments there are
			return nil, p.refuse(o, read.diags, read.source)
		}
		root = "case"
		v, err := p.storedCase(ctx, o, incident, &read.config.Decide)
		if err != nil {
			return nil, err
		}
		k.scope.Set(root, v)
	}
	k.compiler = config.NewConsole(k.source, root)
	return k, nil
}

// storedEvent reads an event of the log by its place, or the newest of a detector.
func (p program) storedEvent(ctx context.Context, o *options, name string) (expr.Value, error) {
	q := url.Values{"limit": {"1"}}
	seq, index, isPlace := strings.Cut(name, "/")
	if isPlace {
		n, err := strconv.Atoi(index)
		if err != nil || n < 0 {
			return expr.Value{}, usage("--event takes SEQ/INDEX, such as 120/3, or a detector, not %q", name)
		}
		q.Set("before", seq+"/"+strconv.Itoa(n+1))
	} else {
		q.Set("source", name)
	}
	var page api.EventPage
	err := p.with(ctx, o, func(k *client) error { return k.get(ctx, "/v1/events", q, &page) })
	if err != nil {
		return expr.Value{}, err
	}
	if len(page.Events) == 0 || isPlace && fmt.Sprintf("%d/%d", page.Events[0].Seq, page.Events[0].Index) != name {
		return expr.Value{}, &codeError{exitNothing, "there is no event " + name + " in the log; \"kelpie event list\" lists the newest"}
	}
	e := page.Events[0]
	raw := []byte(e.Raw)
	if len(raw) == 0 {
		raw = e.Bytes
	}
	v, err := match.Event(&model.Batch{Source: e.Source, Received: e.Received}, &model.Event{
		ID: e.ID, Revision: e.Revision, Raw: raw, Time: e.Time, Title: e.Title, Severity: e.Severity, Observables: e.Observables,
		Techniques: e.Techniques, Stopped: e.Stopped, Link: e.Link, Problem: e.Reason,
	})
	if err != nil {
		return expr.Value{}, fmt.Errorf("no expression sees the event %d/%d of %s: %w", e.Seq, e.Index, e.Source, err)
	}
	return v, nil
}

func (p program) storedCase(ctx context.Context, o *options, id string, s *decide.Settings) (expr.Value, error) {
	var e api.Explanation
	err := p.with(ctx, o, func(k *client) error { return k.get(ctx, "/v1/cases/"+url.PathEscape(id), nil, &e) })
	if err != nil {
		return expr.Value{}, err
	}
	stored := decide.Stored{Case: e.Case, Signals: e.Signals}
	for _, l := range e.Lookups {
		stored.Lookups = append(stored.Lookups, decide.StoredLookup(l))
	}
	return stored.Value(s), nil
}

// loop reads expressions until the input ends. What is wrong with one ends the loop
// only where nobody sits before it.
func (k *console) loop(ctx context.Context) error {
	person := isTerminalInput(k.in)
	lines := make(chan string)
	go func() { // reading a terminal cannot be cut: it ends with the program
		defer close(lines)
		for s := bufio.NewScanner(k.in); s.Scan(); {
			select {
			case lines <- strings.TrimSpace(s.Text()):
			case <-ctx.Done():
				return
			}
		}
	}()
	for {
		if person {
			fmt.Fprint(k.out, "> ")
		}
		select {
		case text, ok := <-lines:
			switch {
			case !ok:
				return nil
			case text == "":
			case text == "exit" && person:
				return nil
			default:
				if err := k.evaluate(text); err != nil && !person {
					return err
				}
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// evaluated is a result as JSON.
type evaluated struct {
	Value expr.Value `json:"value"`
	Type  string     `json:"type"`
}

// evaluate prints what an expression gives, or what is wrong with it.
func (k *console) evaluate(text string) error {
	program, diags := k.compiler.Compile(text)
	if diags.HasErrors() {
		if k.o.json {
			if err := config.WriteJSON(k.out, diags, k.listing(text)); err != nil {
				return err
			}
		} else if err := config.WriteText(k.err, diags, k.listing(text), isTerminal(k.err)); err != nil {
			return err
		}
		return &codeError{code: exitUsage}
	}
	v := program.Eval(&k.scope)
	if k.scope.Exceeded() {
		return fmt.Errorf("the expression takes too much work, and was given up: in a configuration its result would be null")
	}
	if k.o.json {
		return printJSON(k.out, evaluated{v, typeOf(v)})
	}
	if len(diags) > 0 {
		if err := config.WriteText(k.err, diags, k.listing(text), isTerminal(k.err)); err != nil {
			return err
		}
	}
	return k.print(v)
}

func (k *console) listing(text string) map[string]string {
	files := k.source.Listing()
	files[config.ConsoleName] = text
	return files
}

// print shows a value on one line, if it fits, and otherwise with its parts below one
// another.
func (k *console) print(v expr.Value) error {
	var out bytes.Buffer
	text := []byte(v.String())
	tail := "  (" + typeOf(v) + ")"
	if columns(string(text))+len(tail) > width && json.Indent(&out, text, "", "  ") == nil {
		text = out.Bytes()
		tail = "\n(" + typeOf(v) + ")"
	}
	_, err := fmt.Fprintln(k.out, string(escapeJSON(text))+tail)
	return err
}

func typeOf(v expr.Value) string {
	switch v.Kind() {
	case expr.StringKind:
		return "text"
	case expr.ListKind:
		return fmt.Sprintf("list of %d", v.Len())
	}
	return v.Kind().String()
}

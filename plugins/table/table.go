package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"github.com/kelpie-sec/kelpie/sdk"
	tables "github.com/kelpie-sec/kelpie/sdk/table"
)

// table answers from one file.
type table struct {
	config  config
	domains []string // canonical, each with a dot before it
	file    *tables.File
	log     *slog.Logger
	trouble atomic.Pointer[error]
	// reading is the shape of the table that is being read; only one is at a time.
	reading *shape
	// answering is the table that was asked last, with its shape.
	answering atomic.Pointer[content]

	stop    context.CancelFunc
	running sync.WaitGroup
}

// content is a table and how its rows are read.
type content struct {
	table *tables.Table
	shape *shape
}

// Config is filled from the block.
func (t *table) Config() any { return &t.config }

// Open reads the file and follows it from then on.
func (t *table) Open(_ context.Context, env sdk.Env) error {
	t.log = env.Log
	for _, domain := range t.config.Domains {
		canonical, err := sdk.Canonical(sdk.Domain, domain)
		if err != nil {
			return err
		}
		t.domains = append(t.domains, "."+canonical.Value)
	}
	options := tables.Options{Format: tables.Format(t.config.Format), Keys: t.keys, Check: t.check}
	options.Separator, _ = utf8.DecodeRuneInString(t.config.Separator)
	if t.config.Separator == "" {
		options.Separator = 0
	}
	var err error
	if t.file, err = tables.Open(string(t.config.Path), options); err != nil {
		return sdk.Diagnostic{Path: []string{"path"}, Summary: "the table cannot be read", Detail: err.Error()}
	}
	t.log.Info("table read", "path", string(t.config.Path), "rows", t.file.Table().Len(), "version", t.file.Table().Version())
	ctx, cancel := context.WithCancel(context.Background())
	t.stop = cancel
	t.running.Go(func() { t.file.Follow(ctx, t.config.Every, t.report) })
	return nil
}

// Close stops following the file.
func (t *table) Close() error {
	if t.stop != nil {
		t.stop()
	}
	t.running.Wait()
	return nil
}

// Health tells when the file on disk cannot be read and an older one answers.
func (t *table) Health(context.Context) error {
	if err := t.trouble.Load(); err != nil && *err != nil {
		return fmt.Errorf("the older table is in use: %w", *err)
	}
	return nil
}

func (t *table) report(err error) {
	t.trouble.Store(&err)
	if err != nil {
		t.log.Error("the table cannot be read; the older one stays in use", "error", err)
		return
	}
	t.log.Info("table read", "path", string(t.config.Path), "rows", t.file.Table().Len(), "version", t.file.Table().Version())
}

// keys is the first thing asked about a table that is being read.
func (t *table) keys(columns []string) (_ []tables.Key, err error) {
	if t.reading, err = t.config.shapeOf(columns); err != nil {
		return nil, err
	}
	return t.reading.keys, nil
}

// check reads each row once, so that a wrong cell is found when the file is read and
// not when it is needed.
func (t *table) check(row tables.Row) error {
	_, err := t.config.answer(t.reading, row)
	return err
}

// Enrich looks each question up. What is not in the file is not known to it.
func (t *table) Enrich(_ context.Context, questions []sdk.Question) ([]sdk.Reply, error) {
	current, err := t.content()
	if err != nil {
		return nil, err
	}
	replies := make([]sdk.Reply, len(questions))
	for i, question := range questions {
		replies[i] = t.reply(current, question)
	}
	return replies, nil
}

func (t *table) content() (*content, error) {
	newest := t.file.Table()
	if last := t.answering.Load(); last != nil && last.table == newest {
		return last, nil
	}
	s, err := t.config.shapeOf(newest.Columns())
	if err != nil {
		return nil, err
	}
	current := &content{table: newest, shape: s}
	t.answering.Store(current)
	return current, nil
}

func (t *table) reply(current *content, question sdk.Question) sdk.Reply {
	observable, err := sdk.Canonical(question.Observable.Kind, question.Observable.Value)
	if err != nil {
		return sdk.Reply{Err: &sdk.Error{Reason: sdk.Invalid, Fault: sdk.FaultInput, Err: err}}
	}
	match, ok := t.lookup(current.table, observable)
	if !ok {
		return sdk.Reply{}
	}
	var reply sdk.Reply
	for _, row := range match.Rows {
		answer, err := t.config.answer(current.shape, row)
		if err != nil { // check has seen each row
			return sdk.Reply{Err: err}
		}
		if !match.Exact {
			inherit(&answer, observable, match.Key)
		}
		reply.Answers = append(reply.Answers, answer)
	}
	// A network or a wildcard says nothing about one machine's other names, nor do
	// rows that disagree.
	if match.Exact && len(match.Rows) == 1 {
		reply.Found, reply.Aliases = related(current.shape, match.Rows[0], observable, question.At)
	}
	return reply
}

func (t *table) lookup(current *tables.Table, observable sdk.Observable) (tables.Match, bool) {
	match, ok := current.Lookup(observable.Kind, observable.Value)
	if observable.Kind != sdk.Host || ok && match.Exact {
		return match, ok
	}
	for _, domain := range t.domains {
		label, below := strings.CutSuffix(observable.Value, domain)
		if !below || strings.Contains(label, ".") {
			continue
		}
		if short, found := current.Lookup(sdk.Host, label); found && short.Exact {
			return short, true
		}
	}
	return match, ok
}

// inherit makes of a row about a network or a domain what it says about the one
// observable that was asked about: everything but the names, which are not its own. A
// name that many had would join their cases and could become a target.
func inherit(answer *sdk.Answer, asked sdk.Observable, key string) {
	if answer.Details == nil {
		answer.Details = map[string]any{}
	}
	answer.Details["matched"] = key
	keep := func(name string) {
		if name != "" {
			answer.Details["name"] = name
		}
	}
	switch {
	case answer.Asset != nil:
		keep(answer.Asset.Name)
		answer.Asset.Name, answer.Asset.FQDN, answer.Asset.IPs, answer.Asset.MACs = "", "", nil, nil
		switch asked.Kind {
		case sdk.Host:
			answer.Asset.Name = asked.Value
		case sdk.IP:
			answer.Asset.IPs = []string{asked.Value}
		}
	case answer.Identity != nil:
		keep(answer.Identity.Name)
		answer.Identity.Name, answer.Identity.UPN, answer.Identity.Mail, answer.Identity.SID = "", "", "", ""
		if asked.Kind == sdk.Email {
			answer.Identity.Mail = asked.Value
		}
	}
}

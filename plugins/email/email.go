package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/mail"
	"os"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

// mailer sends by one server.
type mailer struct {
	config  config
	server  server
	tls     *tls.Config
	from    mail.Address
	replyTo mail.Address
	hello   string
	log     *slog.Logger
}

// Config is filled from the block.
func (m *mailer) Config() any { return &m.config }

// Open prepares what every mail needs; it connects to nothing.
func (m *mailer) Open(_ context.Context, env sdk.Env) error {
	m.log = env.Log
	var err error
	if m.server, err = parseServer(m.config.Server); err != nil {
		return sdk.Diagnostic{Path: []string{"server"}, Summary: "server " + err.Error()}
	}
	if m.from, err = parseAddress(m.config.From); err != nil {
		return sdk.Diagnostic{Path: []string{"from"}, Summary: err.Error()}
	}
	if m.config.ReplyTo != "" {
		if m.replyTo, err = parseAddress(m.config.ReplyTo); err != nil {
			return sdk.Diagnostic{Path: []string{"reply_to"}, Summary: err.Error()}
		}
	}
	if m.tls, err = m.config.tls(m.server); err != nil {
		return sdk.Diagnostic{Path: []string{"ca_file"}, Summary: "the certificates cannot be read", Detail: err.Error()}
	}
	m.hello = "localhost"
	if name := m.config.Hello; name != "" {
		m.hello = name
	} else if name, err := os.Hostname(); err == nil {
		if host, err := sdk.Canonical(sdk.Host, name); err == nil && !strings.Contains(host.Value, " ") {
			m.hello = host.Value
		}
	}
	return nil
}

// Execute sends one mail to the target's address.
func (m *mailer) Execute(ctx context.Context, call sdk.Call) (sdk.Result, error) {
	to, err := parseAddress(call.Target.Value)
	if err != nil {
		return sdk.Result{Outcome: sdk.OutcomeRefused, Message: fmt.Sprintf("%q is no mail address: %v", sdk.Visible(call.Target.Value), err)}, nil
	}
	given := call.Parameters.(*parameters)
	now := time.Now()
	page, err := newPage(given, call.Attempt > 1, now, domain(m.from))
	if err != nil {
		return sdk.Result{Outcome: sdk.OutcomeRefused, Message: err.Error()}, nil
	}
	letter := letter{
		from: m.from, replyTo: m.replyTo, to: to,
		id: messageID(call.Key, m.from), subject: page.subjectLine(m.config.Prefix), date: now,
		thread: newThread(page.Thread, page.Joined, m.from), list: listID(m.from),
	}
	if letter.text, letter.html, err = page.render(); err != nil {
		return sdk.Result{}, err
	}
	if call.DryRun {
		return sdk.Result{Outcome: sdk.OutcomeDone, Reference: letter.id, Message: fmt.Sprintf("would mail %s to %s by %s", letter.subject, to.Address, m.server.address())}, nil
	}
	return m.send(ctx, &letter, call.NotAfter), nil
}

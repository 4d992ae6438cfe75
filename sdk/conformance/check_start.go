package conformance

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kelpie-sec/kelpie/sdk"
	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
)

// endLimit is how long a process may take to end when its standard input has ended.
const endLimit = 2 * time.Second

// startChecks are about the process: how it begins, what it says of itself, how it ends.
func startChecks() []Check {
	return []Check{
		{
			Name: "handshake", run: handshake,
			Why: "Kelpie reads where the plugin listens from the first line that it prints; anything else before it, and the plugin does not start.",
		},
		{
			Name: "client_certificate", run: clientCertificate,
			Why: "Whoever can reach the socket could otherwise call the plugin and get at what its credentials open.",
		},
		{
			Name: "describe", run: describeStable,
			Why: "Kelpie keeps what a plugin says of itself beside its lock and checks configurations by it without starting the plugin.",
		},
		{
			Name: "schema", run: schemaValid,
			Why: "Kelpie refuses a plugin whose description contradicts itself, and operators read it as documentation.",
		},
		{
			Name: "input_end", run: inputEnd, timed: true,
			Why: "The end of its standard input is how a plugin learns that Kelpie was killed; one that stays goes on acting with nobody in charge.",
		},
	}
}

func handshake(ctx context.Context, t *trial) error {
	began := time.Now()
	p, err := t.start(ctx)
	if err != nil {
		t.broken = true
		return err
	}
	_, err = t.described(ctx, p)
	if err != nil {
		t.broken = true
		return p.told(fail("Serve kelpie.plugin.v1.PluginService on the socket, with TLS as the handshake says.",
			"the handshake was made after %s, but Describe is answered: %s", time.Since(began).Round(time.Millisecond), text(err)))
	}
	return nil
}

func (t *trial) described(ctx context.Context, p *process) (*pluginv1.DescribeResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	return p.plugin.Describe(ctx, &pluginv1.DescribeRequest{})
}

func clientCertificate(ctx context.Context, t *trial) error {
	p, err := t.start(ctx)
	if err != nil {
		return err
	}
	socket, certificate, err := parseHandshake(p.line, p.dir)
	if err != nil {
		return err
	}
	conn, err := dial(socket, certificate, nil, t.seen)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	if _, err := pluginv1.NewPluginServiceClient(conn).Describe(ctx, &pluginv1.DescribeRequest{}); err == nil {
		return fail("Require and verify a client certificate, with the one in $PLUGIN_CLIENT_CERT as the only root.",
			"it answered a caller that showed no certificate")
	}
	return nil
}

func describeStable(ctx context.Context, t *trial) error {
	const do = "Describe must depend on the executable alone: not on time, environment, files or calls before it."
	var first *pluginv1.DescribeResponse
	for n := range 2 {
		p, err := t.start(ctx)
		if err != nil {
			return err
		}
		for range 2 {
			got, err := t.described(ctx, p)
			switch {
			case err != nil:
				return p.told(fail(do, "Describe is answered: %s", text(err)))
			case first == nil:
				first = got
			case !proto.Equal(first, got) && n == 0:
				return fail(do, "two calls of one process are answered differently")
			case !proto.Equal(first, got):
				return fail(do, "a second process of the same file describes itself differently")
			}
		}
	}
	return nil
}

// inputEnd ends the input of an idle process, and of one with a session.
func inputEnd(ctx context.Context, t *trial) error {
	const do = "Read the standard input until it ends, and then exit within 1.5 seconds, whatever still runs."
	p, err := t.start(ctx)
	if err != nil {
		return err
	}
	if err := p.stdin.Close(); err != nil {
		return err
	}
	if !p.endsWithin(endLimit) {
		return fail(do, "%s after the end of its standard input it still runs", endLimit)
	}
	for n := range t.settings.Instances {
		i := &t.settings.Instances[n]
		if i.Kind != sdk.KindDetector || connectorOf(t.about, i) == nil {
			continue
		}
		own := &trial{suite: t.suite, check: t.check, instance: i}
		if err := own.inputEndsInSession(ctx, do); err != nil {
			own.end()
			return err
		}
		own.end()
	}
	return nil
}

func (t *trial) inputEndsInSession(ctx context.Context, do string) error {
	p, err := t.configured(ctx)
	if err != nil {
		return err
	}
	s, err := p.open(ctx, t.instance.Name, sessionStart{})
	if err != nil {
		return err
	}
	defer s.end()
	_, _ = s.next(sessionBegins)
	if err := p.stdin.Close(); err != nil {
		return err
	}
	if !p.endsWithin(endLimit) {
		return fail(do, "with a session of %s open it still runs %s after the end of its standard input", t.instance.Name, endLimit)
	}
	return nil
}

package conformance

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
)

// settling is how long what was printed may take to arrive.
const settling = 300 * time.Millisecond

// outputChecks look at all that the plugin said during the others.
func outputChecks() []Check {
	return []Check{
		{
			Name: "stdout", run: cleanOutput,
			Why: "The standard output carries the handshake and nothing else; what is printed there is lost to people, and breaks the start if it comes first.",
		},
		{
			Name: "secrets", run: noSecrets,
			Why: "Logs and errors go to places with more readers than the vault. Kelpie scrubs what it knows; a plugin must not count on it.",
		},
	}
}

// cleanOutput has every instance do something once more, since checks may have been left out.
func cleanOutput(ctx context.Context, t *trial) error {
	p, err := t.start(ctx)
	if err != nil {
		return err
	}
	for n := range t.settings.Instances {
		i := &t.settings.Instances[n]
		if connectorOf(t.about, i) == nil || p.configure(ctx, i, i.Name) != nil {
			continue
		}
		own := &trial{suite: t.suite, check: t.check, instance: i}
		_, _ = own.observe(ctx, p, i.Name) // what it says is for others to check
		_ = p.close(ctx, i.Name)
	}
	p.endsWithin(settling)
	printed, more := t.seen.printed()
	if len(printed) == 0 {
		return nil
	}
	if more > 0 {
		printed = append(printed, fmt.Sprintf("and %d more lines", more))
	}
	return fail("Log to the standard error; in Go by Env.Log or slog.", "it printed %s", strings.Join(printed, ", "))
}

// noSecrets provokes complaints about secrets, with values made up, and then looks at what
// was said since the beginning.
func noSecrets(ctx context.Context, t *trial) error {
	p, err := t.start(ctx)
	if err != nil {
		return err
	}
	secrets := 0
	for _, of := range t.subjects() {
		for _, b := range t.bodies(of) {
			for _, a := range b.schema.GetAttributes() {
				if !a.GetSecret() {
					continue
				}
				secrets++
				made := "secret-" + strings.ToLower(rand.Text())
				t.seen.know(made)
				for _, value := range []any{made, []any{made}, map[string]any{made: made}} {
					t.provoke(ctx, p, of, b, a, value)
				}
			}
		}
	}
	p.endsWithin(settling)
	if secrets == 0 {
		return skipf("no attribute is a secret")
	}
	if leaks := t.seen.leaked(); len(leaks) > 0 {
		return fail("Keep secrets out of texts: log names and not configurations, and take the query and the headers out of the errors of HTTP.",
			"the value of a secret is in %s", strings.Join(leaks, ", in "))
	}
	return nil
}

// provoke configures an instance with a secret that may be wrong beside something that is.
func (t *trial) provoke(ctx context.Context, p *process, of subject, b body, a *pluginv1.Attribute, value any) {
	values := change(b.values, a.GetName(), value)
	for _, values := range []map[string]any{values, change(values, "no_such_attribute", "x")} {
		config, connection := of.with(b, values)
		_, _ = p.tryConfigure(ctx, of.kind(), of.connector.GetName(), "secret", config, connection)
	}
	_ = p.close(ctx, "secret")
}

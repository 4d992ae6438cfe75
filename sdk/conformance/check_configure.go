package conformance

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/kelpie-sec/kelpie/sdk"
	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
)

// configureChecks are about configurations: how wrong ones are refused, and that instances
// are apart and end.
func configureChecks() []Check {
	return []Check{
		{
			Name: "unknown_attribute", run: unknownAttribute,
			Why: "A misspelt attribute that is silently ignored leaves an operator with a setting that does nothing.",
		},
		{
			Name: "missing_attribute", run: missingAttribute,
			Why: "An operator is shown the line that is wrong only if the complaint carries the attribute's path.",
		},
		{
			Name: "wrong_type", run: wrongType,
			Why: "A value of another type must be refused where it stands, not fail when it is first used.",
		},
		{
			Name: "isolation", of: eachInstance, run: isolation,
			Why: "One process serves many instances; what one of them has must not reach another.",
		},
		{
			Name: "close", of: eachInstance, run: closes,
			Why: "Kelpie closes instances at every reload and again when it is not sure that it has; that must end them and harm nothing.",
		},
	}
}

const refuseDo = "Refuse it in Configure's answer: an error diagnostic whose path names the attribute. The Go SDK does so by itself."

// refused holds the plugin to a complaint at a path, and puts right what it took.
func (t *trial) refused(ctx context.Context, p *process, of subject, b body, values map[string]any, path []string, what string) error {
	const id = "refused"
	config, connection := of.with(b, values)
	found, err := p.tryConfigure(ctx, of.kind(), of.connector.GetName(), id, config, connection)
	if err != nil {
		return p.told(fail(refuseDo, "%s: %s is answered by an error, not by a diagnostic: %s", of.label, what, text(err)))
	}
	var wrong []string
	for _, d := range found {
		if d.GetSeverity() == pluginv1.Severity_SEVERITY_WARNING {
			continue
		}
		if d.GetConnection() == b.connection && slices.Equal(d.GetPath(), path) {
			return nil
		}
		at := "about the whole block"
		if len(d.GetPath()) > 0 {
			at = "at " + strings.Join(d.GetPath(), ".")
		}
		wrong = append(wrong, fmt.Sprintf("%q %s", clip(d.GetSummary()), at))
	}
	if len(wrong) == 0 {
		_ = p.close(ctx, id)
		return fail(refuseDo, "%s: %s is taken without a complaint", of.label, what)
	}
	return fail(refuseDo, "%s: %s has no complaint at %s, only %s", of.label, what, strings.Join(path, "."), strings.Join(wrong, ", "))
}

func unknownAttribute(ctx context.Context, t *trial) error {
	const name = "no_such_attribute"
	p, err := t.start(ctx)
	if err != nil {
		return err
	}
	for _, of := range t.subjects() {
		for _, b := range t.bodies(of) {
			if err := t.refused(ctx, p, of, b, change(b.values, name, "x"), []string{name}, "an attribute that there is not"); err != nil {
				return err
			}
			for _, inner := range b.schema.GetBlocks() {
				if inner.GetNesting() != pluginv1.BlockNesting_BLOCK_NESTING_SINGLE {
					continue
				}
				nested, ok := b.values[inner.GetName()].(map[string]any)
				if !ok {
					nested = sample(inner.GetSchema())
				}
				values := change(b.values, inner.GetName(), change(nested, name, "x"))
				if err := t.refused(ctx, p, of, b, values, []string{inner.GetName(), name}, "an attribute that there is not, in a block"); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func missingAttribute(ctx context.Context, t *trial) error {
	p, err := t.start(ctx)
	if err != nil {
		return err
	}
	required := 0
	for _, of := range t.subjects() {
		for _, b := range t.bodies(of) {
			for _, a := range b.schema.GetAttributes() {
				if !a.GetRequired() {
					continue
				}
				required++
				values := change(b.values, a.GetName(), nil)
				if err := t.refused(ctx, p, of, b, values, []string{a.GetName()}, "a configuration without "+a.GetName()); err != nil {
					return err
				}
			}
		}
	}
	if required == 0 {
		return skipf("no attribute is required")
	}
	return nil
}

func wrongType(ctx context.Context, t *trial) error {
	p, err := t.start(ctx)
	if err != nil {
		return err
	}
	typed := 0
	for _, of := range t.subjects() {
		for _, b := range t.bodies(of) {
			for _, a := range b.schema.GetAttributes() {
				wrong := wrongValue(a)
				if wrong == nil {
					continue
				}
				typed++
				if err := t.refused(ctx, p, of, b, change(b.values, a.GetName(), wrong), []string{a.GetName()}, "a value of the wrong type for "+a.GetName()); err != nil {
					return err
				}
			}
		}
	}
	if typed == 0 {
		return skipf("no attribute has a type")
	}
	return nil
}

// isolation compares what an instance says alone with what it says in company, and after
// others were refused and closed.
func isolation(ctx context.Context, t *trial) error {
	const do = "Keep everything that comes from a configuration in the instance that it belongs to, by the instance's name in each request."
	alone, err := t.configured(ctx)
	if err != nil {
		return err
	}
	want, err := t.observe(ctx, alone, t.instance.Name)
	if err != nil {
		return err
	}
	again, err := t.observe(ctx, alone, t.instance.Name)
	if err != nil {
		return err
	}
	alone.kill()

	p, err := t.configured(ctx)
	if err != nil {
		return err
	}
	for n := range t.settings.Instances {
		if other := &t.settings.Instances[n]; connectorOf(t.about, other) != nil {
			if err := p.configure(ctx, other, other.Name+"~2"); err != nil {
				return err
			}
		}
	}
	same := func(when string) error {
		got, err := t.observe(ctx, p, t.instance.Name)
		switch {
		case err != nil:
			return fail(do, "%s it no longer works: %v", when, err)
		case got != want && want == again: // or else the source itself says one thing and then another
			return fail(do, "%s it says %q, and alone %q", when, clip(got), clip(want))
		}
		return nil
	}
	if err := same("beside other instances"); err != nil {
		return err
	}
	found, err := p.tryConfigure(ctx, t.instance.Kind, t.instance.Connector, t.instance.Name, []byte(`"no object"`), nil)
	if err == nil && len(found) == 0 {
		return fail(refuseDo, "a configuration that is a text and no object is taken")
	}
	if err := same("after a new configuration was refused"); err != nil {
		return err
	}
	for n := range t.settings.Instances {
		if err := p.close(ctx, t.settings.Instances[n].Name+"~2"); err != nil {
			return p.told(fail(do, "closing another instance is answered: %s", text(err)))
		}
	}
	if err := same("after others were closed"); err != nil {
		return err
	}
	return t.strangers(ctx, p)
}

// strangers are instances that were never configured.
func (t *trial) strangers(ctx context.Context, p *process) error {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	const ghost = "never.configured"
	var err error
	switch t.instance.Kind {
	case sdk.KindDetector:
		s, opened := p.open(ctx, ghost, sessionStart{credit: 1})
		if opened != nil {
			return nil
		}
		defer s.end()
		if s.endsWithin(callLimit) {
			err = s.err
		}
	case sdk.KindEnrichment:
		_, err = p.enrich.Enrich(ctx, &pluginv1.EnrichRequest{Instance: ghost, Questions: questionsOf(t.questions()[:1])})
	case sdk.KindAction:
		_, err = p.act.Execute(ctx, t.request(t.acts()[0], ghost, newKey(), true))
	}
	if err == nil {
		return fail("Answer NOT_FOUND for an instance that is not configured.", "a call for an instance that was never configured is answered as if it were")
	}
	return nil
}

func closes(ctx context.Context, t *trial) error {
	const do = "Closing an instance that is closed, or was never there, is no error; afterwards it can be configured again."
	p, err := t.configured(ctx)
	if err != nil {
		return err
	}
	for _, step := range []struct{ id, what string }{
		{t.instance.Name, "Close"}, {t.instance.Name, "a second Close"}, {"never.configured", "Close of an instance that never was"},
	} {
		if err := p.close(ctx, step.id); err != nil {
			return p.told(fail(do, "%s is answered: %s", step.what, text(err)))
		}
	}
	if _, err := t.observe(ctx, p, t.instance.Name); err == nil {
		return fail("Answer NOT_FOUND for an instance that is closed.", "after Close it still answers")
	}
	if err := p.configure(ctx, t.instance, t.instance.Name); err != nil {
		return fail(do, "after Close it cannot be configured again: %v", err)
	}
	if _, err := t.observe(ctx, p, t.instance.Name); err != nil {
		return fail(do, "configured again after Close it does not work: %v", err)
	}
	return nil
}

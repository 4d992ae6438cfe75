package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
)

var (
	nameForm    = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)
	versionForm = regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)([-+][0-9A-Za-z.+-]{1,64})?$`)
	bracesForm  = regexp.MustCompile(`\{([^{}]*)\}`)
)

// schemaValid collects everything that is wrong with the description.
func schemaValid(_ context.Context, t *trial) error {
	v := &describer{about: t.about}
	v.plugin()
	if len(v.wrong) > 0 {
		return fail("Correct what Describe answers; sdk/proto/kelpie/plugin/v1 says what each field may hold.", "%s", strings.Join(v.wrong, "; "))
	}
	return nil
}

// describer holds a description to the contract.
type describer struct {
	about *pluginv1.DescribeResponse
	wrong []string
}

func (v *describer) complain(format string, args ...any) {
	v.wrong = append(v.wrong, fmt.Sprintf(format, args...))
}

func (v *describer) plugin() {
	d := v.about
	if !nameForm.MatchString(d.GetName()) {
		v.complain("the name %q is not lower-case letters, digits and _", clip(d.GetName()))
	}
	if !versionForm.MatchString(d.GetVersion()) {
		v.complain("the version %q is no semantic version", clip(d.GetVersion()))
	}
	if len(d.GetConnectors()) == 0 {
		v.complain("it offers no connector")
	}
	if d.GetConnection() != nil {
		v.schema("the connection", d.GetConnection(), true)
	}
	seen := map[string]bool{}
	for _, c := range d.GetConnectors() {
		label := labelOf(c)
		if seen[label] {
			v.complain("there are two of %s", label)
		}
		seen[label] = true
		v.connector(label, c)
	}
	v.permissions()
}

// labelOf names a connector for people.
func labelOf(c *pluginv1.Connector) string {
	return strings.TrimSpace(sdk.Kind(c.GetKind()).String() + " " + c.GetName())
}

func (v *describer) connector(label string, c *pluginv1.Connector) {
	if c.GetName() != "" && !nameForm.MatchString(c.GetName()) {
		v.complain("%s: that is no name", label)
	}
	if c.GetSummary() == "" {
		v.complain("%s has no summary", label)
	}
	v.schema(label, c.GetSchema(), true)
	switch sdk.Kind(c.GetKind()) {
	case sdk.KindDetector:
		if c.GetCursorVersion() < 0 {
			v.complain("%s: its cursor_version is negative", label)
		}
	case sdk.KindEnrichment:
		if len(c.GetTakes()) == 0 {
			v.complain("%s takes no kind of observable, so that it is never asked", label)
		}
		v.kinds(label, c.GetTakes(), false)
		if c.GetBatchLimit() < 0 || c.GetDefaultTtlSeconds() < 0 {
			v.complain("%s: batch_limit or default_ttl_seconds is negative", label)
		}
	case sdk.KindAction:
		v.verbs(label, c.GetVerbs())
	default:
		v.complain("%s: there is no such kind", label)
	}
}

func (v *describer) kinds(label string, kinds []string, targets bool) {
	for _, kind := range kinds {
		if !slices.Contains(sdk.Kinds(), kind) && (!targets || kind != "address") {
			v.complain("%s takes %q, which is no kind", label, clip(kind))
		}
	}
}

func (v *describer) verbs(label string, verbs []*pluginv1.Verb) {
	if len(verbs) == 0 {
		v.complain("%s has no verbs", label)
	}
	seen := map[string]bool{}
	for _, verb := range verbs {
		name := verb.GetName()
		own, isOwn := strings.CutPrefix(name, v.about.GetName()+".")
		if !slices.Contains(sdk.Verbs(), name) && (!isOwn || !nameForm.MatchString(own)) {
			v.complain("%s: the contract has no verb %q; one of your own begins with %q", label, clip(name), v.about.GetName()+".")
		}
		if seen[name] {
			v.complain("%s has the verb %q twice", label, clip(name))
		}
		seen[name] = true
		v.kinds(label+", "+name, verb.GetTargets(), true)
		v.schema(label+", "+name, verb.GetParameters(), false)
		if s := verb.GetSettleSeconds(); s < 0 || s > 24*60*60 {
			v.complain("%s, %s: settle_seconds is not between 0 and a day", label, name)
		}
	}
}

// coreAttributes are Kelpie's own in every connector's block.
func coreAttributes() []string {
	return []string{
		"enabled", "connection", "takes", "internal", "ttl", "patience", "limit",
		"timeout", "isolation", "env", "health", "shadow", "on_failure",
	}
}

// maxDepth bounds how deep blocks and types nest.
const maxDepth = 16

func (v *describer) schema(label string, s *pluginv1.Schema, block bool) { v.body(label, s, block, 0) }

func (v *describer) body(label string, s *pluginv1.Schema, top bool, depth int) {
	if depth > maxDepth {
		v.complain("%s: blocks nest deeper than %d", label, maxDepth)
		return
	}
	seen := map[string]bool{}
	named := func(name string) {
		switch {
		case !nameForm.MatchString(name):
			v.complain("%s: %q is no name of an attribute or block", label, clip(name))
		case seen[name]:
			v.complain("%s has %q twice", label, name)
		case top && slices.Contains(coreAttributes(), name):
			v.complain("%s has an attribute %q, which is Kelpie's own in every block", label, name)
		}
		seen[name] = true
	}
	for _, a := range s.GetAttributes() {
		named(a.GetName())
		if err := checkAttribute(a); err != nil {
			v.complain("%s, attribute %q: %v", label, clip(a.GetName()), err)
		}
		if a.GetRenamedFrom() != "" {
			named(a.GetRenamedFrom())
		}
	}
	for _, b := range s.GetBlocks() {
		named(b.GetName())
		if n := b.GetNesting(); n < pluginv1.BlockNesting_BLOCK_NESTING_SINGLE || n > pluginv1.BlockNesting_BLOCK_NESTING_MAP {
			v.complain("%s, block %q has no nesting that is known", label, clip(b.GetName()))
		}
		v.body(label+", block "+b.GetName(), b.GetSchema(), false, depth+1)
	}
}

func checkAttribute(a *pluginv1.Attribute) error {
	if a.GetDoc() == "" {
		return errors.New("it has no doc, by which operators know what to write")
	}
	if err := checkType(a.GetType(), 0); err != nil {
		return err
	}
	if a.GetRequired() && len(a.GetDefault()) > 0 {
		return errors.New("it is required and has a default")
	}
	if a.GetSecret() && len(a.GetDefault()) > 0 {
		return errors.New("it is a secret and has a default")
	}
	for _, given := range []struct{ what, text string }{{"default", string(a.GetDefault())}, {"example", a.GetExample()}} {
		if given.text == "" {
			continue
		}
		value, err := parseJSON([]byte(given.text))
		if err != nil {
			return fmt.Errorf("its %s is no JSON", given.what)
		}
		if !ofType(value, a.GetType()) {
			return fmt.Errorf("its %s %s is not of its type", given.what, clip(given.text))
		}
		if text, ok := value.(string); ok && len(a.GetOneOf()) > 0 && !slices.Contains(a.GetOneOf(), text) {
			return fmt.Errorf("its %s %q is not in one_of", given.what, clip(text))
		}
	}
	return nil
}

func checkType(t *pluginv1.Type, depth int) error {
	kind := t.GetKind()
	if depth > maxDepth || kind <= pluginv1.Kind_KIND_UNSPECIFIED || kind > pluginv1.Kind_KIND_PATH {
		return errors.New("it has no type that is known")
	}
	if kind == pluginv1.Kind_KIND_LIST || kind == pluginv1.Kind_KIND_MAP {
		return checkType(t.GetElement(), depth+1)
	}
	return nil
}

// ofType tells whether a JSON value is of a type.
func ofType(value any, t *pluginv1.Type) bool {
	switch t.GetKind() {
	case pluginv1.Kind_KIND_ANY:
		return true
	case pluginv1.Kind_KIND_INTEGER, pluginv1.Kind_KIND_NUMBER:
		_, ok := value.(json.Number)
		return ok
	case pluginv1.Kind_KIND_BOOL:
		_, ok := value.(bool)
		return ok
	case pluginv1.Kind_KIND_DURATION:
		text, ok := value.(string)
		return ok && isDuration(text)
	case pluginv1.Kind_KIND_LIST:
		all, ok := value.([]any)
		return ok && !slices.ContainsFunc(all, func(v any) bool { return !ofType(v, t.GetElement()) })
	case pluginv1.Kind_KIND_MAP:
		all, ok := value.(map[string]any)
		for _, v := range all {
			ok = ok && ofType(v, t.GetElement())
		}
		return ok
	}
	_, ok := value.(string)
	return ok
}

// isDuration takes "10s", "24h" and "7d".
func isDuration(text string) bool {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		text = days + "h"
	}
	_, err := time.ParseDuration(text)
	return err == nil
}

func parseJSON(data []byte) (value any, err error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	err = d.Decode(&value)
	return value, err
}

// permissions name attributes in braces.
func (v *describer) permissions() {
	attributes := slices.Clone(v.about.GetConnection().GetAttributes())
	for _, c := range v.about.GetConnectors() {
		attributes = append(attributes, c.GetSchema().GetAttributes()...)
	}
	p := v.about.GetPermissions()
	for _, permission := range slices.Concat(p.GetRead(), p.GetWrite(), p.GetNetwork()) {
		for _, braces := range bracesForm.FindAllStringSubmatch(permission, -1) {
			if !slices.ContainsFunc(attributes, func(a *pluginv1.Attribute) bool { return a.GetName() == braces[1] }) {
				v.complain("the permission %q names an attribute that no block has", clip(permission))
			}
		}
	}
}

package config

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/kelpie-sec/kelpie/core/enrich"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// replied reads the reply of an answer block: what it says, or why it says nothing.
func (p *parser) replied(t, a *section) model.Reply {
	var out model.Reply
	for _, name := range []string{"verdict", "asset", "identity", "network"} {
		e := a.expr(name)
		if e == nil {
			continue
		}
		var answer model.Answer
		var fields any
		switch name {
		case "verdict":
			answer.Verdict = &model.Verdict{Disposition: sdk.Unknown}
			fields = answer.Verdict
		case "asset":
			answer.Asset = &model.Asset{}
			fields = answer.Asset
		case "identity":
			answer.Identity = &model.Identity{}
			fields = answer.Identity
		case "network":
			answer.Network = &model.Network{}
			fields = answer.Network
		}
		if !p.answerFields(e, name, fields) {
			t.broken = true
			continue
		}
		out.Answers = append(out.Answers, answer)
	}
	out.Found = p.found(t, a)
	state := a.text("state", "")
	says := slices.ContainsFunc([]string{"verdict", "asset", "identity", "network", "found"}, a.has)
	switch {
	case state == "" && !says && !a.broken:
		p.errorf(a.header(), "Says nothing", "Write what it says, such as asset = { owner = \"kim\" }, or what comes instead: state = \"failed\".")
		t.broken = true
	case state != "" && says && state != string(model.Clean):
		p.errorf(a.place("state"), "Two answers", "What is %q says nothing else: remove the line, or the rest.", state)
		t.broken = true
	case state != "":
		out.State = model.AnswerState(state)
		if out.State == model.Failed {
			out.Reason = "as the test says"
		}
		if out.State == model.Clean && !says {
			out.Answers = []model.Answer{{Verdict: &model.Verdict{Disposition: sdk.Benign, Confidence: 100}}}
		}
	default:
		out.State = enrich.StateOf(enrich.Answer{Answers: out.Answers, Found: out.Found})
	}
	return out
}

// found reads the further values that an answer names.
func (p *parser) found(t, a *section) []model.Found {
	e := a.expr("found")
	if e == nil || p.rehearsal == nil && len(callsOf(e, "file", "env")) > 0 {
		return nil
	}
	v, ok := p.constant(e)
	all, wrong := observed(v, sdk.NoRole)
	if ok && wrong != "" {
		p.errorf(e.Range(), "Not a value", "%s", sentence(wrong))
	}
	t.broken = t.broken || !ok || wrong != ""
	var found []model.Found
	for _, o := range all {
		found = append(found, model.Found{Observable: o})
	}
	return found
}

// answerFields reads an object into an answer's fields, and complains at the place of
// what does not fit.
func (p *parser) answerFields(e hclsyntax.Expression, name string, into any) bool {
	if p.rehearsal == nil && len(callsOf(e, "file", "env")) > 0 {
		return true // files of tests are read when these are run
	}
	v, ok := p.constant(e)
	if !ok {
		return false
	}
	if !p.check(v, model.Type{Kind: "map"}, `"`+name+`"`, e) {
		return false
	}
	known := jsonNames(into)
	for key := range v.Fields() {
		if !slices.Contains(known, key) {
			at, found := fieldOf(e, key)
			if !found {
				at = e
			}
			p.errorf(at.Range(), "Unknown field", "%s has no %q. %s", sentence(article(name)), key, suggest(key, known))
			return false
		}
	}
	text, _ := v.MarshalJSON()
	err := json.Unmarshal(text, into)
	if err == nil {
		return p.disposition(e, into)
	}
	detail, at := err.Error(), e
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		field, _, _ := strings.Cut(wrong.Field, ".")
		if inner, found := fieldOf(e, field); found {
			at = inner
		}
		detail = "\"" + wrong.Field + "\" takes " + goWords(wrong.Type) + ", and this is a " + strings.Replace(wrong.Value, "string", "text", 1)
	}
	p.errorf(at.Range(), "Wrong type", "%s.", sentence(detail))
	return false
}

func (p *parser) disposition(e hclsyntax.Expression, into any) bool {
	v, ok := into.(*model.Verdict)
	if !ok {
		return true
	}
	words := []string{string(sdk.Unknown), string(sdk.Benign), string(sdk.Suspicious), string(sdk.Malicious)}
	if !slices.Contains(words, string(v.Disposition)) {
		at, found := fieldOf(e, "disposition")
		if !found {
			at = e
		}
		p.errorf(at.Range(), "Not one of its values", "%s", strings.TrimSpace("\"disposition\" takes "+oneOf(words)+". "+meant(string(v.Disposition), words)))
		return false
	}
	for name, n := range map[string]int{"score": v.Score, "confidence": v.Confidence} {
		if n < 0 || n > 100 {
			at, found := fieldOf(e, name)
			if !found {
				at = e
			}
			p.errorf(at.Range(), "Out of range", "%q is 0 to 100.", name)
			return false
		}
	}
	return true
}

// jsonNames are the names that a struct's fields have in JSON.
func jsonNames(of any) []string {
	t := reflect.TypeOf(of).Elem()
	var names []string
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}

// goWords is a type of Go's for people.
func goWords(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "a list"
	case reflect.Map, reflect.Struct:
		return "an object"
	}
	return "a text"
}

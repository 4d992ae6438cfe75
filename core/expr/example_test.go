package expr_test

import (
	"fmt"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/kelpie-sec/kelpie/core/expr"
)

// event is what a pipeline gives to expressions: fields that Go knows, and the payload as it came.
type event struct {
	title   string
	payload expr.Document
}

func (e *event) Field(name string) expr.Value {
	switch name {
	case "title":
		return expr.String(e.title)
	case "raw":
		return e.payload.Value()
	}
	return expr.Value{}
}

func (e *event) Names() []string { return []string{"raw", "title"} }

func parse(source string) hcl.Expression {
	e, diags := hclsyntax.ParseExpression([]byte(source), "kelpie.hcl", hcl.InitialPos)
	if diags.HasErrors() {
		panic(diags)
	}
	return e
}

// A pipeline compiles its condition once, and has one Scope and one event for each worker.
func Example_condition() {
	env := expr.Env{
		Roots: map[string]*expr.Shape{"event": {Kind: expr.ObjectKind, Fields: map[string]*expr.Shape{
			"title": {Kind: expr.StringKind},
			"raw":   nil, // free-form
		}}},
		Index: expr.NewIndex("event", "raw"),
		Want:  expr.BoolKind,
	}
	when, diags := expr.Compile(parse(`event.raw.event_type == "alert" && event.raw.alert.severity <= 2`), env)
	if diags.HasErrors() {
		panic(diags)
	}
	var current event
	var scope expr.Scope
	scope.Set("event", expr.Record(&current))
	scope.SetDocument(&current.payload)
	plan := expr.NewPlan(when)
	for _, line := range []string{
		`{"event_type": "alert", "alert": {"severity": 1}}`,
		`{"event_type": "alert", "alert": {"severity": 3}}`,
		`{"event_type": "alert"}`,
	} {
		if err := current.payload.Read([]byte(line), plan); err != nil {
			panic(err)
		}
		fmt.Println(when.Truth(&scope))
	}

	_, diags = expr.Compile(parse(`event.tittle == "x"`), env)
	fmt.Println(diags)
	// Output:
	// true
	// false
	// null
	// kelpie.hcl:1,6-13: Unknown field; Here there is no field "tittle"; did you mean "title"?
}

// A score goes through a list, and reads each element's fields by their known names.
func Example_score() {
	verdict := &expr.Shape{Kind: expr.ObjectKind, Fields: map[string]*expr.Shape{
		"source": {Kind: expr.StringKind}, "score": {Kind: expr.NumberKind}, "confidence": {Kind: expr.NumberKind},
	}}
	env := expr.Env{Roots: map[string]*expr.Shape{
		"case": {Kind: expr.ObjectKind, Fields: map[string]*expr.Shape{"verdicts": {Kind: expr.ListKind, Elem: verdict}}},
	}}
	forEach, _ := expr.Compile(parse(`case.verdicts`), env)
	env.Roots["each"] = &expr.Shape{Kind: expr.ObjectKind, Fields: map[string]*expr.Shape{"value": forEach.Shape().Elem}}
	points, _ := expr.Compile(parse(`each.value.score * each.value.confidence / 100`), env)
	because, _ := expr.Compile(parse(`"${each.value.source} says ${each.value.score}, certain ${each.value.confidence}"`), env)

	var scope expr.Scope
	scope.Set("case", expr.From(map[string]any{"verdicts": []any{
		map[string]any{"source": "virustotal", "score": 85, "confidence": 75},
		map[string]any{"source": "table", "score": 90},
	}}))
	for verdict := range forEach.Eval(&scope).Items() {
		scope.Set("each", expr.Object(map[string]expr.Value{"value": verdict}))
		hundredths, known := points.Eval(&scope).Fixed(2)
		fmt.Println(hundredths, known, because.Eval(&scope).Text())
	}
	// Output:
	// 6375 true virustotal says 85, certain 75
	// 0 false table says 90, certain unknown
}

// A map says which values an event has of which type: one or a list of each, nulls left out.
func Example_map() {
	env := expr.Env{Roots: map[string]*expr.Shape{"raw": nil}, Want: expr.ObjectKind}
	indicators, _ := expr.Compile(parse(`{ ip = raw.dest_ip, domain = [raw.tls.sni, raw.dns.answers.name] }`), env)
	var scope expr.Scope
	scope.Set("raw", expr.JSON([]byte(`{"dest_ip": "192.0.2.1", "dns": {"answers": [{"name": "a.example"}, {"name": "b.example"}]}}`)))
	for kind, values := range indicators.Eval(&scope).Fields() {
		for v := range values.Leaves() {
			fmt.Println(kind, v.Text())
		}
	}
	// Output:
	// domain a.example
	// domain b.example
	// ip 192.0.2.1
}

package expr

import (
	"slices"
	"strings"
)

// kinds is a set of kinds.
type kinds uint8

const (
	boolKind   kinds = 1 << BoolKind
	numberKind kinds = 1 << NumberKind
	stringKind kinds = 1 << StringKind
	listKind   kinds = 1 << ListKind
	objectKind kinds = 1 << ObjectKind
	anyKind          = boolKind | numberKind | stringKind | listKind | objectKind
)

func (k kinds) has(kind Kind) bool { return k&(1<<kind) != 0 }

func (k kinds) String() string {
	if k == anyKind {
		return "value"
	}
	var names []string
	for kind := BoolKind; kind <= ObjectKind; kind++ {
		if k.has(kind) {
			names = append(names, kind.String())
		}
	}
	return strings.Join(names, " or ")
}

// Function is one function that every expression may call. Given null, or a value of a kind that it does not take, it
// gives null, unless Nulls says otherwise.
type Function struct {
	Name     string
	Group    string // text, list, number, network, time, encoding, null
	Doc      string
	Nulls    bool // it has its own way with null, which Doc tells
	Examples []Example

	params  []param
	result  Kind // zero where it depends
	call    callFunc
	prepare prepareFunc
}

// Example is an expression and what it gives, both as they are written.
type Example struct{ Expression, Result string }

type param struct {
	name     string
	kinds    kinds
	optional bool
	repeated bool // the last may be given any number of times
	known    bool // it must be known when the expression is compiled
}

// callFunc gets arguments of the kinds that the function takes, missing optional ones left out. It must not keep args.
type callFunc func(s *Scope, args []Value) Value

// prepareFunc makes a faster call out of the arguments that are known when compiling; the others are nil. It may be
// nil, and so may the call it returns. An error is about the argument at the place it returns.
type prepareFunc func(known []*Value) (call callFunc, at int, err error)

// Signature is how the function is called: its parameters with what they take.
func (f Function) Signature() string {
	parts := make([]string, len(f.params))
	for i, p := range f.params {
		parts[i] = p.name + " " + p.kinds.String()
		if p.optional {
			parts[i] = "[" + parts[i] + "]"
		}
		if p.repeated {
			parts[i] += "..."
		}
	}
	result := "value"
	if f.result != NullKind {
		result = f.result.String()
	}
	return f.Name + "(" + strings.Join(parts, ", ") + ") " + result
}

// arity is how many arguments the function takes; most is -1 when there is no limit.
func (f *Function) arity() (least, most int) {
	for _, p := range f.params {
		if p.repeated {
			return least, -1
		}
		if !p.optional {
			least++
		}
	}
	return least, len(f.params)
}

func (f *Function) param(i int) param { return f.params[min(i, len(f.params)-1)] }

// Functions are all functions, by group and name.
func Functions() []Function {
	all := slices.Concat(nullFunctions(), textFunctions(), patternFunctions(), listFunctions(), objectFunctions(),
		numberFunctions(), networkFunctions(), timeFunctions(), encodingFunctions())
	slices.SortFunc(all, func(a, b Function) int {
		if c := strings.Compare(a.Group, b.Group); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	return all
}

// functions is never written to after it is made.
var functions = func() map[string]*Function {
	byName := map[string]*Function{}
	for _, f := range Functions() {
		byName[f.Name] = &f
	}
	return byName
}()

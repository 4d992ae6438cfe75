package expr

import (
	"slices"
	"strings"
)

func listOf(name string) param { return param{name: name, kinds: listKind} }

func listFunctions() []Function {
	return []Function{
		{
			Name: "contains", Group: "list", result: BoolKind,
			Doc:     "Whether the list has an element equal to the value, or the text has the value in it. In ignore and protect a list with a null element in which the value is not found gives null.",
			params:  []param{{name: "list_or_text", kinds: listKind | stringKind}, {name: "value", kinds: anyKind}},
			call:    contains,
			prepare: prepareContains,
			Examples: []Example{
				{`contains(["web", "dns"], "dns")`, `true`},
				{`contains("powershell -enc", "-enc")`, `true`},
				{`contains([1, 2], "1")`, `false`},
				{`contains(null, "x")`, `null`},
			},
		},
		{
			Name: "length", Group: "list", result: NumberKind,
			Doc:      "How many elements a list, fields an object or characters a text has.",
			params:   []param{{name: "value", kinds: listKind | objectKind | stringKind}},
			call:     length,
			Examples: []Example{{`length(["a", "b"])`, `2`}, {`length("héllo")`, `5`}, {`length({ a = 1 })`, `1`}},
		},
		{
			Name: "concat", Group: "list", result: ListKind,
			Doc:    "The elements of all the lists in one.",
			params: []param{{name: "lists", kinds: listKind, repeated: true}},
			call: func(s *Scope, a []Value) Value {
				all := []Value{}
				for _, v := range a {
					items, ok := s.items(v)
					if !ok || len(all)+len(items) > maxItems {
						return Value{}
					}
					all = append(all, items...)
				}
				return s.list(all)
			},
			Examples: []Example{{`concat([1], [2, 3])`, `[1, 2, 3]`}},
		},
		{
			Name: "flatten", Group: "list", result: ListKind,
			Doc:    "The list with every list in it opened, however deep. Nulls stay.",
			params: []param{listOf("list")},
			call: func(s *Scope, a []Value) Value {
				items, ok := s.flatten(nil, a[0])
				if !ok {
					return Value{}
				}
				return s.list(items)
			},
			Examples: []Example{{`flatten([1, [2, [3]], []])`, `[1, 2, 3]`}},
		},
		{
			Name: "compact", Group: "list", result: ListKind,
			Doc:    "The list without nulls and empty texts.",
			params: []param{listOf("list")},
			call: func(s *Scope, a []Value) Value {
				items, ok := s.items(a[0])
				if !ok {
					return Value{}
				}
				return s.list(slices.DeleteFunc(slices.Clone(items), func(v Value) bool {
					return v.kind == NullKind || v.kind == StringKind && v.str == ""
				}))
			},
			Examples: []Example{{`compact(["a", null, ""])`, `["a"]`}},
		},
		{
			Name: "distinct", Group: "list", result: ListKind,
			Doc:    "The list with each value once, where it comes first.",
			params: []param{listOf("list")},
			call: func(s *Scope, a []Value) Value {
				items, ok := s.items(a[0])
				if !ok || !s.spendDeep(a[0]) {
					return Value{}
				}
				seen := map[string]bool{}
				kept := []Value{}
				for _, item := range items {
					key := string(item.appendJSON(nil, noLimit))
					if !s.spend(len(key)) {
						return Value{}
					}
					if !seen[key] {
						seen[key] = true
						kept = append(kept, item)
					}
				}
				return s.list(kept)
			},
			Examples: []Example{{`distinct([1, 2, 1.0, "1"])`, `[1, 2, "1"]`}},
		},
		{
			Name: "sort", Group: "list", result: ListKind,
			Doc:      "A list of numbers by size, or of texts by their bytes. Null for any other list.",
			params:   []param{listOf("list")},
			call:     sorted,
			Examples: []Example{{`sort([10, 9.5])`, `[9.5, 10]`}, {`sort(["b", "a"])`, `["a", "b"]`}, {`sort([1, "a"])`, `null`}},
		},
		{
			Name: "slice", Group: "list", result: ListKind,
			Doc:    "The elements from the first place up to, without it, the second; places count from 0, and the second may be left out. Places beyond the end are the end.",
			params: []param{listOf("list"), {name: "from", kinds: numberKind}, {name: "to", kinds: numberKind, optional: true}},
			call: func(s *Scope, a []Value) Value {
				items, ok := s.items(a[0])
				from, whole := a[1].Int()
				to := int64(len(items))
				if len(a) == 3 && whole {
					to, whole = a[2].Int()
				}
				if !ok || !whole || from < 0 || to < from {
					return Value{}
				}
				n := int64(len(items))
				return s.list(items[min(from, n):min(to, n)])
			},
			Examples: []Example{{`slice(["a", "b", "c"], 1)`, `["b", "c"]`}, {`slice(["a", "b", "c"], 0, 2)`, `["a", "b"]`}},
		},
		{
			Name: "range", Group: "list", result: ListKind,
			Doc:      "The whole numbers from 0, or from start, up to, without it, end; at most 65,536 of them.",
			params:   []param{{name: "start_or_end", kinds: numberKind}, {name: "end", kinds: numberKind, optional: true}},
			call:     numbers,
			Examples: []Example{{`range(3)`, `[0, 1, 2]`}, {`range(2, 4)`, `[2, 3]`}},
		},
		{
			Name: "anytrue", Group: "list", result: BoolKind,
			Doc:      "Whether an element is true; null if none is and one is null. Of an empty list it is false.",
			params:   []param{listOf("list")},
			call:     func(s *Scope, a []Value) Value { return s.quantify(a[0], True) },
			Examples: []Example{{`anytrue([false, null, true])`, `true`}, {`anytrue([false, null])`, `null`}},
		},
		{
			Name: "alltrue", Group: "list", result: BoolKind,
			Doc:      "Whether every element is true; null if none is false and one is null. Of an empty list it is true.",
			params:   []param{listOf("list")},
			call:     func(s *Scope, a []Value) Value { return s.quantify(a[0], False) },
			Examples: []Example{{`alltrue([true, null, false])`, `false`}, {`alltrue([])`, `true`}},
		},
	}
}

func contains(s *Scope, a []Value) Value {
	if a[0].kind == StringKind {
		if a[1].kind != StringKind || !s.spend(len(a[0].str)) {
			return Value{}
		}
		return Bool(strings.Contains(a[0].str, a[1].str))
	}
	if !s.spend(len(a[0].str)) {
		return Value{}
	}
	found := False
	for item := range a[0].Items() {
		if !s.spend(1) {
			return Value{}
		}
		switch s.equal(item, a[1]) {
		case True:
			return Bool(true)
		case Null:
			found = Null
		}
	}
	return found.value()
}

// prepareContains makes a set of a list that is known and has texts alone.
func prepareContains(known []*Value) (callFunc, int, error) {
	const few = 8
	if known[0] == nil || known[0].kind != ListKind || known[0].Len() <= few {
		return nil, 0, nil
	}
	set := map[string]struct{}{}
	for item := range known[0].Items() {
		if item.kind != StringKind {
			return nil, 0, nil
		}
		set[item.str] = struct{}{}
	}
	return func(_ *Scope, a []Value) Value {
		_, found := set[a[1].str]
		return Bool(found && a[1].kind == StringKind)
	}, 0, nil
}

func length(s *Scope, a []Value) Value {
	if !s.spend(len(a[0].str)) {
		return Value{}
	}
	if a[0].kind == StringKind {
		n := 0
		for range a[0].str {
			n++
		}
		return Int(int64(n))
	}
	if a[0].kind == ObjectKind {
		o, ok := s.fields(a[0])
		if !ok {
			return Value{}
		}
		return Int(int64(len(o.keys)))
	}
	return Int(int64(a[0].Len()))
}

func (s *Scope) flatten(into []Value, v Value) ([]Value, bool) {
	items, ok := s.items(v)
	for _, item := range items {
		if !ok || len(into) > maxItems {
			return nil, false
		}
		if item.kind == ListKind {
			into, ok = s.flatten(into, item)
		} else {
			into = append(into, item)
		}
	}
	return into, ok
}

func sorted(s *Scope, a []Value) Value {
	items, ok := s.items(a[0])
	if !ok || !s.spend(8*len(items)) {
		return Value{}
	}
	kind := NullKind
	for i, item := range items {
		if i == 0 {
			kind = item.kind
		}
		if item.kind != kind || kind != NumberKind && kind != StringKind {
			return Value{}
		}
	}
	items = slices.Clone(items)
	slices.SortStableFunc(items, func(x, y Value) int {
		if kind == StringKind {
			return strings.Compare(x.str, y.str)
		}
		return x.decimal().compare(y.decimal())
	})
	return s.list(items)
}

func numbers(s *Scope, a []Value) Value {
	start, end := int64(0), int64(0)
	end, ok := a[0].Int()
	if len(a) == 2 && ok {
		start = end
		end, ok = a[1].Int()
	}
	if !ok || end > start && uint64(end)-uint64(start) > maxItems {
		return Value{}
	}
	items := []Value{}
	for i := start; i < end; i++ {
		items = append(items, Int(i))
	}
	return s.list(items)
}

// quantify is decided by the first element with the truth decisive, and else by the others.
func (s *Scope) quantify(v Value, decisive Truth) Value {
	result := decisive.not()
	for item := range v.Items() {
		if !s.spend(itemCost) {
			return Value{}
		}
		switch item.Truth() {
		case decisive:
			return decisive.value()
		case Null:
			result = Null
		}
	}
	return result.value()
}

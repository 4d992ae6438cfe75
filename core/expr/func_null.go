package expr

func nullFunctions() []Function {
	return []Function{
		{
			Name: "coalesce", Group: "null", Nulls: true,
			Doc:    "The first argument that is not null.",
			params: []param{{name: "values", kinds: anyKind, repeated: true}},
			call:   firstArgument,
			Examples: []Example{
				{`coalesce(null, "a", "b")`, `"a"`},
				{`coalesce(null)`, `null`},
			},
		},
		{
			Name: "try", Group: "null", Nulls: true,
			Doc:      "The first argument that is not null. Nothing fails here: what fails elsewhere is null, so this is coalesce under the name that Terraform gives it.",
			params:   []param{{name: "values", kinds: anyKind, repeated: true}},
			call:     firstArgument,
			Examples: []Example{{`try(1 / 0, 7)`, `7`}},
		},
		{
			Name: "has", Group: "null", Nulls: true, result: BoolKind,
			Doc:    "Whether the value is there: true of everything but null. It is true or false, also in ignore and protect.",
			params: []param{{name: "value", kinds: anyKind}},
			call:   func(_ *Scope, a []Value) Value { return Bool(!a[0].IsNull()) },
			Examples: []Example{
				{`has({ a = 1 }.a)`, `true`},
				{`has(1 / 0)`, `false`},
			},
		},
		{
			Name: "lookup", Group: "null", Nulls: true,
			Doc: "The object's field of that name, or the default where there is none or it is null. A number is looked up by its text.",
			params: []param{
				{name: "object", kinds: objectKind},
				{name: "key", kinds: stringKind | numberKind | boolKind},
				{name: "default", kinds: anyKind, optional: true},
			},
			call: func(s *Scope, a []Value) Value {
				if name, ok := keyText(a[1]); ok {
					if found := s.attr(a[0], name); !found.IsNull() {
						return found
					}
				}
				if len(a) == 3 {
					return a[2]
				}
				return Value{}
			},
			Examples: []Example{
				{`lookup({ "1" = 90, "2" = 60 }, 2, 10)`, `60`},
				{`lookup({ "1" = 90 }, null, 10)`, `10`},
				{`lookup({ "1" = 90 }, 3)`, `null`},
			},
		},
	}
}

func firstArgument(_ *Scope, args []Value) Value {
	for _, v := range args {
		if v.kind != NullKind {
			return v
		}
	}
	return Value{}
}

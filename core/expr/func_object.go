package expr

func objectFunctions() []Function {
	object := param{name: "object", kinds: objectKind}
	return []Function{
		{
			Name: "keys", Group: "object", result: ListKind,
			Doc:    "The names of the object's fields, sorted.",
			params: []param{object},
			call: func(s *Scope, a []Value) Value {
				o, ok := s.fields(a[0])
				if !ok {
					return Value{}
				}
				items := make([]Value, len(o.keys))
				for i, key := range o.keys {
					items[i] = Value{kind: StringKind, form: borrowed, str: key}
				}
				return s.list(items)
			},
			Examples: []Example{{`keys({ b = 1, a = 2 })`, `["a", "b"]`}},
		},
		{
			Name: "values", Group: "object", result: ListKind,
			Doc:    "The values of the object's fields, sorted by the fields' names.",
			params: []param{object},
			call: func(s *Scope, a []Value) Value {
				o, ok := s.fields(a[0])
				if !ok {
					return Value{}
				}
				return s.list(o.values)
			},
			Examples: []Example{{`values({ b = 1, a = 2 })`, `[2, 1]`}},
		},
		{
			Name: "merge", Group: "object", result: ObjectKind,
			Doc:    "One object with the fields of all; of a field that several have, the last counts.",
			params: []param{{name: "objects", kinds: objectKind, repeated: true}},
			call: func(s *Scope, a []Value) Value {
				b := builder{}
				for i := len(a) - 1; i >= 0; i-- {
					o, ok := s.fields(a[i])
					if !ok || len(b.keys)+len(o.keys) > maxItems {
						return Value{}
					}
					b.keys = append(b.keys, o.keys...)
					b.values = append(b.values, o.values...)
				}
				if !s.spend(len(b.keys) * itemCost) {
					return Value{}
				}
				return b.object()
			},
			Examples: []Example{{`merge({ a = 1, b = 1 }, { b = 2 })`, `{ a = 1, b = 2 }`}},
		},
	}
}

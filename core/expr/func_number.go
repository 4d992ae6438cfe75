package expr

func numberFunctions() []Function {
	one := []param{{name: "number", kinds: numberKind}}
	several := []param{{name: "numbers", kinds: numberKind | listKind, repeated: true}}
	return []Function{
		{
			Name: "max", Group: "number", result: NumberKind, Nulls: true,
			Doc:      "The largest of the numbers, lists of them opened. What is no number is passed over; of nothing it is null.",
			params:   several,
			call:     extreme(1),
			Examples: []Example{{`max([3, null, 10], 7)`, `10`}, {`max([])`, `null`}},
		},
		{
			Name: "min", Group: "number", result: NumberKind, Nulls: true,
			Doc:      "The smallest of the numbers, lists of them opened. What is no number is passed over; of nothing it is null.",
			params:   several,
			call:     extreme(-1),
			Examples: []Example{{`min(3, null, 10)`, `3`}},
		},
		{
			Name: "sum", Group: "number", result: NumberKind, Nulls: true,
			Doc:    "All numbers added, lists of them opened. What is no number is passed over; of nothing it is null.",
			params: several,
			call: func(s *Scope, a []Value) Value {
				total, any, ok := decimal{}, false, true
				complete := s.eachNumber(a, func(d decimal) {
					if sum, fits := total.add(d); fits {
						total = sum
					} else {
						ok = false
					}
					any = true
				})
				return number(total, any && ok && complete)
			},
			Examples: []Example{{`sum([0.1, 0.2, null])`, `0.3`}, {`sum([])`, `null`}},
		},
		{
			Name: "abs", Group: "number", result: NumberKind,
			Doc:    "The number without its sign.",
			params: one,
			call: func(_ *Scope, a []Value) Value {
				if d := a[0].decimal(); d.sign() < 0 {
					return number(d.neg())
				}
				return a[0]
			},
			Examples: []Example{{`abs(-3.5)`, `3.5`}},
		},
		{
			Name: "round", Group: "number", result: NumberKind,
			Doc:    "The number to that many decimals, by default none; a half goes away from zero. Fewer than none are tens, hundreds and so on.",
			params: []param{one[0], {name: "decimals", kinds: numberKind, optional: true}},
			call: func(_ *Scope, a []Value) Value {
				places := int64(0)
				if len(a) == 2 {
					n, ok := a[1].Int()
					if !ok || n < -maxExponent || n > maxExponent {
						return Value{}
					}
					places = n
				}
				return number(a[0].decimal().round(int32(places), halfAway))
			},
			Examples: []Example{{`round(2.5)`, `3`}, {`round(-0.125, 2)`, `-0.13`}, {`round(1234, -2)`, `1200`}},
		},
		{
			Name: "floor", Group: "number", result: NumberKind,
			Doc:      "The largest whole number that is not above it.",
			params:   one,
			call:     func(_ *Scope, a []Value) Value { return number(a[0].decimal().round(0, down)) },
			Examples: []Example{{`floor(-1.5)`, `-2`}},
		},
		{
			Name: "ceil", Group: "number", result: NumberKind,
			Doc:      "The smallest whole number that is not below it.",
			params:   one,
			call:     func(_ *Scope, a []Value) Value { return number(a[0].decimal().round(0, up)) },
			Examples: []Example{{`ceil(1.2)`, `2`}},
		},
		{
			Name: "tonumber", Group: "number", result: NumberKind,
			Doc:    "The number that a text says, as JSON writes numbers, white space around it left out. Text from logs is no number until this makes it one.",
			params: []param{{name: "value", kinds: stringKind | numberKind}},
			call: func(_ *Scope, a []Value) Value {
				if a[0].kind == NumberKind {
					return a[0]
				}
				return Number(trimSpace(a[0].str))
			},
			Examples: []Example{{`tonumber("404") >= 400`, `true`}, {`tonumber("high")`, `null`}},
		},
	}
}

func trimSpace(s string) string {
	for s != "" && isSpace(s[0]) {
		s = s[1:]
	}
	for s != "" && isSpace(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

// eachNumber visits the numbers among the arguments and the elements of lists among them.
func (s *Scope) eachNumber(args []Value, visit func(decimal)) bool {
	for _, v := range args {
		if v.kind == NumberKind {
			visit(v.decimal())
		}
		if !s.spend(len(v.str)) {
			return false
		}
		for item := range v.Items() {
			if !s.spend(itemCost) {
				return false
			}
			if item.kind == NumberKind {
				visit(item.decimal())
			}
		}
	}
	return true
}

func extreme(sign int) callFunc {
	return func(s *Scope, args []Value) Value {
		var best decimal
		found := false
		complete := s.eachNumber(args, func(d decimal) {
			if !found || d.compare(best)*sign > 0 {
				best, found = d, true
			}
		})
		return number(best, found && complete)
	}
}

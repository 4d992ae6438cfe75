package expr

// Document is one JSON text that many expressions read. It remembers where it has found what, so that no part of the
// text is passed over twice. It is used again for the next text without allocating. It is not safe for concurrent use,
// and neither are the values that come from it; [Value.Own] gives one that is.
type Document struct {
	text       string
	generation int32
	objects    []indexedObject
	members    []indexedMember
}

type indexedObject struct {
	start       int32 // where it opens
	first, last int32 // its known members, 1 more than their place; 0 is none
	complete    bool  // there are no more
}

type indexedMember struct {
	member       // its end is 0 as long as it is not known
	next   int32 // 1 more than its place
	object int32 // 1 more than the place of the object that it holds, once somebody has looked into it
}

// Reset makes the document one of text, which must not change while values of it are in use. Values of the text before
// stay right, but are no longer fast.
func (d *Document) Reset(text []byte) {
	d.text = view(text)
	d.generation++
	d.objects = d.objects[:0]
	d.members = d.members[:0]
}

// Value is the whole text as a value.
func (d *Document) Value() Value {
	start := skipSpace(d.text, 0)
	if start == len(d.text) || d.text[start] != '{' {
		v, _ := parseValue(d.text)
		return v
	}
	if len(d.objects) == 0 {
		d.objects = append(d.objects, indexedObject{start: int32(start)})
	}
	return Value{kind: ObjectKind, form: indexed, exp: d.generation, str: d.text[start:], ref: d}
}

// walk follows the steps, of which there is at least one, as far as they lead through objects. It returns what it has
// come to, how many steps that took, and what they cost, in bytes looked at.
func (d *Document) walk(object int32, steps []step) (v Value, taken, cost int) {
	for i := range steps {
		m, n := d.find(object, steps[i].name)
		cost += n
		if m == nil {
			return Value{}, len(steps), cost
		}
		if i == len(steps)-1 || d.text[m.start] != '{' {
			v = d.value(m)
			return v, i + 1, cost + v.decodeCost()
		}
		object = d.child(m)
	}
	return Value{}, 0, cost
}

// find returns the member of that name, or nil.
func (d *Document) find(object int32, name string) (*indexedMember, int) {
	o := &d.objects[object]
	passed := 0
	for at := o.first; at != 0; {
		m := &d.members[at-1]
		if m.hasKey(d.text, name) {
			return m, passed
		}
		passed += int(m.keyEnd - m.keyStart)
		at = m.next
	}
	if o.complete {
		return nil, passed
	}
	return d.scan(o, name, passed)
}

// scan goes on to the member of that name. An object that is found is not passed over before that is needed: what is
// asked for next is most likely in it.
func (d *Document) scan(o *indexedObject, name string, passed int) (*indexedMember, int) {
	i := int(o.start) + 1
	if o.last != 0 {
		i = int(d.end(&d.members[o.last-1]))
	}
	from := i - passed
	for {
		key, ok := nextKey(d.text, i)
		if !ok {
			o.complete = true
			return nil, i - from
		}
		d.members = append(d.members, indexedMember{})
		at := int32(len(d.members))
		m := &d.members[at-1]
		m.set(key)
		found := m.hasKey(d.text, name)
		if !found || d.text[m.start] != '{' {
			i = skipValue(d.text, int(m.start))
			m.end = int32(i)
		}
		if o.last == 0 {
			o.first = at
		} else {
			d.members[o.last-1].next = at
		}
		o.last = at
		if found {
			return m, i - from
		}
	}
}

// end is the place after the member's value. Of an object, what is known of it already is not passed over again.
func (d *Document) end(m *indexedMember) int32 {
	if m.end != 0 {
		return m.end
	}
	if m.object == 0 {
		m.end = int32(skipValue(d.text, int(m.start)))
		return m.end
	}
	o := d.objects[m.object-1]
	i := o.start + 1
	if o.last != 0 {
		i = d.end(&d.members[o.last-1])
	}
	m.end = int32(skipNested(d.text, int(i), 1))
	return m.end
}

// child is the place of the object that the member holds.
func (d *Document) child(m *indexedMember) int32 {
	if m.object == 0 {
		d.objects = append(d.objects, indexedObject{start: m.start})
		m.object = int32(len(d.objects))
	}
	return m.object - 1
}

func (d *Document) value(m *indexedMember) Value {
	d.end(m)
	v := m.value(d.text)
	if v.kind == ObjectKind {
		v.form, v.exp, v.num, v.ref = indexed, d.generation, int64(d.child(m)), d
	}
	return v
}

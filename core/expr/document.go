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
	start, scanned int32 // where it opens, and up to where its members are known
	first, last    int32 // its known members, 1 more than their place; 0 is none
	complete       bool
}

type indexedMember struct {
	member
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
		d.objects = append(d.objects, indexedObject{start: int32(start), scanned: int32(start + 1)})
	}
	return Value{kind: ObjectKind, form: indexed, exp: d.generation, str: d.text[start:], ref: d}
}

func (d *Document) lookup(object int32, name string) (Value, int) {
	o := &d.objects[object]
	passed := int32(0)
	for at := o.first; at != 0; {
		m := &d.members[at-1]
		if m.hasKey(d.text, name) {
			return d.value(m), int(passed)
		}
		passed += m.keyEnd - m.keyStart
		at = m.next
	}
	if o.complete {
		return Value{}, int(passed)
	}
	from := o.scanned - passed
	for {
		m, ok := nextMember(d.text, int(o.scanned))
		if !ok {
			o.complete = true
			return Value{}, int(o.scanned - from)
		}
		o.scanned = m.end
		d.members = append(d.members, indexedMember{member: m})
		at := int32(len(d.members))
		if o.last == 0 {
			o.first = at
		} else {
			d.members[o.last-1].next = at
		}
		o.last = at
		if m.hasKey(d.text, name) {
			return d.value(&d.members[at-1]), int(o.scanned - from)
		}
	}
}

func (d *Document) value(m *indexedMember) Value {
	v := m.value(d.text)
	if v.kind != ObjectKind {
		return v
	}
	if m.object == 0 {
		d.objects = append(d.objects, indexedObject{start: m.start, scanned: m.start + 1})
		m.object = int32(len(d.objects))
	}
	v.form, v.exp, v.num, v.ref = indexed, d.generation, int64(m.object-1), d
	return v
}

package expr

// Document is one JSON text that many expressions read: it knows where the text has what a [Plan] asks for. It is used
// again for the next text without allocating. It is not safe for concurrent use; the values that come from it are.
type Document struct {
	text       string
	plan       *Plan
	start, end int32 // of the text's value
	generation uint32
	found      []found // by slot
	decoded    []int32 // slots of the found that have a value
	reader     reader
}

// found is where the text has the value at the end of a path, or the list on the way to it.
type found struct {
	generation uint32 // of the text; another: the text has nothing there
	start, end int32
	taken      int32 // steps of the path that lead here
	plain      bool  // a string that means what it says
	decoded    bool
	value      Value // when decoded
}

// Read makes the document one of text, which must not change while values of it are in use, and passes over it once, to
// check it as [CheckJSON] does and to find what the plan asks for; a nil plan asks for nothing. After an error the
// document is empty, as it is at first.
func (d *Document) Read(text []byte, plan *Plan) error {
	d.empty()
	d.text, d.plan = view(text), plan
	var root *planNode
	if plan != nil {
		root = plan.root
		if len(d.found) < plan.slots {
			d.found = append(d.found, make([]found, plan.slots-len(d.found))...)
		}
	}
	d.reader.text, d.reader.doc = d.text, d
	if err := d.reader.read(root); err != nil {
		d.empty()
		return err
	}
	return nil
}

// empty lets the text go, and forgets what was found in it.
func (d *Document) empty() {
	// What a rare path has found must not keep its text in memory until that path is found again.
	for _, slot := range d.decoded {
		d.found[slot].value = Value{}
	}
	d.decoded = d.decoded[:0]
	d.text, d.plan, d.start, d.end, d.reader.text = "", nil, 0, 0, ""
	if d.generation++; d.generation == 0 {
		clear(d.found)
		d.generation = 1
	}
}

// Value is the whole text as a value.
func (d *Document) Value() Value { return parseSpan(d.text[d.start:d.end]) }

// note takes the place of a value that is on the plan.
func (d *Document) note(n *planNode, start, end int, plain bool) {
	if n.slot != none {
		d.set(n.slot, n.depth, start, end, plain)
	}
	if len(n.below) > 0 && d.text[start] == '[' {
		// An attribute of a list is one of its elements: who asks for it goes on from the list.
		for _, slot := range n.below {
			d.set(slot, n.depth, start, end, false)
		}
	}
}

func (d *Document) set(slot, taken int32, start, end int, plain bool) {
	f := &d.found[slot]
	f.generation, f.taken, f.start, f.end, f.plain, f.decoded = d.generation, taken, int32(start), int32(end), plain, false
}

// decode makes a value of what was found.
func (d *Document) decode(f *found, slot int32) Value {
	if f.plain {
		f.value = Value{kind: StringKind, form: borrowed, str: d.text[f.start+1 : f.end-1]}
	} else {
		f.value = parseSpan(d.text[f.start:f.end])
	}
	f.decoded = true
	d.decoded = append(d.decoded, slot)
	return f.value
}

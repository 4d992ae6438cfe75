package expr

import (
	"maps"
	"slices"
	"strings"
)

// Index numbers the paths that programs read of one JSON text, which a root has somewhere: event.raw. Programs that are
// compiled with it in their [Env] take what they read there from the [Document] of their [Scope] by its number, if the
// scope has one. It is for one goroutine; the programs are not concerned.
type Index struct {
	root  []string
	slots map[string]int // by the path below root, joined by 0
}

// NewIndex makes an index of what lies below the path of a root: NewIndex("event", "raw").
func NewIndex(root ...string) *Index {
	return &Index{root: root, slots: map[string]int{}}
}

// place is a path below an index's root.
type place struct {
	index *Index
	names []string
	slot  int
}

// place gives the path its number. It is false for one that does not lead below the root.
func (x *Index) place(root string, steps []step) (place, bool) {
	if x == nil || root != x.root[0] || len(steps) < len(x.root) {
		return place{}, false
	}
	for i, name := range x.root[1:] {
		if steps[i].index || steps[i].name != name {
			return place{}, false
		}
	}
	p := place{index: x, names: make([]string, 0, len(steps))}
	for _, st := range steps[len(x.root)-1:] {
		if st.index && st.key.kind == NullKind {
			return place{}, false // a number beyond the limits is the name of nothing
		}
		p.names = append(p.names, st.name)
	}
	joined := strings.Join(p.names, "\x00")
	slot, ok := x.slots[joined]
	if !ok {
		slot = len(x.slots)
		x.slots[joined] = slot
	}
	p.slot = slot
	return p, true
}

// Plan is what one pass over a text has to find for some programs. It is safe for concurrent use.
type Plan struct {
	index   *Index
	root    *planNode
	slots   int    // one more than the highest number
	covered []bool // by number
}

// NewPlan makes a plan for programs that were compiled with one [Index]. Nil programs are left out, and so are those of
// another index than the first: they read the text from its root.
func NewPlan(programs ...*Program) *Plan {
	places := map[int]place{}
	plan := &Plan{root: &planNode{}}
	for _, p := range programs {
		if p == nil {
			continue
		}
		for _, at := range p.places {
			if plan.index == nil {
				plan.index = at.index
			}
			if at.index != plan.index {
				break
			}
			places[at.slot] = at
			plan.slots = max(plan.slots, at.slot+1)
		}
	}
	plan.covered = make([]bool, plan.slots)
	root := &branch{slot: none}
	for _, slot := range slices.Sorted(maps.Keys(places)) {
		plan.covered[slot] = true
		root.add(places[slot].names, slot)
	}
	plan.root = root.node(0)
	return plan
}

// Paths counts what the plan asks for.
func (p *Plan) Paths() int {
	n := 0
	for _, covered := range p.covered {
		if covered {
			n++
		}
	}
	return n
}

// covers says whether the plan asks for the path of that number.
func (p *Plan) covers(slot int32) bool { return int(slot) < len(p.covered) && p.covered[slot] }

const none = -1 // the slot of a node that no program reads itself

// branch is a planNode in the making.
type branch struct {
	slot     int
	children map[string]*branch
}

func (b *branch) add(names []string, slot int) {
	for _, name := range names {
		if b.children == nil {
			b.children = map[string]*branch{}
		}
		if b.children[name] == nil {
			b.children[name] = &branch{slot: none}
		}
		b = b.children[name]
	}
	b.slot = slot
}

func (b *branch) node(depth int) *planNode {
	n := &planNode{slot: int32(b.slot), depth: int32(depth)}
	if len(b.children) == 0 {
		return n
	}
	size := 2
	for size < 2*len(b.children) {
		size *= 2
	}
	n.edges = make([]planEdge, size)
	n.mask = uint32(size - 1)
	for _, name := range slices.Sorted(maps.Keys(b.children)) {
		child := b.children[name].node(depth + 1)
		if child.slot != none {
			n.below = append(n.below, child.slot)
		}
		n.below = append(n.below, child.below...)
		hash := hashOf(name)
		i := hash & n.mask
		for n.edges[i].node != nil {
			i = (i + 1) & n.mask
		}
		n.edges[i] = planEdge{hash: hash, name: name, node: child}
	}
	return n
}

// planNode is a name on the way to what is read. Its edges are a hash table with open addressing, at most half full.
type planNode struct {
	slot  int32 // none: it is only on the way
	depth int32 // steps from the text's root
	mask  uint32
	edges []planEdge
	below []int32 // slots of what is read below it
}

type planEdge struct {
	hash uint32
	name string
	node *planNode
}

func (n *planNode) child(hash uint32, name string) *planNode {
	if len(n.edges) == 0 {
		return nil
	}
	for i := hash & n.mask; ; i = (i + 1) & n.mask {
		e := &n.edges[i&uint32(len(n.edges)-1)]
		if e.node == nil {
			return nil
		}
		if e.hash == hash && e.name == name {
			return e.node
		}
	}
}

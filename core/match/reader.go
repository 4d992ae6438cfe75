package match

import (
	"slices"

	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/model"
)

// Reader reads events of one source as its pipelines do, or a shadow's by its connector's
// own mapping. It is for one goroutine.
type Reader struct {
	worker *Worker
	source source
}

// NewReader makes one. first is the source that s is the shadow of, if it is one. Neither
// may change afterwards.
func NewReader(s, first Source) *Reader {
	switch {
	case s.Shadow != "" && s.Alike:
		s.Pipelines = first.Pipelines
	case s.Shadow != "":
		s.Pipelines = []Pipeline{{Map: s.Mapping}}
	}
	r := &Reader{worker: &Worker{}, source: source{&s, s.plan()}}
	r.worker.scope.Set("event", expr.Record(&r.worker.event))
	r.worker.scope.SetDocument(&r.worker.doc)
	return r
}

// Reading is what came of reading an event.
type Reading int

// A pipeline lets it through, none does, or it can't be read.
const (
	Through Reading = iota
	Held
	Unreadable
)

// Read maps an event by the first pipeline that lets it through, with the observables of
// all that do. Of the signal the common fields are set; ignores and rules are not asked.
func (r *Reader) Read(b *model.Batch, e *model.Event) (m model.Signal, how Reading) {
	defer func() {
		if recover() != nil { // it is set aside where it is matched
			m, how = model.Signal{}, Unreadable
		}
	}()
	w := r.worker
	if w.read(e, r.source.plan) != "" {
		return m, Unreadable
	}
	w.exceeded = ""
	w.event.reset(b, e, w.doc.Value())
	how = Held
	for i := range r.source.Pipelines {
		p := &r.source.Pipelines[i]
		w.event.unmapped()
		if slices.ContainsFunc(p.When, func(when *expr.Program) bool { return w.truth(when) != expr.True }) {
			continue
		}
		next := w.mapped(p, b, e)
		if how == Held {
			m, how = next, Through
			continue
		}
		m.Observables = sortObservables(append(m.Observables, next.Observables...))
	}
	if w.exceeded != "" {
		return model.Signal{}, Unreadable
	}
	return m, how
}

package match

import (
	"fmt"
	"math"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
)

// Cost is what a source's events take to match, one by one.
type Cost struct {
	Source string
	Paths  int // of payloads that are found in the one pass
	// Pass is that pass over one event, 0 if nothing was measured.
	Pass        time.Duration
	Expressions []ExpressionCost
	// Unread are the sample's events that would be set aside.
	Unread int
}

// ExpressionCost is what one expression takes of each event.
type ExpressionCost struct {
	Expression
	// Each is one evaluation, 0 if nothing was measured.
	Each time.Duration
}

// evaluations are timed together, since to read a clock takes as long as one, and the
// shortest of some rounds counts: in the others something else had the processor.
const (
	evaluations = 16
	rounds      = 3
)

func timed(do func()) time.Duration {
	shortest := time.Duration(math.MaxInt64)
	for range rounds {
		began := time.Now()
		for range evaluations {
			do()
		}
		shortest = min(shortest, time.Since(began))
	}
	return shortest
}

// Explain says what a source's events cost, and with a sample of payloads how long it
// takes: each expression on each event, whether or not matching would come to it.
func Explain(s *Source, sample [][]byte) Cost {
	w := NewWorker(&Settings{Sources: []Source{*s}})
	from := w.sources[s.Detector]
	c := Cost{Source: s.Detector, Paths: from.plan.Paths()}
	for _, e := range s.Expressions() {
		c.Expressions = append(c.Expressions, ExpressionCost{Expression: e})
	}
	var pass time.Duration
	took := make([]time.Duration, len(c.Expressions))
	b := &model.Batch{Source: s.Detector, Received: time.Now()}
	read := 0
	for i, raw := range sample {
		e := &model.Event{ID: fmt.Sprint(i), Raw: raw}
		if w.read(e, from.plan) != "" {
			c.Unread++
			continue
		}
		read++
		pass += timed(func() { w.read(e, from.plan) })
		w.event.name = from.Name
		w.event.reset(b, e, w.doc.Value())
		w.timeEach(s, b, e, took)
	}
	if read > 0 {
		c.Pass = pass / time.Duration(read*evaluations)
		for i := range took {
			c.Expressions[i].Each = took[i] / time.Duration(read*evaluations)
		}
	}
	return c
}

// timeEach adds how long each expression of the source takes on the event that is read.
func (w *Worker) timeEach(s *Source, b *model.Batch, e *model.Event, took []time.Duration) {
	i := 0
	for _, p := range s.Pipelines {
		w.event.unmapped()
		m := w.mapped(&p, b, e)
		for _, x := range (&Source{Pipelines: []Pipeline{p}}).Expressions() {
			w.event.signal = nil
			if x.Of != p.Address {
				w.event.signal = &m // ignores and rules read what the map has made
			}
			took[i] += timed(func() { x.Program.Eval(&w.scope) })
			i++
		}
	}
}

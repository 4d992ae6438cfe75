package decide

import (
	"github.com/kelpie-sec/kelpie/core/correlate"
	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/model"
)

// Rule is a rule over several events, or over signals.
type Rule struct {
	Address string // "rule.brute_force"
	Name    string
	// Single: each signal of its one term that it takes is reported by itself. Otherwise
	// Watch says what it looks for.
	Single     bool
	Watch      correlate.Watch
	Terms      []Term
	Title      *expr.Program // nil: Name, or the signal's if it is Single
	Severity   *int          // nil: the highest of what is behind it
	Techniques []string      // besides theirs
	// Experimental: its signals join no case and feed no rule.
	Experimental bool
}

// Term is one of the things that a rule over several looks for. Its facts of events are
// made by match; what is here makes them of signals.
type Term struct {
	// Detectors are those whose events it is about, whether or not they are signals.
	Detectors []string
	// Signals are the addresses of the pipelines and rules whose signals are its facts.
	Signals []string
	When    *expr.Program // nil: all
	Group   model.Grouping
	Keys    []*expr.Program // of Group.Names
	// Value is what is counted as distinct or, if it is Numeric, added up; nil: nothing.
	// With Kind it is the observables of that kind.
	Value   *expr.Program
	Numeric bool
	Kind    string
}

// feedOf is a term that the signals of an address are facts of.
type feedOf struct {
	rule *ruleState
	term int
}

// ruleState is a rule, and how far it has come.
type ruleState struct {
	*Rule
	detectors []string // of all terms, each once
	reach     []string // the same with those of the rules that it reads
	signals   []string // addresses of all terms, each once
	below     []*ruleState
	// complete: what it reads of up to then has come; nanoseconds since 1970.
	complete int64
	since    int64 // Machine.awake when it came to be
	moving   bool  // something that it reads is on its way in the input that is applied
	look     bool  // one of its signals may be fed
	silent   bool  // nothing that it reads has ever come
}

// source is where what a rule reports comes from: the one detector that it is all about,
// or else the rule itself.
func (r *ruleState) source() string {
	if len(r.reach) == 1 {
		return r.reach[0]
	}
	return r.Address
}

// newRules puts rules behind those that they read.
func newRules(rules []Rule) (order []*ruleState, byAddress map[string]*ruleState, feeds map[string][]feedOf) {
	byAddress, feeds = map[string]*ruleState{}, map[string][]feedOf{}
	for i := range rules {
		byAddress[rules[i].Address] = &ruleState{Rule: &rules[i]}
	}
	done := map[*ruleState]bool{}
	var visit func(r *ruleState)
	visit = func(r *ruleState) {
		if done[r] {
			return
		}
		done[r] = true
		for n := range r.Terms {
			for _, d := range r.Terms[n].Detectors {
				r.detectors, r.reach = insert(r.detectors, d), insert(r.reach, d)
			}
			for _, address := range r.Terms[n].Signals {
				r.signals = insert(r.signals, address)
				feeds[address] = append(feeds[address], feedOf{r, n})
				if from := byAddress[address]; from != nil {
					visit(from)
					r.below = append(r.below, from)
					for _, d := range from.reach {
						r.reach = insert(r.reach, d)
					}
				}
			}
		}
		order = append(order, r)
	}
	for i := range rules {
		visit(byAddress[rules[i].Address])
	}
	return order, byAddress, feeds
}

package respond

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Stat is how one action is doing.
type Stat struct {
	Action string `json:"action"`
	// Waiting are for their turn or their next attempt. With More, others wait in the
	// journal. Running are calls.
	Waiting int  `json:"waiting"`
	More    bool `json:"more,omitempty"`
	Running int  `json:"running"`
	// LastError is why the last attempt did not succeed; empty if it did.
	LastError string    `json:"last_error,omitempty"`
	Since     time.Time `json:"since,omitzero"` // of the trouble
}

// Stats of the actions that have had something to do, by address.
func (r *Responder) Stats() []Stat {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.SortedFunc(maps.Values(r.stats), func(a, b Stat) int { return cmp.Compare(a.Action, b.Action) })
}

// count publishes how a lane is.
func (r *Responder) count(l *lane) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stats == nil {
		r.stats = map[string]Stat{}
	}
	st := r.stats[l.action]
	st.Action, st.Waiting, st.More, st.Running = l.action, len(l.ready)+len(l.retry)+l.busy-l.calls.running, l.behind, l.calls.running
	r.stats[l.action] = st
}

// trouble notes why an action's last attempt did not succeed; empty: it did.
func (r *Responder) trouble(action, reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stats == nil {
		r.stats = map[string]Stat{}
	}
	st := r.stats[action]
	switch {
	case reason == "":
		st.Since = time.Time{}
	case st.LastError == "":
		st.Since = r.Now()
	}
	st.Action, st.LastError = action, reason
	r.stats[action] = st
}

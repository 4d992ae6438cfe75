package decide

import (
	"slices"
	"time"

	"github.com/kelpie-sec/kelpie/core/correlate"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// Bounds of what is the same.
const (
	// maxSame is how many values stand for the same as a signal's subjects.
	maxSame = 16
	// maxOneNames is how many names one answer gives a host or user, and maxOneOf how many
	// of these are addresses of a kind.
	maxOneNames = 12
	maxOneOf    = 4
	// maxBefore is how many former names are remembered of one value by one source.
	maxBefore = 8
)

// naming is what one answer says that a value stands for.
type naming struct {
	names    []sdk.Observable // sorted by key
	from, to time.Time        // zero: the source gives no time
}

func (n naming) timeless() bool { return n.to.IsZero() }

// namings are what a reply about a value says it stands for: first what it says now, in
// its order, then what the source said before, the latest first. A host is named by
// assets, a user by identities; other values stand for nothing else.
func namings(o sdk.Observable, r *model.Reply) []naming {
	var all []naming
	for i := range r.Answers {
		var n naming
		switch a := &r.Answers[i]; {
		case a.Asset != nil && (o.Kind == sdk.Host || o.Kind == sdk.IP || o.Kind == sdk.MAC):
			n.names, n.from = assetNames(a.Asset), a.Asset.SeenAt
		case a.Identity != nil && (o.Kind == sdk.User || o.Kind == sdk.Account || o.Kind == sdk.Email):
			n.names = identityNames(a.Identity)
		}
		if len(n.names) == 0 {
			continue
		}
		n.from = n.from.UTC()
		n.to = n.from
		all = append(all, n)
	}
	for _, b := range slices.Backward(r.Before) {
		n := naming{from: b.From, to: b.To}
		for _, key := range b.Names {
			if o, err := sdk.ParseKey(key); err == nil {
				n.names = append(n.names, o)
			}
		}
		if i := len(all) - 1; i >= 0 && !n.timeless() && !all[i].timeless() && slices.Equal(all[i].names, n.names) {
			// It was so all the time between.
			all[i].from, all[i].to = earliest(all[i].from, n.from), latest(all[i].to, n.to)
			continue
		}
		all = append(all, n)
	}
	return all
}

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func assetNames(a *model.Asset) []sdk.Observable {
	names := nameList{}
	names.add(sdk.Host, a.Name)
	names.add(sdk.Host, a.FQDN)
	for _, v := range a.MACs[:min(len(a.MACs), maxOneOf)] {
		names.add(sdk.MAC, v)
	}
	for _, v := range a.IPs[:min(len(a.IPs), maxOneOf)] {
		names.add(sdk.IP, v)
	}
	return names.sorted()
}

func identityNames(id *model.Identity) []sdk.Observable {
	names := nameList{}
	for _, v := range []string{id.Name, id.UPN, id.SID} {
		names.add(sdk.User, v)
		names.add(sdk.Account, v)
	}
	names.add(sdk.Email, id.Mail)
	names.add(sdk.User, id.Mail)
	names.add(sdk.Account, id.Mail)
	return names.sorted()
}

type nameList []sdk.Observable

func (l *nameList) add(kind, value string) {
	if o, ok := canonical(sdk.Observable{Kind: kind, Value: value}); ok && !slices.Contains(*l, o) && len(*l) < maxOneNames {
		*l = append(*l, o)
	}
}

func (l nameList) sorted() []sdk.Observable { return byKey(l) }

// before is what is to be remembered of a source's last reply about a value once there
// is another: who it said it was, with times. What had no time was simply wrong, unless
// the source has only failed now.
func before(o sdk.Observable, old *model.Reply, failed bool) []model.Naming {
	if old == nil {
		return nil
	}
	var kept []model.Naming
	for _, n := range namings(o, old) {
		if n.timeless() && !failed || len(kept) >= maxBefore {
			continue
		}
		k := model.Naming{From: n.from, To: n.to}
		for _, name := range n.names {
			k.Names = append(k.Names, name.Key())
		}
		kept = append(kept, k)
	}
	slices.Reverse(kept)
	return kept
}

// distance is how far a time is from when a naming was seen to be true: negative if it
// gives none.
func (n naming) distance(at time.Time) time.Duration {
	switch {
	case n.timeless():
		return -1
	case at.Before(n.from):
		return n.from.Sub(at)
	case at.After(n.to):
		return at.Sub(n.to)
	}
	return 0
}

// standsFor is who a value is at a time, and which lookup says so, of all that internal
// enrichments say. An address is its owner's only near when that was seen, and of several
// owners it is that of the nearest sight; of another name, what was seen last counts. What
// was seen at some time counts before what has none, and then the order of the
// enrichments in the configuration.
func (m *Machine) standsFor(v correlate.ValueNum, at time.Time) (naming, *lookup) {
	var best naming
	var by *lookup
	rank := func(l *lookup) int {
		return slices.IndexFunc(m.settings.Sources, func(s Source) bool { return s.Address == l.src.Address })
	}
	moves := m.index.Observable(v).Kind == sdk.IP
	better := func(n naming, l *lookup) bool {
		if by == nil || n.timeless() != best.timeless() {
			return by == nil || best.timeless()
		}
		if moves && n.distance(at) != best.distance(at) {
			return n.distance(at) < best.distance(at)
		}
		if !n.to.Equal(best.to) {
			return n.to.After(best.to)
		}
		return l != by && rank(l) < rank(by)
	}
	for _, l := range m.lookupsOf(v) {
		if l.src == nil || !l.src.Internal {
			continue
		}
		for _, n := range l.namings {
			if moves && n.distance(at) > m.settings.Correlate.Lease {
				continue
			}
			if better(n, l) {
				best, by = n, l
			}
		}
	}
	return best, by
}

// same lists what stands for the same as the subjects among a signal's observables,
// beyond themselves, at most maxSame.
func (m *Machine) same(observables []sdk.Observable, at time.Time) []sdk.Observable {
	if m.settings == nil {
		return nil
	}
	var all []sdk.Observable
	for _, o := range observables {
		v, ok := m.index.Lookup(o)
		if !ok || o.Role != sdk.Subject || m.index.NeverJoins(o) {
			continue
		}
		n, by := m.standsFor(v, at)
		if by == nil {
			continue
		}
		for _, name := range n.names {
			if name.Kind == sdk.IP && n.distance(at) > m.settings.Correlate.Lease {
				continue
			}
			has := func(o sdk.Observable) bool { return o.Kind == name.Kind && o.Value == name.Value }
			if len(all) < maxSame && !m.index.NeverJoins(name) && !slices.Contains(all, name) && !slices.ContainsFunc(observables, has) {
				all = append(all, name)
			}
		}
	}
	return all
}

// refsOf are the values of a signal, and those that stand for the same as its subjects.
func (m *Machine) refsOf(observables []sdk.Observable, at time.Time) []correlate.Ref {
	refs := m.index.Number(observables)
	for _, o := range m.same(observables, at) {
		refs = append(refs, correlate.Ref{Value: m.index.Value(o), Role: correlate.Same})
	}
	return refs
}

// observablesOf are the values that a signal has itself.
func (m *Machine) observablesOf(n correlate.SignalNum) []sdk.Observable {
	refs := m.index.Refs(n)
	all := make([]sdk.Observable, 0, len(refs))
	for _, r := range refs {
		if r.Role == correlate.Same {
			continue
		}
		o := m.index.Observable(r.Value)
		o.Role = roleOf(r.Role)
		all = append(all, o)
	}
	return all
}

// resolve works out anew who the subjects are that a lookup is about, and puts their
// signals where they belong. before is who it said they were.
func (m *Machine) resolve(l *lookup, before []naming) {
	if l.src == nil || !l.src.Internal || len(before)+len(l.namings) == 0 {
		return
	}
	for _, n := range slices.Collect(m.index.SignalsOf(l.value)) {
		old := m.index.Refs(n)
		if !slices.Contains(old, correlate.Ref{Value: l.value, Role: correlate.Subject}) {
			continue
		}
		next := m.refsOf(m.observablesOf(n), m.index.Time(n))
		if slices.Equal(old, next) {
			continue
		}
		for _, r := range old {
			m.idle = append(m.idle, r.Value)
		}
		m.grouped(m.index.PutRefs(m.index.ID(n), m.index.Time(n), next), false)
	}
	m.growLookups()
}

// sameRefs works out anew who everybody is, since the enrichments or their order are
// others now. It returns nil if that changes nothing.
func (m *Machine) sameRefs() func(correlate.SignalNum) []correlate.Ref {
	others := map[correlate.SignalNum][]correlate.Ref{}
	for n := range correlate.SignalNum(m.index.SignalRoom()) {
		if m.index.ID(n) == "" {
			continue
		}
		old := m.index.Refs(n)
		if next := m.refsOf(m.observablesOf(n), m.index.Time(n)); !slices.Equal(old, next) {
			others[n] = next
			for _, r := range old {
				m.idle = append(m.idle, r.Value)
			}
		}
	}
	m.growLookups()
	if len(others) == 0 {
		return nil
	}
	return func(n correlate.SignalNum) []correlate.Ref {
		if refs, ok := others[n]; ok {
			return refs
		}
		return m.index.Refs(n)
	}
}

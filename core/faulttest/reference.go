//go:build linux

package faulttest

import (
	"cmp"
	"maps"
	"slices"
)

// Reference says what must come of what a world's feeds offer: slowly, simply, and from
// that alone. It knows nothing of faults, so none may make a difference.
type Reference struct {
	// Events by feed and key: the latest revision of each.
	Events map[string]map[string]Event
	// Cases are the alerts that belong together.
	Cases []RefCase
}

// Member names an alert.
type Member struct{ Feed, Key string }

// RefCase is a case by its members, sorted.
type RefCase struct {
	Members []Member
	// Groups that it joins: as many cases it may have been at most before all of its
	// events were there.
	Groups []int
	// Severity is the highest of its members.
	Severity int
}

// NewReference reads what the feeds have to offer.
func NewReference(feeds []Feed) Reference {
	m := Reference{Events: map[string]map[string]Event{}}
	for _, f := range feeds {
		latest := map[string]Event{}
		for _, e := range f.Events() {
			latest[e.Key] = e
		}
		m.Events[f.Name()] = latest
	}
	m.Cases = m.cases()
	return m
}

// cases joins groups that one alert names, again and again until nothing changes.
func (m *Reference) cases() []RefCase {
	root := map[int]int{} // group to the lowest one that it is joined with
	for changed := true; changed; {
		changed = false
		for _, events := range m.Events {
			for _, e := range events {
				if e.Class != Matched {
					continue
				}
				low := e.Groups[0]
				for _, g := range e.Groups {
					if _, ok := root[g]; !ok {
						root[g] = g
					}
					low = min(low, root[g])
				}
				for _, g := range e.Groups {
					if root[g] != low {
						root[g], changed = low, true
					}
				}
			}
		}
	}
	byRoot := map[int]*RefCase{}
	for g, low := range root {
		c := byRoot[low]
		if c == nil {
			c = &RefCase{}
			byRoot[low] = c
		}
		c.Groups = append(c.Groups, g)
	}
	for feed, events := range m.Events {
		for key, e := range events {
			if e.Class == Matched {
				c := byRoot[root[e.Groups[0]]]
				c.Members = append(c.Members, Member{feed, key})
				c.Severity = max(c.Severity, e.Severity)
			}
		}
	}
	var all []RefCase
	for _, low := range slices.Sorted(maps.Keys(byRoot)) {
		c := byRoot[low]
		slices.Sort(c.Groups)
		slices.SortFunc(c.Members, func(a, b Member) int { return cmp.Or(cmp.Compare(a.Feed, b.Feed), cmp.Compare(a.Key, b.Key)) })
		all = append(all, *c)
	}
	return all
}

// Alerts is how many signals there must be.
func (m *Reference) Alerts() int {
	n := 0
	for _, c := range m.Cases {
		n += len(c.Members)
	}
	return n
}

// Truth is what the enrichments of a world know of a value: a score of 0 to 100, or
// that there is nothing.
func Truth(seed uint64, enrichment, value string) (score int, known bool) {
	n := hash(seed, enrichment, value)
	return int(n % 101), n/101%8 != 0
}

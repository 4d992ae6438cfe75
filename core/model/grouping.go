package model

import (
	"slices"
	"strings"

	"github.com/kelpie-sec/kelpie/sdk"
)

// Grouping is what a rule over several puts its facts together by.
type Grouping struct {
	Kinds []string // of observables
	Names []string // of expressions; one that is a kind gives values of that kind
}

// Bounds of what one event is to a rule over several.
const (
	MaxKeys    = 16
	MaxValues  = 16  // that count as distinct
	MaxKeyText = 256 // bytes of one value
	// MaxNumber, in thousandths, keeps a million of them from overflowing when they are
	// added up.
	MaxNumber = 1_000_000_000_000
	// OneFact is the number of a fact that is only counted.
	OneFact = 1000
)

// Texts are the keys of an event that has these observables, and of whose expressions
// these came: one for each combination of values, at most MaxKeys, and none where a value
// is missing. Without a grouping there is one, which is empty.
func (g Grouping) Texts(observables []sdk.Observable, named []string) []string {
	keys := []string{""}
	for _, kind := range g.Kinds {
		var parts []string
		for _, o := range OfKind(observables, kind) {
			parts = append(parts, o.Key())
		}
		keys = combine(keys, parts)
	}
	for i, name := range g.Names {
		var parts []string
		value := named[i]
		if slices.Contains(sdk.Kinds(), name) && value != "" {
			o, err := sdk.Canonical(name, value)
			if value = o.Value; err != nil {
				value = ""
			}
		}
		if value != "" {
			parts = []string{name + ":" + value}
		}
		keys = combine(keys, parts)
	}
	return keys
}

func combine(keys, parts []string) []string {
	var all []string
	for _, key := range keys {
		for _, part := range parts {
			if len(all) == MaxKeys {
				return all
			}
			if key != "" {
				part = key + "\x00" + part
			}
			all = append(all, part)
		}
	}
	return all
}

// KeyParts are the names and values of a key that Texts made.
func KeyParts(key string) (names, values []string) {
	if key == "" {
		return nil, nil
	}
	for part := range strings.SplitSeq(key, "\x00") {
		name, value, _ := strings.Cut(part, ":")
		names, values = append(names, name), append(values, value)
	}
	return names, values
}

// OfKind are the observables of a kind that a rule groups by: those that are subjects,
// or else all of them.
func OfKind(all []sdk.Observable, kind string) []sdk.Observable {
	var subjects, others []sdk.Observable
	for _, o := range all {
		switch {
		case o.Kind != kind:
		case o.Role == sdk.Subject:
			subjects = append(subjects, o)
		default:
			others = append(others, o)
		}
	}
	if len(subjects) > 0 {
		return subjects
	}
	slices.SortFunc(others, func(a, b sdk.Observable) int { return strings.Compare(a.Value, b.Value) })
	return slices.CompactFunc(others, func(a, b sdk.Observable) bool { return a.Value == b.Value })
}

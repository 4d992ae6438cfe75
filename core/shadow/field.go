package shadow

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"slices"

	"github.com/kelpie-sec/kelpie/core/enrich"
	"github.com/kelpie-sec/kelpie/core/model"
)

// Field counts how the two agree on one field of an asset, an identity or a network.
type Field struct {
	Name   string `json:"name"` // "asset.owner"
	Same   int    `json:"same"`
	Differ int    `json:"differ"`
	// Only one of the two has it.
	OnlyFirst  int `json:"only_first"`
	OnlyShadow int `json:"only_shadow"`
}

type fields map[string]*Field

// count enters what both know of an observable, and names the fields that differ.
func (f fields) count(p *enrich.Pair) (differ []string) {
	for _, kind := range []string{"asset", "identity", "network"} {
		first, shadow := answerOf(kind, p.First.Answers), answerOf(kind, p.Shadow.Answers)
		if first == nil || shadow == nil {
			continue
		}
		names := slices.Sorted(maps.Keys(first))
		for _, name := range slices.Sorted(maps.Keys(shadow)) {
			if first[name] == nil {
				names = append(names, name)
			}
		}
		for _, name := range names {
			full := kind + "." + name
			c := f[full]
			if c == nil {
				c = &Field{Name: full}
				f[full] = c
			}
			switch {
			case shadow[name] == nil:
				c.OnlyFirst++
			case first[name] == nil:
				c.OnlyShadow++
			case bytes.Equal(first[name], shadow[name]):
				c.Same++
			default:
				c.Differ++
				differ = append(differ, full)
			}
		}
	}
	return differ
}

// sorted are those that differ most first.
func (f fields) sorted() []Field {
	all := []Field{}
	for _, c := range f {
		all = append(all, *c)
	}
	slices.SortFunc(all, func(a, b Field) int {
		return cmp.Or(cmp.Compare(b.Differ, a.Differ), cmp.Compare(a.Name, b.Name))
	})
	return all
}

// answerOf are the fields of the first answer of a kind; nil: there is none. Lists are in
// the order of their items, as it is no matter here.
func answerOf(kind string, all []model.Answer) map[string]json.RawMessage {
	for i := range all {
		var v any
		switch a := &all[i]; {
		case kind == "asset" && a.Asset != nil:
			v = a.Asset
		case kind == "identity" && a.Identity != nil:
			v = a.Identity
		case kind == "network" && a.Network != nil:
			v = a.Network
		default:
			continue
		}
		out := map[string]json.RawMessage{}
		text, err := json.Marshal(v)
		if err == nil {
			err = json.Unmarshal(text, &out)
		}
		if err != nil {
			return nil // it came as JSON
		}
		for name, value := range out {
			var list []string
			if json.Unmarshal(value, &list) == nil {
				slices.Sort(list)
				out[name], _ = json.Marshal(list)
			}
		}
		delete(out, "seen_at") // which is never the same
		return out
	}
	return nil
}

package release

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/kelpie-sec/kelpie/core/model"
)

// Change is something that one version of a plugin has not like another.
type Change struct {
	// Where it is: the connection, or a connector as a block begins, such as detector
	// "acme"; and then a block within, a verb.
	Where string `json:"where"`
	// What it is: "attribute", "block", "verb", "connector" or "connection"; and its name.
	What string `json:"what"`
	Name string `json:"name,omitempty"`
	// Change is "added", "removed", "required", "optional", "deprecated" or "changed".
	Change string `json:"change"`
	Detail string `json:"detail,omitempty"`
}

// Changes tells what a plugin's schema and verbs have differently from before.
func Changes(was, is model.Plugin) []Change {
	var d differ
	switch at := "connection"; {
	case was.Connection == nil && is.Connection != nil:
		d.add(at, at, "", "added", "")
	case was.Connection != nil && is.Connection == nil:
		d.add(at, at, "", "removed", "")
	case is.Connection != nil:
		d.schema(at, *was.Connection, *is.Connection)
	}
	old, now := byKey(was.Connectors, connectorKey), byKey(is.Connectors, connectorKey)
	for _, key := range union(old, now) {
		before, had := old[key]
		after, has := now[key]
		switch {
		case !had:
			d.add(key, "connector", "", "added", after.Summary)
		case !has:
			d.add(key, "connector", "", "removed", "")
		default:
			d.connector(key, before, after)
		}
	}
	return d.found
}

type differ struct{ found []Change }

func (d *differ) add(where, what, name, change, detail string) {
	d.found = append(d.found, Change{where, what, name, change, detail})
}

func connectorKey(c model.Connector) string {
	return strings.TrimSpace(string(c.Kind) + " " + c.Name)
}

func (d *differ) connector(where string, was, is model.Connector) {
	d.schema(where, was.Schema, is.Schema)
	if was.CursorVersion != is.CursorVersion {
		d.add(where, "connector", "", "changed", fmt.Sprintf("its place in the source is of version %d, and was of %d: it may read again", is.CursorVersion, was.CursorVersion))
	}
	old, now := byKey(was.Verbs, func(v model.Verb) string { return v.Name }), byKey(is.Verbs, func(v model.Verb) string { return v.Name })
	for _, name := range union(old, now) {
		before, had := old[name]
		after, has := now[name]
		switch {
		case !had:
			d.add(where, "verb", name, "added", after.Summary)
		case !has:
			d.add(where, "verb", name, "removed", "")
		default:
			d.verb(where, before, after)
		}
	}
}

func (d *differ) verb(where string, was, is model.Verb) {
	for _, able := range []struct {
		was, is bool
		what    string
	}{{was.Undo, is.Undo, "undone"}, {was.Check, is.Check, "checked"}, {was.Idempotent, is.Idempotent, "repeated safely"}} {
		if able.was != able.is {
			d.add(where, "verb", is.Name, "changed", map[bool]string{true: "can be ", false: "cannot be "}[able.is]+able.what+map[bool]string{true: " now", false: " any more"}[able.is])
		}
	}
	d.schema(where+" "+is.Name, was.Parameters, is.Parameters)
}

func (d *differ) schema(where string, was, is model.Schema) {
	old, now := byKey(was.Attributes, func(a model.Attribute) string { return a.Name }), byKey(is.Attributes, func(a model.Attribute) string { return a.Name })
	for _, a := range is.Attributes { // one that is renamed is the same
		if before, ok := old[a.RenamedFrom]; ok && a.RenamedFrom != "" && now[a.RenamedFrom].Name == "" {
			d.add(where, "attribute", a.RenamedFrom, "changed", "is called "+a.Name+" now")
			delete(old, a.RenamedFrom)
			old[a.Name] = before
		}
	}
	for _, name := range union(old, now) {
		before, had := old[name]
		after, has := now[name]
		switch {
		case !had:
			d.add(where, "attribute", name, "added", map[bool]string{true: "required"}[after.Required])
		case !has:
			d.add(where, "attribute", name, "removed", "")
		default:
			d.attribute(where, before, after)
		}
	}
	d.blocks(where, was.Blocks, is.Blocks)
}

func (d *differ) attribute(where string, was, is model.Attribute) {
	if was.Required != is.Required {
		d.add(where, "attribute", is.Name, map[bool]string{true: "required", false: "optional"}[is.Required], "")
	}
	if is.Deprecated != "" && was.Deprecated == "" {
		d.add(where, "attribute", is.Name, "deprecated", is.Deprecated)
	}
	if x, y := typeText(was.Type), typeText(is.Type); x != y {
		d.add(where, "attribute", is.Name, "changed", fmt.Sprintf("takes %s, and took %s", y, x))
	}
	if was.Secret != is.Secret {
		d.add(where, "attribute", is.Name, "changed", map[bool]string{true: "takes a secret now", false: "takes no secret any more"}[is.Secret])
	}
	if !bytes.Equal(was.Default, is.Default) {
		d.add(where, "attribute", is.Name, "changed", fmt.Sprintf("is %s by default, and was %s", cmp.Or(string(is.Default), "nothing"), cmp.Or(string(was.Default), "nothing")))
	}
}

func (d *differ) blocks(where string, was, is []model.Block) {
	old, now := byKey(was, func(b model.Block) string { return b.Name }), byKey(is, func(b model.Block) string { return b.Name })
	for _, name := range union(old, now) {
		before, had := old[name]
		after, has := now[name]
		switch {
		case !had:
			d.add(where, "block", name, "added", map[bool]string{true: "required"}[after.Required])
			continue
		case !has:
			d.add(where, "block", name, "removed", "")
			continue
		case before.Required != after.Required:
			d.add(where, "block", name, map[bool]string{true: "required", false: "optional"}[after.Required], "")
		case before.Nesting != after.Nesting:
			d.add(where, "block", name, "changed", fmt.Sprintf("is a %s, and was a %s", after.Nesting, before.Nesting))
		}
		d.schema(where+" "+name, before.Schema, after.Schema)
	}
}

func typeText(t model.Type) string {
	if t.Element == nil {
		return t.Kind
	}
	return t.Kind + " of " + typeText(*t.Element)
}

func byKey[T any](all []T, key func(T) string) map[string]T {
	out := map[string]T{}
	for _, v := range all {
		out[key(v)] = v
	}
	return out
}

func union[T any](a, b map[string]T) []string {
	var keys []string
	for k := range a {
		keys = append(keys, k)
	}
	for k := range b {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// Permissions that a plugin asks for, as they stand in its schema.
type Permissions struct {
	Read    []string `json:"read,omitempty"`
	Write   []string `json:"write,omitempty"`
	Network []string `json:"network,omitempty"`
}

// Grown are the permissions that a plugin asks for and did not before; with the two the
// other way about, those that it asks for no more.
//
// What an attribute in one of them is by default counts as well, as "{path}=/etc/acme":
// with another default it lets a plugin touch something else.
func Grown(was, is model.Plugin) Permissions {
	old, now := defaults(was), defaults(is)
	ports := old.with(was.Network)
	return Permissions{
		Read:  beyond(old.with(was.Read), now.with(is.Read)),
		Write: beyond(old.with(was.Write), now.with(is.Write)),
		Network: slices.DeleteFunc(beyond(ports, now.with(is.Network)), func(text string) bool {
			kind, _, _ := strings.Cut(text, ":")
			return slices.Contains(ports, kind+":*")
		}),
	}
}

// Any tells whether there are any.
func (p Permissions) Any() bool { return len(p.Read)+len(p.Write)+len(p.Network) > 0 }

func beyond(was, is []string) []string {
	had := map[string]bool{}
	for _, text := range was {
		had[text] = true
	}
	var more []string
	for _, text := range is {
		if !had[text] {
			more = append(more, text)
		}
	}
	return more
}

// defaultsOf are the defaults of a plugin's attributes, by their names.
type defaultsOf map[string][]string

func defaults(p model.Plugin) defaultsOf {
	d, seen := defaultsOf{}, map[string]bool{}
	add := func(s model.Schema) {
		for _, a := range s.Attributes {
			switch text := string(a.Default); text {
			case "", "null", `""`, "[]", "{}":
			default:
				var plain string
				if json.Unmarshal(a.Default, &plain) == nil {
					text = plain
				}
				if key := a.Name + "=" + text; !seen[key] {
					seen[key], d[a.Name] = true, append(d[a.Name], text)
				}
			}
		}
	}
	if p.Connection != nil {
		add(*p.Connection)
	}
	for _, c := range p.Connectors {
		add(c.Schema)
	}
	return d
}

var braces = regexp.MustCompile(`\{([a-z][a-z0-9_]*)\}`)

// with adds to permissions, for each attribute that they name, what it is by default.
func (d defaultsOf) with(permissions []string) []string {
	all, seen := slices.Clone(permissions), map[string]bool{}
	for _, text := range permissions {
		kind, _, _ := strings.Cut(text, ":")
		if kind != "tcp" && kind != "listen" {
			kind = ""
		} else {
			kind += ":"
		}
		for _, found := range braces.FindAllStringSubmatch(text, -1) {
			if attribute := kind + found[0]; !seen[attribute] {
				seen[attribute] = true
				for _, value := range d[found[1]] {
					all = append(all, attribute+"="+value)
				}
			}
		}
	}
	return all
}

// Words say what the permissions let a plugin do, a phrase for each: "read what path
// names".
func (p Permissions) Words() []string {
	var out []string
	for _, text := range p.Read {
		out = append(out, "read "+named(text))
	}
	for _, text := range p.Write {
		out = append(out, "write "+named(text))
	}
	for _, text := range p.Network {
		kind, port, _ := strings.Cut(text, ":")
		verb, ok := map[string]string{"tcp": "connect to", "listen": "listen on"}[kind]
		switch {
		case !ok:
			out = append(out, "use the network: "+text)
		case port == "*":
			out = append(out, verb+" every TCP port")
		case strings.Contains(port, "{"):
			out = append(out, verb+" the TCP port of "+named(port))
		default:
			out = append(out, verb+" TCP port "+port)
		}
	}
	return out
}

// named says what a path or port of a schema is: "{path}" is what that attribute says.
func named(text string) string {
	if name, value, ok := strings.Cut(text, "}="); ok && strings.HasPrefix(name, "{") {
		return "what its attribute " + name[1:] + " names by default: " + value
	}
	if name, ok := strings.CutPrefix(text, "{"); ok && strings.HasSuffix(name, "}") && strings.Count(text, "{") == 1 {
		return "what its attribute " + strings.TrimSuffix(name, "}") + " names"
	}
	return text
}

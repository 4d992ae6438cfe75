package config

import (
	"bytes"
	"path/filepath"
	"strings"
)

// Promotion is the change of a file that puts a rule into production. All else in the
// file stays as it is written.
type Promotion struct {
	Path   string `json:"-"`
	File   string `json:"file"` // as it is shown
	Line   int    `json:"line"`
	Before string `json:"before,omitempty"` // the line; empty: it is a new one
	After  string `json:"after"`
	Text   []byte `json:"-"` // the whole file, after it
}

// Rule by its name or address of now; nil: there is none.
func (c *Config) Rule(name string) *Rule {
	for i := range c.Rules {
		if r := &c.Rules[i]; r.Name() == name || r.Address == name {
			return r
		}
	}
	return nil
}

// Promote says how the rule's file changes when its state is written as production.
func (c *Config) Promote(r *Rule) Promotion {
	const state = `"` + Production + `"`
	at := r.section.header()
	out := Promotion{File: at.Filename, Line: at.Start.Line + 1}
	var old string
	for _, f := range c.Source.Files {
		if c.Source.shown(f.Name) == at.Filename {
			out.Path, old = filepath.Join(c.Source.Dir, f.Name), f.Text
		}
	}
	var text string
	if attr := r.section.attrs["state"]; attr != nil {
		value := attr.Expr.Range()
		out.Line, out.Before = value.Start.Line, lineAt(old, attr.NameRange.Start.Byte)
		text = old[:value.Start.Byte] + state + old[value.End.Byte:]
		out.After = lineAt(text, attr.NameRange.Start.Byte)
	} else {
		text = opened(old, r.section.block.OpenBraceRange.End.Byte, "state = "+state)
		if wasNeat := bytes.Equal(Format([]byte(old)), []byte(old)); wasNeat {
			text = string(Format([]byte(text)))
		}
		if lines := strings.Split(text, "\n"); out.Line <= len(lines) {
			out.After = lines[out.Line-1]
		}
	}
	out.Text = []byte(text)
	return out
}

// opened has a line more after the one that a block's brace, which ends at end, is on.
func opened(text string, end int, line string) string {
	rest, next := text[end:], strings.IndexByte(text[end:], '\n')
	if next < 0 {
		next = len(rest)
	}
	switch after := strings.TrimSpace(rest[:next]); {
	case after == "", strings.HasPrefix(after, "#"), strings.HasPrefix(after, "//"):
		return text[:end] + rest[:next] + "\n  " + line + rest[next:]
	}
	return text[:end] + "\n  " + line + "\n  " + strings.TrimLeft(rest, " \t")
}

// lineAt is the line that a place is on.
func lineAt(text string, at int) string {
	first := strings.LastIndexByte(text[:at], '\n') + 1
	line, _, _ := strings.Cut(text[first:], "\n")
	return strings.TrimSuffix(line, "\r")
}

// Package scaffold writes new plugins: a connector for a product that does not exist,
// Acme, which builds, is tested and does what a plugin has to, under another name. What
// it writes is the package acme beside it, or examples/node.
package scaffold

import (
	"embed"
	"errors"
	"fmt"
	"go/format"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/examples/node"
)

//go:embed acme/*.go acme/README.md acme/testdata
var files embed.FS

// The languages that a plugin can be written in.
const (
	Go   = "go"
	Node = "node"
)

// SDK is the module that a plugin in Go imports.
const SDK = "github.com/kelpie-sec/kelpie/sdk"

// Plugin is what is to be written.
type Plugin struct {
	// Name: lower-case letters, digits and "_", beginning with a letter.
	Name string
	// Kinds of connectors that it is to have, at least one.
	Kinds []model.ConnectorKind
	// Language is Go or Node; empty: Go.
	Language string
	// Module is the name of its Go module; empty: example.org/kelpie-NAME.
	Module string
	// SDKVersion, for Go, is the version of the SDK, such as v0.1.0. SDKFolder, if not empty, is
	// the folder that it is in instead.
	SDKVersion, SDKFolder string
	// GoVersion is what its module asks for, such as 1.26.
	GoVersion string
}

var (
	// ErrExists means that the folder has something in it already.
	ErrExists = errors.New("the folder is not empty")
	// ErrRefused means that no such plugin can be written; the error says why.
	ErrRefused = errors.New("it cannot be written")
)

const maxName = 63

var (
	nameForm   = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	moduleForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._~-]*(/[A-Za-z0-9._~-]+)*$`)
)

// refusal is an ErrRefused in words of its own.
type refusal string

func (r refusal) Error() string        { return string(r) }
func (r refusal) Is(target error) bool { return target == ErrRefused }

// check refuses what cannot be written.
func (p Plugin) check() error {
	switch {
	case len(p.Name) > maxName:
		return refusal(fmt.Sprintf("a plugin's name has at most %d characters, and this has %d", maxName, len(p.Name)))
	case !nameForm.MatchString(p.Name):
		text := fmt.Sprintf("%q is no name of a plugin: lower-case letters, digits and \"_\", beginning with a letter", p.Name)
		if near := strings.NewReplacer("-", "_", " ", "_", ".", "_").Replace(strings.ToLower(p.Name)); nameForm.MatchString(near) {
			text += fmt.Sprintf("; %q is one", near)
		}
		return refusal(text)
	case p.Language != "" && p.Language != Go && p.Language != Node:
		return refusal(fmt.Sprintf("a plugin in %q cannot be written, only in %q or %q", p.Language, Go, Node))
	case p.Module != "" && !moduleForm.MatchString(p.Module):
		return refusal(fmt.Sprintf("%q is no name of a Go module, which is such as example.org/kelpie-acme", p.Module))
	case len(p.Kinds) == 0:
		return refusal("a plugin has at least one connector")
	}
	return nil
}

// Write writes a plugin into a folder, which is made if need be and must be empty. It
// returns the names of the files, sorted.
func Write(folder string, p Plugin) ([]string, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	if p.Module == "" {
		p.Module = "example.org/kelpie-" + strings.ReplaceAll(p.Name, "_", "-")
	}
	entries, err := os.ReadDir(folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if len(entries) > 0 {
		return nil, fmt.Errorf("%s: %w", folder, ErrExists)
	}
	all, err := p.files()
	if err != nil {
		return nil, err
	}
	var names []string
	for name, text := range all {
		file := filepath.Join(folder, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(file, text, 0o644); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

// files by their names in the folder.
func (p Plugin) files() (map[string][]byte, error) {
	all := map[string][]byte{}
	from := node.Files()
	if p.Language != Node {
		all["go.mod"], all[".gitignore"] = []byte(p.module()), []byte("/plugins/\n")
		var err error
		if from, err = fs.Sub(files, "acme"); err != nil {
			return nil, err
		}
	}
	err := fs.WalkDir(from, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || name == "node_test.go" { // about what is not written
			return err
		}
		if kind, of := kindOf(name); of && !slices.Contains(p.Kinds, kind) {
			return nil
		}
		text, err := fs.ReadFile(from, name)
		if err != nil {
			return err
		}
		all[name], err = p.rewrite(name, string(text))
		return err
	})
	return all, err
}

// kindOf a connector that a file is about, if it is about one.
func kindOf(file string) (model.ConnectorKind, bool) {
	name, _, _ := strings.Cut(path.Base(file), ".")
	switch strings.TrimSuffix(name, "_test") {
	case "detector", "001_alerts", "002_alerts_2":
		return model.Detector, true
	case "enrichment":
		return model.Enrichment, true
	case "action":
		return model.Action, true
	}
	return "", false
}

// rewrite gives a file the plugin's name, and takes out what is about connectors that it
// has not.
func (p Plugin) rewrite(name, text string) ([]byte, error) {
	var kept []string
	for paragraph := range strings.SplitAfterSeq(text, "\n\n") {
		if p.without(paragraph) {
			continue
		}
		for line := range strings.Lines(paragraph) {
			if !p.without(strings.TrimSpace(line)) {
				kept = append(kept, line)
			}
		}
	}
	text = strings.Join(kept, "")
	text = strings.ReplaceAll(text, "https://example.org/kelpie-acme", "https://"+p.Module)
	text = strings.ReplaceAll(text, "https://acme.example.org", "https://"+strings.ReplaceAll(p.Name, "_", "-")+".example.org")
	text = strings.ReplaceAll(text, "ACME", strings.ToUpper(p.Name))
	text = strings.ReplaceAll(text, "Acme", title(p.Name))
	text = strings.ReplaceAll(text, "acme", p.Name)
	if !strings.HasSuffix(name, ".go") {
		return []byte(text), nil
	}
	out, err := format.Source([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return out, nil
}

// without tells whether a line or paragraph is about a connector that the plugin has not:
// what describes it in main.go or main.js, and in the README its line and its block.
func (p Plugin) without(text string) bool {
	for kind, begins := range map[model.ConnectorKind][]string{
		model.Detector:   {"detector(),", "require('./detector')", "| `detector.", `detector "acme"`, `pipeline "`, `response "`, `  step "`, "`KELPIE_RECORD="},
		model.Enrichment: {"enrichment(),", "require('./enrichment')", "| `enrichment.", `enrichment "acme"`},
		model.Action:     {"action(),", "require('./action')", "| `action.", `action "acme"`, `pipeline "`, `response "`, `  step "`},
	} {
		if !slices.Contains(p.Kinds, kind) && slices.ContainsFunc(begins, func(b string) bool { return strings.HasPrefix(text, b) }) {
			return true
		}
	}
	return false
}

// title is a name for people.
func title(name string) string {
	words := strings.Split(name, "_")
	for i, w := range words {
		if w != "" {
			words[i] = strings.ToUpper(w[:1]) + w[1:]
		}
	}
	return strings.Join(words, " ")
}

func (p Plugin) module() string {
	text := fmt.Sprintf("module %s\n\ngo %s\n\nrequire %s %s\n", p.Module, p.GoVersion, SDK, p.SDKVersion)
	if p.SDKFolder != "" {
		text += fmt.Sprintf("\nreplace %s => %s\n", SDK, p.SDKFolder)
	}
	return text
}

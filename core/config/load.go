package config

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/kelpie-sec/kelpie/core/model"
)

// Options of Load. The zero value reads the process's environment and the schemas
// beside the lock file.
type Options struct {
	// Variables given on the command line. Others come from KELPIE_VAR_NAME.
	Variables map[string]string
	// LookupEnv reads the environment; nil: the process's.
	LookupEnv func(string) (string, bool)
	// Schemas of plugins, instead of those beside the lock file.
	Schemas map[string]model.Plugin
	// Tests: ParseTests comes next, and need not read the syntax once more.
	Tests bool
}

// Load reads a file, or all *.hcl files of a folder, with all that they depend on.
// Its diagnostics are about reading; what is written in the files is for Parse.
func Load(path string, o Options) (*Source, hcl.Diagnostics) {
	if o.LookupEnv == nil {
		o.LookupEnv = os.LookupEnv
	}
	src, err := readFiles(path)
	if err != nil {
		return nil, reading(err)
	}
	if o.Schemas == nil {
		if o.Schemas, err = ReadSchemas(src.Dir); err != nil {
			return nil, reading(err)
		}
	}
	src.unitFiles()
	src.discover(o)
	if _, err := src.Encode(); err != nil {
		return nil, reading(err)
	}
	return src, nil
}

// reading makes a diagnostic of an error about the configuration's own files.
func reading(err error) hcl.Diagnostics {
	detail := sentence(plain(err)) + "."
	return hcl.Diagnostics{{Severity: hcl.DiagError, Summary: "Configuration cannot be read", Detail: detail}}
}

// plain is an error as an operator reads it: what, and why.
func plain(err error) string {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return "there is no " + pathErr.Path
		case errors.Is(err, fs.ErrPermission):
			return pathErr.Path + " may not be read by this user"
		}
		return pathErr.Path + ": " + pathErr.Err.Error()
	}
	return err.Error()
}

func readFiles(path string) (*Source, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	dir, names := filepath.Dir(path), []string{filepath.Base(path)}
	if info.IsDir() {
		dir = path
		if names, err = hclFiles(path); err != nil {
			return nil, err
		}
	}
	src := &Source{Prefix: dir, Single: !info.IsDir()}
	if src.Dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	for _, name := range names {
		text, err := readText("", filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		src.Files = append(src.Files, File{Name: name, Text: text})
	}
	return src, nil
}

// hclFiles are the names of a folder's configuration files, sorted.
func hclFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		name := e.Name()
		if !e.IsDir() && strings.HasSuffix(name, ".hcl") && name != LockName && !strings.HasPrefix(name, ".") {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil, errors.New(dir + " has no *.hcl file; write one, or name another folder")
	}
	return names, nil
}

// readText reads a regular file of bounded size, as openRegular opens it.
func readText(root, path string) (string, error) {
	f, err := openRegular(root, path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err != nil {
		return "", err
	}
	if err := usable(text); err != nil {
		return "", errors.New(path + ": " + err.Error())
	}
	return string(text), nil
}

// discover finds what the files depend on, and puts it into the source.
func (s *Source) discover(o Options) {
	p := newParser(s, &recorder{src: s, lookup: o.LookupEnv})
	p.files()
	if o.Tests && len(p.diags) == 0 {
		s.Syntax = p.bodies
	}
	s.pluginsOf(p, o.Schemas)
	if p.diags.HasErrors() { // Parse says so, and evaluates nothing
		return
	}
	if !p.join() {
		return
	}
	s.variablesOf(p, o)
	p.constants()
	s.tablesOf(p)
	for _, body := range p.bodies {
		for _, call := range worldCalls(body) {
			p.constant(call) // which reads it; complaints are Parse's
		}
		for _, block := range body.Blocks {
			if block.Type == "score" {
				s.presetOf(p, block)
			}
		}
	}
}

func (s *Source) pluginsOf(p *parser, schemas map[string]model.Plugin) {
	s.Known = slices.Sorted(maps.Keys(schemas))
	used := map[string]bool{}
	for _, body := range p.bodies {
		for _, block := range body.Blocks {
			if isConnector(block.Type) && len(block.Labels) > 0 {
				used[pluginName(block.Labels[0])] = true
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(used)) {
		if plugin, ok := schemas[name]; ok {
			s.Plugins = append(s.Plugins, plugin)
		}
	}
}

func (s *Source) variablesOf(p *parser, o Options) {
	given := maps.Clone(o.Variables)
	if given == nil {
		given = map[string]string{}
	}
	for _, body := range p.bodies {
		for _, block := range body.Blocks {
			if block.Type != "variable" || len(block.Labels) != 1 {
				continue
			}
			name := block.Labels[0]
			if _, ok := given[name]; ok {
				continue
			}
			if value, ok := o.LookupEnv("KELPIE_VAR_" + strings.ToUpper(name)); ok {
				given[name] = value
			}
		}
	}
	if len(given) > 0 {
		s.Variables = given
	}
}

func (s *Source) presetOf(p *parser, block *hclsyntax.Block) {
	attr := block.Body.Attributes["preset"]
	if attr == nil {
		return
	}
	v, _ := p.constant(attr.Expr)
	name, _ := v.Str()
	if text, ok := presetText(name); ok {
		s.Presets = map[string]string{name: text}
	}
}

// worldCalls are the calls of env and file in all that is evaluated when the
// configuration is read: not in tests, which may read much.
func worldCalls(body *hclsyntax.Body) []*hclsyntax.FunctionCallExpr {
	var calls []*hclsyntax.FunctionCallExpr
	for _, name := range slices.Sorted(maps.Keys(body.Attributes)) {
		calls = append(calls, callsOf(body.Attributes[name].Expr, "env", "file")...)
	}
	for _, block := range body.Blocks {
		if block.Type != "test" {
			calls = append(calls, worldCalls(block.Body)...)
		}
	}
	return calls
}

// world is what lies outside of the files.
type world interface {
	// env gives a variable of the environment, and whether it is set.
	env(name string) (string, bool)
	// file gives a file's text.
	file(path string) (string, error)
}

// recorder is the real world, and writes down what was read of it.
type recorder struct {
	src    *Source
	lookup func(string) (string, bool)
}

func (r *recorder) env(name string) (string, bool) {
	value, ok := r.lookup(name)
	if r.src.Env == nil {
		r.src.Env = map[string]*string{}
	}
	r.src.Env[name] = nil
	if ok {
		value = strings.ToValidUTF8(value, "\uFFFD")
		r.src.Env[name] = &value
	}
	return value, ok
}

func (r *recorder) file(path string) (string, error) {
	full := r.src.full(path)
	text, err := readText(r.src.root(full), full)
	if r.src.Texts == nil {
		r.src.Texts = map[string]Text{}
	}
	if err != nil {
		err = errors.New(plain(err))
		r.src.Texts[path] = Text{Problem: err.Error()}
		return "", err
	}
	r.src.Texts[path] = Text{Text: text}
	return text, nil
}

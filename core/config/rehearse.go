package config

import (
	"cmp"
	"path/filepath"
	"slices"
	"sync"

	"github.com/hashicorp/hcl/v2"

	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/rehearsal"
)

// Rehearsal is a configuration with its tests, ready to be run.
type Rehearsal struct {
	Config   *Config
	Settings *rehearsal.Settings
	// Files are all that it was read from, tests and what they read included.
	Files []string
}

// ParseTests is Parse, and reads the tests as well, for which it reads their files. Of a
// plugin without a schema all is taken for right, with a warning. It is nil if there are
// errors.
func ParseTests(src *Source) (*Rehearsal, hcl.Diagnostics) {
	w := &testWorld{Source: src, read: &Source{Dir: src.Dir, Folders: src.Folders}}
	p := newParser(src, w)
	p.rehearsal = &rehearsed{conditions: map[*expr.Program]*rehearsal.Condition{}}
	c, diags := p.parse()
	files := w.files()
	if c == nil {
		return &Rehearsal{Files: files}, diags
	}
	promote(c)
	inOrder(src, p.rehearsal.subjects, func(s rehearsal.Subject) rehearsal.Place { return s.Place })
	inOrder(src, p.rehearsal.tests, func(t rehearsal.Test) rehearsal.Place { return t.Place })
	s := &rehearsal.Settings{
		Match: &c.Match, Decide: &c.Decide, Subjects: p.rehearsal.subjects,
		Tests: p.rehearsal.tests, Conditions: p.rehearsal.conditions,
	}
	return &Rehearsal{Config: c, Settings: s, Files: files}, diags
}

// promote lets experimental rules do in their tests what they would in production: their
// tests are written before that.
func promote(c *Config) {
	for i := range c.Match.Sources {
		pipelines := c.Match.Sources[i].Pipelines
		for j := range pipelines {
			pipelines[j].Experimental = false
			for k := range pipelines[j].Rules {
				pipelines[j].Rules[k].Experimental = false
			}
		}
	}
	for i := range c.Decide.Rules {
		c.Decide.Rules[i].Experimental = false
	}
}

// inOrder sorts by where things are written.
func inOrder[T any](src *Source, all []T, place func(T) rehearsal.Place) {
	order := map[string]int{}
	for i, f := range src.Files {
		order[src.shown(f.Name)] = i
	}
	slices.SortStableFunc(all, func(a, b T) int {
		x, y := place(a), place(b)
		return cmp.Or(order[x.File]-order[y.File], x.Line-y.Line)
	})
}

// rehearsed collects what tests are run by. A nil one collects nothing.
type rehearsed struct {
	conditions map[*expr.Program]*rehearsal.Condition
	subjects   []rehearsal.Subject
	tests      []rehearsal.Test
	assumed    []string // plugins without a schema
}

// condition notes what a program is of, so that it can be taken apart when somebody asks.
func (r *rehearsed) condition(p *parser, program *expr.Program, s *section, name string, at place, env expr.Env) {
	if r == nil || program == nil {
		return
	}
	e := s.expr(name)
	before := len(p.diags)
	env, _ = p.envAt(e, env, at)
	p.diags = p.diags[:before] // what is wrong has been said
	env.Index = nil            // what is not found in the one pass is read from the event's root
	r.conditions[program] = &rehearsal.Condition{Of: s.address(), What: name, Part: sync.OnceValue(func() *expr.Part {
		part, _ := expr.Parts(e, env)
		return part
	})}
}

// through notes the pipeline that has conditions from a template.
func (r *rehearsed) through(programs []*expr.Program, pipeline *section) {
	if r == nil {
		return
	}
	for _, program := range programs {
		if c := r.conditions[program]; c != nil {
			c.Through = pipeline.address()
		}
	}
}

// step notes which step a condition is of.
func (r *rehearsed) step(program *expr.Program, address string) {
	if r == nil {
		return
	}
	if c := r.conditions[program]; c != nil {
		c.Of = address
	}
}

// testWorld is a source as a world, in which tests find their files as well.
type testWorld struct {
	*Source
	read *Source // what they have read
}

func (w *testWorld) file(path string) (string, error) {
	if _, known := w.Texts[path]; known {
		return w.Source.file(path)
	}
	if _, known := w.read.Texts[path]; !known {
		return (&recorder{src: w.read}).file(path)
	}
	return w.read.file(path)
}

// files are all files of the source and its tests, absolute, sorted.
func (w *testWorld) files() []string {
	var all []string
	add := func(path string) {
		if !filepath.IsAbs(path) {
			path = filepath.Join(w.Dir, path)
		}
		all = append(all, path)
	}
	for _, f := range w.Files {
		add(f.Name)
	}
	for path := range w.Texts {
		add(path)
	}
	for path := range w.read.Texts {
		add(path)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

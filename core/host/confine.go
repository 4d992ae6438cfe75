package host

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/kelpie-sec/kelpie/core/model"
)

// Confined is what a process may touch beyond what every one may, as it is enforced.
type Confined struct {
	// Off: it is not confined, because the configuration says so.
	Off bool
	// Read and Write are files and folders; Connect and Listen TCP ports, "*" for all.
	Read, Write     []string
	Connect, Listen []string
	User            string
	Limits          Limits
	// Lacks is what does not hold on this machine, for people.
	Lacks []string
	// Narrowed are folders that hold what is not for plugins: of them it may touch only
	// files that were there at its start.
	Narrowed []string
}

// confined is how processes of a launch are held.
func (l launch) confined(p *process) Confined {
	if l.held.off {
		return Confined{Off: true}
	}
	out := Confined{
		Read: shown(l.held.may.read), Write: shown(l.held.may.write),
		Connect: byNumber(l.held.may.connect), Listen: byNumber(l.held.may.listen),
		User: l.held.user, Limits: l.held.limits,
	}
	out.Lacks, _ = l.kernel.lacks(l.held)
	if p != nil {
		out.Lacks, out.Narrowed = append(out.Lacks, p.runner.lacks...), p.runner.granted.narrowed
	}
	return out
}

// shown are paths as people read them.
func shown(paths []string) []string {
	out := make([]string, 0, len(paths))
	for _, path := range paths {
		if folder, _, ok := above(path); ok {
			path = strings.TrimSuffix(folder, "/") + "/"
		}
		out = append(out, path)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func byNumber(ports []string) []string {
	return slices.SortedFunc(slices.Values(ports), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	})
}

// outgrown tells whether the process could touch more, by the same permissions, if it were
// started again.
func (l launch) outgrown(p *process) bool {
	return p.runner.stamp != nil && p.runner.stamp.grown(l.held.survey(false).stamp())
}

// look finds that out, beside what else there is to do: a file system may never answer,
// and then nobody waits.
func (l launch) look(p *process) <-chan bool {
	grown := make(chan bool, 1)
	go func() { grown <- l.outgrown(p) }()
	return grown
}

// tellConfinement says at the start what does not hold.
func (h *Host) tellConfinement(all []*supervisor) {
	told := map[string]bool{}
	for _, s := range all {
		held := s.launch.held
		if held.off {
			s.log.Warn("the plugin is not confined: the configuration says confine = false; it may do whatever Kelpie's account may")
			continue
		}
		lacks, grave := s.launch.kernel.lacks(held)
		for _, lack := range lacks {
			level := slog.LevelInfo
			if slices.Contains(grave, lack) {
				level = slog.LevelWarn
			}
			if !told[lack] {
				h.log.Log(context.Background(), level, "plugins are not wholly confined on this machine", "lacks", lack)
			}
			told[lack] = true
		}
		for _, folder := range held.survey(false).narrowed {
			s.log.Info("a folder of the plugin's holds what is not for it; of what comes there later it learns when it is started again", "folder", folder)
		}
	}
}

// denied tells whether a complaint sounds as if the kernel had refused the plugin
// something.
func (l launch) denied(text string) bool {
	text = strings.ToLower(text)
	return !l.held.off && (strings.Contains(text, "permission denied") || strings.Contains(text, "operation not permitted"))
}

// hinted adds to a complaint where to see what the plugin may touch.
func (l launch) hinted(text string) string {
	hint := fmt.Sprintf("The plugin is confined: \"kelpie plugin list\" says what it may touch, and a block plugin %q grants more.", l.name)
	if text == "" {
		return hint
	}
	return strings.TrimRight(text, ". ") + ". " + hint
}

// explainConfinement adds to complaints what the plugin's confinement has to do with them.
func (l launch) explainConfinement(found []Diagnostic) []Diagnostic {
	for n, d := range found {
		if !d.Warning && l.denied(d.Summary+" "+d.Detail) {
			found[n].Detail = l.hinted(d.Detail)
		}
	}
	return found
}

// outside warns of what an instance's block names and the plugin may not touch.
func (i *instance) outside(l launch, about model.Plugin) []Diagnostic {
	if l.held.off {
		return nil
	}
	warn := func(path []string, summary, detail string) Diagnostic {
		return Diagnostic{Instance: i.Address, Path: path, Summary: summary, Detail: detail, Warning: true}
	}
	var found []Diagnostic
	for _, why := range i.unclear {
		found = append(found, warn(nil, "a permission of the plugin's is not clear", "It asks for "+why+". It does not get it; a block plugin can grant what it needs."))
	}
	values := i.values()
	for _, a := range i.schema(about).Attributes {
		if a.Type.Kind != "path" && (a.Type.Element == nil || a.Type.Element.Kind != "path") {
			continue
		}
		for _, path := range values[a.Name] {
			if !l.held.allows(path) {
				found = append(found, warn([]string{a.Name}, "the plugin may not touch this",
					fmt.Sprintf("%s is not among what plugin %q declares. If it should, write plugin %q { read = [%q] }.", path, l.name, l.name, path)))
			}
		}
	}
	return found
}

// schema of the instance's connector.
func (i *instance) schema(about model.Plugin) model.Schema {
	for _, c := range about.Connectors {
		if c.Kind == i.Kind && c.Name == i.Connector {
			return c.Schema
		}
	}
	return model.Schema{}
}

package engine

import (
	"context"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/config"
	"github.com/kelpie-sec/kelpie/core/faulttest"
	"github.com/kelpie-sec/kelpie/core/host"
)

// witnessed is the standard configuration with instances that write down what happens to
// them: a detector, an enrichment and an action that share a process.
var witnessed = standard + `
detector "witness" "idle" {
  notes = "notes"
}

pipeline "idle" {
  from    = [detector.idle]
  alerts  = true
  respond = [response.also]

  map {
    title = "idle"
  }
}

enrichment "witness" "nothing" {
  notes = "notes"
  takes = ["ip"]
}

response "also" {
  when = case.score.total >= 100

  step "note" {
    do = action.witness.notify
    to = "soc@example.org"
  }
}

action "witness" "witness" {
  notes = "notes"
}
`

// read is what a Kelpie reads again, as cmd/kelpie does it.
func (w *world) read() Reading {
	src, diags := config.Load(w.path("config.hcl"), config.Options{})
	r := Reading{Diagnostics: diags, Source: src}
	if diags.HasErrors() {
		return r
	}
	c, more := config.Parse(src)
	if r.Diagnostics = append(r.Diagnostics, more...); r.Diagnostics.HasErrors() {
		return r
	}
	lock, more := config.ReadLock(w.dir)
	r.Diagnostics = append(r.Diagnostics, more...)
	r.Diagnostics = append(r.Diagnostics, c.Unlocked(lock)...)
	instances, more := c.Resolve(config.Secrets(w.dir))
	if r.Diagnostics = append(r.Diagnostics, more...); r.Diagnostics.HasErrors() {
		return r
	}
	r.Configuration = Configuration{Config: c, Instances: instances, Lock: lock, LockFile: w.path(config.LockName), PluginDir: w.plugins, Secrets: config.Secrets(w.dir)}
	return r
}

// live runs with a configuration that can be changed.
func (w *world) live(reload <-chan os.Signal) *running {
	w.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	r := &running{w: w, k: w.open(), stop: stop, done: make(chan error, 1)}
	o := w.options(false)
	o.Read, o.Reload = w.read, reload
	go func() { r.done <- r.k.Run(ctx, o) }()
	r.until("a start", func() bool { return r.status().Running && len(r.status().Detectors) > 0 })
	return r
}

func (r *running) status() api.Status {
	s, err := r.k.Status(context.Background())
	r.w.check(err)
	return s
}

func (r *running) apply(dryRun bool) api.Application {
	r.w.t.Helper()
	a, err := r.k.Apply(context.Background(), dryRun)
	r.w.check(err)
	return a
}

// pids of the plugins' processes.
func (r *running) pids() map[string][]int {
	all := map[string][]int{}
	for _, p := range r.k.Plugins() {
		all[p.Plugin] = append(all[p.Plugin], p.PID)
	}
	return all
}

// notes that the witnesses have written, without what comes after the first word of each
// line, and how often each.
func (w *world) notes() map[string]int {
	text, err := os.ReadFile(w.path("notes"))
	if !errors.Is(err, os.ErrNotExist) {
		w.check(err)
	}
	all := map[string]int{}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		all[fields[0]+" "+fields[1]]++
	}
	return all
}

// since tells which notes are new.
func since(before, after map[string]int) map[string]int {
	diff := map[string]int{}
	for note, n := range after {
		if n -= before[note]; n > 0 {
			diff[note] = n
		}
	}
	return diff
}

// edit replaces texts of the configuration, in pairs.
func edit(t *testing.T, text string, pairs ...string) string {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if strings.Count(text, pairs[i]) == 0 {
			t.Fatalf("the configuration has no %q", pairs[i])
		}
		text = strings.Replace(text, pairs[i], pairs[i+1], 1)
	}
	return text
}

// ownPlugins gives the world a plugin folder in which files can be replaced.
func (w *world) ownPlugins() {
	w.t.Helper()
	w.plugins = w.path("plugins")
	w.check(os.Mkdir(w.plugins, 0o755))
	for _, p := range built.all {
		w.check(os.Link(filepath.Join(built.dir, p.Name), filepath.Join(w.plugins, p.Name)))
	}
}

// another builds a plugin anew, so that it is another file, and locks it.
func (w *world) another(name, pkg, flags string) {
	w.t.Helper()
	path := filepath.Join(w.plugins, name)
	out, err := exec.Command("go", "build", "-ldflags="+flags, "-o", path+".new", pkg).CombinedOutput()
	if err != nil {
		w.t.Fatalf("go build: %v\n%s", err, out)
	}
	w.check(os.Rename(path+".new", path))
	_, sum, err := host.Inspect(w.t.Context(), path)
	w.check(err)
	lock := host.Lock{Plugins: slices.Clone(w.lock.Plugins)}
	for i := range lock.Plugins {
		if lock.Plugins[i].Name == name {
			lock.Plugins[i].SHA256 = map[string]string{host.Platform(): sum}
		}
	}
	w.lock = lock
	w.check(config.WriteLock(w.dir, lock))
}

const added = `
detector "file" "other" {
  path     = "other.json"
  interval = "10ms"
}
`

// TestApply changes the configuration under a running feed, in every way, and counts
// afterwards. What a change does not concern keeps its process, its session and its
// configuration.
func TestApply(t *testing.T) {
	type touched struct {
		outcome string
		// what becomes of the instances that are not kept.
		instances map[string]string
		// parts that differ, besides the instances'.
		parts []string
		// notes that come of it.
		notes map[string]int
		// others are plugins whose processes are others then.
		others []string
		// more are those that have one more: what came needs what the other may not touch.
		more []string
		// complaint is in the diagnostics or in the error.
		complaint string
	}
	m := faulttest.Model{Events: 3000, Sources: 6, Every: 10}
	for _, c := range []struct {
		name   string
		change func(t *testing.T, w *world)
		want   touched
		// calls is where the action writes afterwards; empty: where it did before.
		more faulttest.Model
	}{
		{
			name:   "nothing",
			change: func(*testing.T, *world) {},
			want:   touched{outcome: api.Unchanged},
		},
		{
			name: "layout and a comment",
			change: func(t *testing.T, w *world) {
				w.configure(edit(t, witnessed, "  actions = \"on\"\n", "  actions =    \"on\" # really\n\n"))
			},
			want: touched{outcome: api.Unchanged},
		},
		{
			name: "the text of a rule",
			change: func(t *testing.T, w *world) {
				w.configure(edit(t, witnessed, `event.raw.kind == "alert"`, `"alert" == event.raw.kind && event.raw.n >= 0`))
			},
			want: touched{outcome: api.Applied, parts: []string{"pipeline.alerts"}},
		},
		{
			name: "a detector is added",
			change: func(t *testing.T, w *world) {
				w.configure(edit(t, witnessed, "[detector.feed]", "[detector.feed, detector.other]") + added)
			},
			want: touched{
				outcome: api.Applied, instances: map[string]string{"detector.other": "added"},
				parts: []string{"pipeline.alerts"}, more: []string{"file"},
			},
		},
		{
			name: "a detector is removed",
			change: func(t *testing.T, w *world) {
				i, j := strings.Index(witnessed, `detector "witness"`), strings.Index(witnessed, `enrichment "witness"`)
				text := witnessed[:i] + witnessed[j:]
				w.configure(edit(t, text, "respond = [response.tell]", "respond = [response.tell, response.also]"))
			},
			want: touched{
				outcome: api.Applied, instances: map[string]string{"detector.idle": "removed"},
				parts: []string{"pipeline.alerts", "pipeline.idle"},
				notes: map[string]int{"close detector.idle": 1},
			},
		},
		{
			name: "a detector is changed that reads",
			change: func(t *testing.T, w *world) {
				w.configure(edit(t, witnessed, `interval = "10ms"`, `interval = "11ms"`))
			},
			want: touched{outcome: api.Applied, instances: map[string]string{"detector.feed": "changed"}},
		},
		{
			name: "one of several instances of a process is changed",
			change: func(t *testing.T, w *world) {
				w.configure(edit(t, witnessed, `detector "witness" "idle" {`, "detector \"witness\" \"idle\" {\n  mark = \"another\""))
			},
			want: touched{
				outcome: api.Applied, instances: map[string]string{"detector.idle": "changed"},
				notes: map[string]int{"open detector.idle~1": 1, "detect detector.idle~1": 1, "close detector.idle": 1},
			},
		},
		{
			name: "an action is swapped for one of another plugin",
			change: func(t *testing.T, w *world) {
				w.configure(edit(t, witnessed, "action \"counter\" \"sink\" {\n  file = \"calls\"", "action \"witness\" \"sink\" {\n  notes = \"swapped\""))
			},
			want: touched{outcome: api.Applied, instances: map[string]string{"action.sink": "replaced"}, parts: []string{"plugin counter"}, others: []string{"counter"}, more: []string{"witness"}},
		},
		{
			name: "the settings of an enrichment that its plugin is not told",
			change: func(t *testing.T, w *world) {
				w.configure(edit(t, witnessed, `path  = "names.csv"`, "path  = \"names.csv\"\n  ttl = \"1h\""))
			},
			want: touched{outcome: api.Applied, instances: map[string]string{"enrichment.names": "changed"}},
		},
		{
			name:   "another build of a plugin",
			change: func(_ *testing.T, w *world) { w.another("witness", "./testdata/witness", "-s -w") },
			want: touched{
				outcome:   api.Applied,
				instances: map[string]string{"detector.idle": "replaced", "enrichment.nothing": "replaced", "action.witness": "replaced"},
				notes: map[string]int{
					"open detector.idle~1": 1, "detect detector.idle~1": 1, "close detector.idle": 1,
					"open enrichment.nothing~1": 1, "close enrichment.nothing": 1, "open action.witness~1": 1, "close action.witness": 1,
				},
				others: []string{"witness"},
			},
		},
		{
			name:   "another build of the plugin that reads the feed",
			change: func(_ *testing.T, w *world) { w.another("file", "../../plugins/file", "-s -w") },
			want:   touched{outcome: api.Applied, instances: map[string]string{"detector.feed": "replaced"}, others: []string{"file"}},
		},
		{
			name:   "a text that is no configuration",
			change: func(_ *testing.T, w *world) { w.configure(witnessed + "\nrule \"x\" {") },
			want:   touched{outcome: api.Refused, complaint: "config.hcl:"},
		},
		{
			name: "a name that nobody has",
			change: func(t *testing.T, w *world) {
				w.configure(edit(t, witnessed, "[detector.feed]", "[detector.fed]"))
			},
			want: touched{outcome: api.Refused, complaint: "detector.fed"},
		},
		{
			name: "what a running Kelpie can't change",
			change: func(t *testing.T, w *world) {
				w.configure(edit(t, witnessed, "actions = \"on\"", "actions = \"on\"\n  data_dir = \"elsewhere\"\n  sync = \"interval\""))
			},
			want: touched{outcome: api.Refused, complaint: "data_dir = \"elsewhere\""},
		},
		{
			name: "a secret that is not there",
			change: func(t *testing.T, w *world) {
				w.configure(edit(t, witnessed, `detector "witness" "idle" {`, "detector \"witness\" \"idle\" {\n  token = secret(\"absent\")"))
			},
			want: touched{outcome: api.Refused, complaint: "KELPIE_SECRET_ABSENT"},
		},
		{
			name: "a plugin that refuses its configuration, and one that does not",
			change: func(t *testing.T, w *world) {
				w.configure(edit(t, witnessed,
					`detector "witness" "idle" {`, "detector \"witness\" \"idle\" {\n  mark = \"fine\"",
					`action "witness" "witness" {`, "action \"witness\" \"witness\" {\n  mark = \"bad\"\n  do = \"refuse\""))
			},
			want: touched{
				outcome: api.Refused, complaint: "is not to its liking",
				notes: map[string]int{"open detector.idle~1": 1, "close detector.idle~1": 1, "close action.witness~1": 1},
			},
		},
		{
			name: "a plugin that hangs when it is configured",
			change: func(t *testing.T, w *world) {
				w.configure(edit(t, witnessed, `detector "witness" "idle" {`, "detector \"witness\" \"idle\" {\n  do = \"hang\""))
			},
			want: touched{outcome: api.Refused, complaint: "did not answer in time", notes: map[string]int{"close detector.idle~1": 1}},
		},
		{
			name: "a plugin that ends when it is configured, in a process of its own",
			change: func(t *testing.T, w *world) {
				w.configure(edit(t, witnessed, `detector "witness" "idle" {`, "detector \"witness\" \"idle\" {\n  do = \"exit\"\n  isolation = \"own\""))
			},
			want: touched{outcome: api.Refused, complaint: "exit status 7"},
		},
		{
			name: "a plugin that is not the file that was locked",
			change: func(_ *testing.T, w *world) {
				w.another("witness", "./testdata/witness", "-s -w")
				w.check(os.Remove(filepath.Join(w.plugins, "witness")))
				w.check(os.WriteFile(filepath.Join(w.plugins, "witness"), []byte("no program"), 0o700))
			},
			want: touched{outcome: api.Refused, complaint: "is not the file that was locked"},
		},
	} {
		for _, dry := range []bool{false, true} {
			name := c.name
			if dry {
				name += " (dry run)"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, witnessed)
				w.ownPlugins()
				w.settings.timing = host.Timing{Configure: 2 * time.Second}
				w.write("other.json", "")
				r := w.live(nil)
				fed := make(chan struct{})
				go func() { // a feed that goes on
					defer close(fed)
					for i := 0; i < m.Events; i += 30 {
						w.feed("feed.json", m, i, 30)
						time.Sleep(5 * time.Millisecond)
					}
				}()
				r.until("the first events", func() bool { return r.counted() > 0 })
				r.until("the witnesses", func() bool { return w.notes()["detect detector.idle"] == 1 })
				pids, notes, before := r.pids(), w.notes(), r.status()

				c.change(t, w)
				a := r.apply(dry)
				want := c.want
				switch {
				case dry && want.outcome == api.Applied:
					want.outcome = api.Planned
				}
				if a.Outcome != want.outcome {
					t.Fatalf("it is %q, want %q: %s\n%s", a.Outcome, want.outcome, a.Error, a.Diagnostics)
				}
				if all := a.Error + string(a.Diagnostics); want.complaint != "" && !strings.Contains(strings.ReplaceAll(all, `\"`, `"`), want.complaint) {
					t.Errorf("nothing says %q:\n%s", want.complaint, all)
				}
				if want.outcome == api.Applied || want.outcome == api.Planned {
					instances, parts := what(a)
					if diff := cmp.Diff(want.instances, instances); diff != "" {
						t.Error("instances:", diff)
					}
					if diff := cmp.Diff(want.parts, parts); diff != "" {
						t.Error("parts:", diff)
					}
				}
				if want.outcome == api.Applied {
					r.until("the notes", func() bool {
						return cmp.Diff(nonNil(want.notes), since(notes, w.notes())) == "" && len(r.status().Generation.Leaving) == 0
					})
				} else if want.outcome == api.Refused && !dry {
					if diff := cmp.Diff(nonNil(want.notes), since(notes, w.notes())); diff != "" {
						t.Error("notes:", diff)
					}
				}
				after := r.status()
				if want.outcome != api.Applied {
					if after.Generation.Config != before.Generation.Config || after.Generation.Number != 1 {
						t.Errorf("in force is %+v, was %+v", after.Generation, before.Generation)
					}
					want.others, want.more = nil, nil
				}
				if refused := want.outcome == api.Refused && !dry; refused != (after.Generation.RefusedBecause != "") {
					t.Errorf("the status says of it: %q", after.Generation.RefusedBecause)
				}
				r.until("the end of what is gone", func() bool { return same(pids, r.pids(), want.others, want.more) })

				<-fed
				r.until("all events", func() bool { return r.counted() == uint64(m.Events) })
				if !same(pids, r.pids(), want.others, want.more) {
					t.Errorf("processes are %v, were %v; others than %v are others", r.pids(), pids, want.others)
				}
				r.end()
				if want.outcome == api.Refused {
					w.configure(witnessed)
					w.lock = built.lock
					w.plugins = built.dir
					w.check(config.WriteLock(w.dir, w.lock))
				}
				o := w.once()
				swapped := w.sent("swapped")
				for key := range w.sent("calls") {
					if swapped[key] {
						t.Errorf("%s was called by both actions", key)
					}
				}
				o.calls += len(swapped)
				o.want(t, m)
			})
		}
	}
}

func nonNil(m map[string]int) map[string]int {
	if m == nil {
		return map[string]int{}
	}
	return m
}

// sent are the keys of the calls that a counter or a witness has written down.
func (w *world) sent(name string) map[string]bool {
	text, err := os.ReadFile(w.path(name))
	if !errors.Is(err, os.ErrNotExist) {
		w.check(err)
	}
	keys := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		key, _, _ := strings.Cut(line, " ")
		if verb, rest, ok := strings.Cut(key, ":"); ok {
			if verb != "act" {
				continue
			}
			_, key, _ = strings.Cut(rest, ":")
		} else if !strings.Contains(line, `"`) {
			continue
		}
		if keys[key] {
			w.t.Errorf("%s: %s was called twice", name, key)
		}
		keys[key] = true
	}
	return keys
}

// what tells which instances and parts an application says are touched; parts that are
// instances of the first list are left out.
func what(a api.Application) (instances map[string]string, parts []string) {
	for _, c := range a.Instances {
		if c.What != host.Kept {
			if instances == nil {
				instances = map[string]string{}
			}
			instances[c.Address] = c.What
		}
	}
	for _, p := range a.Parts {
		if instances[p.Address] == "" {
			if p.Kind == "plugin" {
				p.Address = "plugin " + p.Address
			}
			parts = append(parts, p.Address)
		}
	}
	return instances, parts
}

// same tells whether each plugin has the processes that it had, except for others, which
// have one that they did not have, or none, and more, which have one more.
func same(before, after map[string][]int, others, more []string) bool {
	for _, plugin := range slices.Sorted(maps.Keys(before)) {
		if n := len(before[plugin]); slices.Contains(more, plugin) {
			if len(after[plugin]) != n+1 || !slices.Equal(before[plugin], after[plugin][:n]) {
				return false
			}
		} else if slices.Contains(others, plugin) {
			if len(after[plugin]) > 1 || len(after[plugin]) == 1 && slices.Contains(before[plugin], after[plugin][0]) {
				return false
			}
		} else if !slices.Equal(before[plugin], after[plugin]) {
			return false
		}
	}
	return len(after) <= len(before)
}

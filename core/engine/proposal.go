package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/config"
	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/match"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/proposal"
	"github.com/kelpie-sec/kelpie/sdk"
)

const (
	// ignoresName is the file that accepted ignores are written to, in the configuration's
	// folder.
	ignoresName = "ignores.hcl"
	// mostPast is how many of the newest signals an ignore is tried on.
	mostPast = 100_000
	// recent is what is counted of them.
	recent = 30 * 24 * time.Hour
	// proposalTime bounds what looking at one may take.
	proposalTime = 60 * time.Second
	// mostHidden cases are named.
	mostHidden = 5
	mostEvents = 1000 // of the case that a proposal is about
)

// Draft works out what a proposal would write, and tries it on the events that are stored.
// It only reads.
func (k *Kelpie) Draft(ctx context.Context, p model.Proposal, expires time.Time) (api.Draft, error) {
	ctx, cancel := context.WithTimeout(ctx, proposalTime)
	defer cancel()
	d, _, err := k.draft(ctx, p, expires)
	return d, err
}

// drafting is the work on one draft.
type drafting struct {
	k        *Kelpie
	p        model.Proposal
	src      *config.Source
	config   *config.Config
	expires  time.Time
	own      []model.Signal // of its case
	old, now *match.Worker
	draft    api.Draft
	file     target
}

// target is the file that a block is written to.
type target struct {
	path, name string
	old        string
	there      bool
	text       string // of the file, with the block
}

func (k *Kelpie) draft(ctx context.Context, p model.Proposal, expires time.Time) (api.Draft, target, error) {
	w := &drafting{k: k, p: p, expires: expires, draft: api.Draft{Expires: expires}}
	if p.Kind != model.ProposeIgnore {
		w.draft.Problem = "what a table has is not changed by this version: write the row yourself, and refuse the proposal with --because"
		return w.draft, w.file, nil
	}
	err := w.begin(ctx)
	var said *api.Error
	if err == nil && w.draft.Problem == "" {
		err = w.text()
	}
	if err == nil && w.draft.Problem == "" {
		err = w.history(ctx)
	}
	if errors.As(err, &said) {
		w.draft.Problem, err = said.Text, nil
	}
	return w.draft, w.file, err
}

func problem(format string, args ...any) error {
	return &api.Error{Code: http.StatusConflict, Text: fmt.Sprintf(format, args...)}
}

// begin reads what it is about, and the configuration.
func (w *drafting) begin(ctx context.Context) error {
	c, err := w.k.store.Case(ctx, w.p.Case)
	if err != nil {
		return err
	}
	if w.own, err = w.k.store.CaseSignals(ctx, c.ID, true); err != nil {
		return err
	}
	if w.src, err = w.k.sourceInForce(ctx); err != nil {
		return err
	}
	if w.src == nil {
		return problem("no configuration was ever in force")
	}
	var diags config.Diagnostics
	if w.config, diags = config.Parse(w.src); diags.HasErrors() {
		return problem("the configuration in force is not read: %s", firstError(diags))
	}
	return w.read()
}

// read reads the file that is written to: where the configuration is one file, that one,
// since no other is read.
func (w *drafting) read() error {
	w.file.name = ignoresName
	if w.src.Single && len(w.src.Files) > 0 {
		w.file.name = w.src.Files[0].Name
	}
	if w.src.Dir == "" { // it was not read from a folder: Kelpie does not run
		return nil
	}
	w.file.path = filepath.Join(w.src.Dir, w.file.name)
	text, err := os.ReadFile(w.file.path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return problem("%s can't be read: %v", w.file.path, err)
	}
	w.file.old, w.file.there = string(text), err == nil
	return nil
}

// text makes the block, the file with it, and the difference.
func (w *drafting) text() error {
	source, signals, left := w.about()
	for _, rule := range left {
		w.draft.Left = append(w.draft.Left, w.config.Shown(rule))
	}
	if len(signals) == 0 {
		return problem("what was reported is of rules over several events, or has no payload any more: an ignore for it is a person's to write")
	}
	g := proposal.Ignore{
		Owner: w.p.By, Reason: cmp.Or(w.p.Reason, "not said") + " (proposal " + w.p.ID + ")", Expires: w.expires,
	}
	var rules []string
	for i := range signals {
		s := &signals[i]
		if !slices.Contains(rules, s.Rule) {
			rules = append(rules, s.Rule)
		}
		if len(g.Events) < mostEvents {
			g.Events = append(g.Events, proposal.Event{Raw: s.Raw, Named: knownBy(s)})
		}
	}
	slices.Sort(rules)
	for _, r := range rules {
		g.On = append(g.On, reference(w.config.Shown(r)))
	}
	g.Telling, g.Further = w.paths(source, rules)
	_, on, _ := strings.Cut(w.config.Shown(rules[0]), ".")
	word, _, _ := strings.Cut(w.p.Reason, ":")
	id := strings.TrimPrefix(w.p.ID, "p-")
	g.Name = strings.Join([]string{on, cmp.Or(strings.TrimSpace(word), "ignore"), id[:min(len(id), 8)]}, " ")
	block, err := g.Text()
	if err != nil {
		return problem("%v; it is a person's to write", err)
	}
	block = string(config.Format([]byte(block)))
	w.draft.Name, w.draft.Text, w.draft.File = g.Name, block, cmp.Or(w.file.path, w.file.name)
	w.file.text, w.draft.Diff = proposal.Append(w.draft.File, w.file.old, block)
	return w.tried(block, signals)
}

// reference is an address as a configuration writes it.
func reference(address string) string {
	kind, name, _ := strings.Cut(address, ".")
	for i, r := range name {
		if r != '_' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (i == 0 || r != '-' && (r < '0' || r > '9')) {
			return kind + "[" + proposal.Quote(name) + "]"
		}
	}
	return address
}

// about are the signals over one event that it can be about, all of the detector that has
// most of them, and the rules of the case that it leaves alone.
func (w *drafting) about() (source string, signals []model.Signal, left []string) {
	count := map[string]int{}
	for i := range w.own {
		if s := &w.own[i]; !s.Several() && len(s.Raw) > 0 && slices.Contains(w.p.Rules, s.Rule) {
			if count[s.Source]++; count[s.Source] > count[source] || count[s.Source] == count[source] && s.Source < source {
				source = s.Source
			}
		}
	}
	left = slices.Clone(w.p.Rules)
	for _, s := range w.own {
		if s.Source == source && !s.Several() && len(s.Raw) > 0 && slices.Contains(w.p.Rules, s.Rule) {
			signals = append(signals, s)
			left = slices.DeleteFunc(left, func(r string) bool { return r == s.Rule })
		}
	}
	return source, signals, left
}

// knownBy are the texts by which an event is known.
func knownBy(s *model.Signal) []string {
	names := []string{s.Title}
	for _, role := range []sdk.Role{sdk.Subject, sdk.Indicator, sdk.NoRole} {
		for _, o := range s.Observables {
			if o.Role == role {
				names = append(names, o.Value)
			}
		}
	}
	return names
}

// paths are the fields that the maps and rules of the events read: those that tell what
// they are and about whom, and further ones. What a pipeline's own condition reads is not
// among them: it is the same for all that it lets through.
func (w *drafting) paths(source string, rules []string) (telling, further [][]string) {
	add := func(to *[][]string, programs ...*expr.Program) {
		for _, p := range programs {
			*to = append(*to, pathsOf(p)...)
		}
	}
	for i := range w.config.Match.Sources {
		s := &w.config.Match.Sources[i]
		if s.Detector != source || s.Maker != "" || s.Until > 0 {
			continue
		}
		for j := range s.Pipelines {
			p := &s.Pipelines[j]
			on := slices.IndexFunc(p.Rules, func(r match.Rule) bool { return slices.Contains(rules, r.Address) })
			if on < 0 && !slices.Contains(rules, p.Address) {
				continue
			}
			add(&telling, p.Map.Title, p.Map.Subjects)
			if on >= 0 {
				add(&further, p.Rules[on].When)
			}
			add(&further, p.Map.Indicators, p.Map.Observables)
		}
	}
	return telling, further
}

// pathsOf are the paths that an expression reads, by their names.
func pathsOf(p *expr.Program) (all [][]string) {
	if p == nil {
		return nil
	}
	for _, path := range p.Paths() {
		all = append(all, path.Names)
	}
	return all
}

// tried reads the configuration with the block, and makes sure that it ignores what it is
// about.
func (w *drafting) tried(block string, signals []model.Signal) error {
	if text := w.written(); text != "" {
		w.draft.Written, w.draft.Text, w.draft.Diff = true, text, ""
		return nil
	}
	with := *w.src
	with.Files = append(slices.Clone(w.src.Files), config.File{Name: "proposed.hcl", Text: block})
	next, diags := config.Parse(&with)
	if diags.HasErrors() {
		return problem("the configuration is not read with it: %s", firstError(diags))
	}
	w.old, w.now = match.NewWorker(&w.config.Match), match.NewWorker(&next.Match)
	for i := range signals {
		if !w.hides(&signals[i]) {
			return problem("it does not ignore %s of its own case, as the configuration is now", signals[i].ID)
		}
	}
	w.draft.Own = len(signals)
	return nil
}

// written is the block as the configuration in force has it: it was written, and then
// something ended the work on it. Empty: it has none.
func (w *drafting) written() string {
	head := "ignore " + proposal.Quote(w.draft.Name) + " {\n"
	for _, f := range w.src.Files {
		if _, rest, found := strings.Cut(f.Text, head); found {
			block, _, _ := strings.Cut(rest, "\n}\n")
			return head + block + "\n}\n"
		}
	}
	return ""
}

// hides tells whether a stored signal over one event would not be reported.
func (w *drafting) hides(s *model.Signal) bool {
	b := &model.Batch{Source: s.Source, Received: w.k.clock.now(), Events: []model.Event{{
		ID: s.EventID, Revision: s.Revision, Raw: s.Raw, Title: s.Title, Severity: &s.Severity, Time: s.Time,
		Observables: s.Observables, Techniques: s.Techniques, Stopped: s.Stopped, Link: s.Link,
	}}}
	reports := func(by *match.Worker) bool {
		res, _ := by.Match(b, 1<<62)
		return slices.ContainsFunc(res.Signals, func(g model.Signal) bool { return g.Rule == s.Rule })
	}
	return !reports(w.now) && reports(w.old)
}

// feedsLess tells whether an event that is in the log still would be less to rules over
// several than it is; known is false if it is not there any more.
func (w *drafting) feedsLess(ctx context.Context, at model.Position) (less, known bool) {
	rec, err := w.k.log.GetEvent(ctx, at.Seq)
	if err != nil || len(rec.Payload) == 0 {
		return false, false
	}
	b, err := model.DecodeBatch(rec.Payload)
	if err != nil || at.Index >= len(b.Events) {
		return false, false
	}
	b.Source, b.Maker, b.Received = rec.Source, rec.Maker.Name(), w.k.clock.now()
	b.Events = b.Events[at.Index : at.Index+1]
	was, _ := w.old.Match(&b, 1<<62)
	is, _ := w.now.Match(&b, 1<<62)
	return len(is.Facts)+len(is.Signals) < len(was.Facts)+len(was.Signals), true
}

// history tries it on what was reported: what it would have hidden of a true positive, and
// how many events it would have ignored lately.
func (w *drafting) history(ctx context.Context) error {
	if w.now == nil {
		return nil
	}
	since := w.k.clock.now().Add(-recent)
	events, cases := map[string]bool{}, map[string]bool{}
	err := w.k.store.PastSignals(ctx, mostPast, func(s model.Signal, in string) error {
		w.draft.Looked++
		over := s.Several() || len(s.Raw) == 0
		if !over && !w.hides(&s) {
			return nil
		}
		if !over && !s.Time.Before(since) {
			events[s.Source+"\x00"+s.EventID] = true
		}
		if cases[in] {
			return nil // it is named already
		}
		c, err := w.k.store.Case(ctx, in)
		if err != nil {
			return err
		}
		if c.Finding == nil || c.Finding.Kind != model.TruePositive || over && !w.hidesPart(ctx, &s) {
			return nil
		}
		cases[in] = true
		w.draft.Hides = append(w.draft.Hides, api.Hidden{Case: c.ID, Title: c.Title, Signal: s.ID})
		return nil
	})
	if err != nil {
		return err
	}
	w.draft.Recent = len(events)
	if n := len(w.draft.Hides); n > 0 {
		w.draft.Problem = fmt.Sprintf("it would have hidden a signal of case %s, which was a true positive", w.draft.Hides[0].Case)
		if n > 1 {
			w.draft.Problem += fmt.Sprintf(", and of %d more", n-1)
		}
	}
	w.draft.Hides = w.draft.Hides[:min(len(w.draft.Hides), mostHidden)]
	return nil
}

// hidesPart tells whether something behind a signal of a rule over several would have been
// less. What the log has no more is counted.
func (w *drafting) hidesPart(ctx context.Context, s *model.Signal) bool {
	if !s.Several() {
		w.draft.Unknown++
		return false
	}
	for _, m := range s.Members {
		less, known := w.feedsLess(ctx, m.Position)
		if less {
			return true
		}
		if !known {
			w.draft.Unknown++
		}
	}
	return false
}

// AcceptProposal writes what a proposal says into the configuration, puts that in force and
// ends the proposal. If the configuration is refused with it, it is taken back.
func (k *Kelpie) AcceptProposal(ctx context.Context, p model.Proposal, by, because string, expires time.Time) (api.Draft, error) {
	k.proposing.Lock()
	defer k.proposing.Unlock()
	k.mu.Lock()
	f := k.running
	k.mu.Unlock()
	if f == nil {
		return api.Draft{}, errNotRunning
	}
	if why := f.changes.generation().Config.Decide.Plan.MayConfigure(by); why != "" {
		return api.Draft{}, &api.Error{Code: http.StatusForbidden, Text: why}
	}
	bounded, cancel := context.WithTimeout(ctx, proposalTime)
	d, file, err := k.draft(bounded, p, expires)
	cancel()
	switch {
	case err != nil:
		return d, err
	case d.Problem != "":
		return d, problem("%s", d.Problem)
	}
	// What is begun is ended, whoever waits for it.
	ctx = context.WithoutCancel(ctx)
	if !d.Written {
		if err := k.writeDraft(ctx, f, file); err != nil {
			return d, err
		}
	}
	err = k.Order(ctx, model.Command{Kind: model.AcceptProposal, By: by, Because: because, Proposal: p.ID, Text: d.Text})
	return d, err
}

// writeDraft writes a file and puts the configuration in force, or puts the file back.
func (k *Kelpie) writeDraft(ctx context.Context, f *flow, file target) error {
	if now, err := os.ReadFile(file.path); string(now) != file.old || (err == nil) != file.there {
		return problem("%s was changed in the meantime; look at the proposal again", file.path)
	}
	if err := config.Replace(file.path, []byte(file.text)); err != nil {
		return problem("%v", err)
	}
	a, err := f.apply(ctx, false)
	if err == nil && a.Outcome == api.Applied {
		return nil
	}
	back := os.Remove
	if file.there {
		back = func(path string) error { return config.Replace(path, []byte(file.old)) }
	}
	why := a.Error
	switch {
	case err != nil:
		why = err.Error()
	case a.Outcome == api.Unchanged:
		why = "the configuration does not read this file"
	}
	if undone := back(file.path); undone != nil {
		return problem("the configuration was not applied: %s; and %s could not be put back: %v", why, file.path, undone)
	}
	return problem("the configuration was not applied, and %s is as it was: %s", file.path, why)
}

// MayConfigure says why somebody may not change the configuration; empty: they may.
func (k *Kelpie) MayConfigure(ctx context.Context, who string) (string, error) {
	src, err := k.sourceInForce(ctx)
	if err != nil || src == nil {
		return "", err
	}
	c, diags := config.Parse(src)
	if diags.HasErrors() {
		return "", nil
	}
	return c.Decide.Plan.MayConfigure(who), nil
}

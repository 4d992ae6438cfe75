package decide

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// gathering is what waits to be told to one address in one message.
type gathering struct {
	Action  string `json:"action"`
	Verb    string `json:"verb"`
	Address string `json:"address"`
	DryRun  bool   `json:"dry_run,omitempty"`
	// For is how long after the first it is told, and Ends when that is, in the time that
	// decide has seen pass; 0: not begun. Until is when quiet hours are over.
	For   time.Duration `json:"for,omitempty"`
	Ends  time.Duration `json:"ends,omitempty"`
	Until time.Time     `json:"until,omitzero"`
	// Asking is how many of the members ask something.
	Asking int `json:"asking,omitempty"`
	// Members are intents, in the order in which they came.
	Members []gathered `json:"members"`
}

// gathered is an intent that waits to be told with others.
type gathered struct {
	Intent string `json:"intent"`
	// Subject and Asked are what was to be told besides the case.
	Subject string `json:"subject,omitempty"`
	Asked   string `json:"asked,omitempty"`
}

const (
	// maxGathered bounds the cases that one message lists.
	maxGathered = 50
	// maxAsked bounds the questions that one message asks. Those that it does not list are
	// on the page that it leads to, which shows its reader all that they are asked.
	maxAsked = 1000
	// maxWaiting bounds what waits for one message: what waits keeps its case in memory, so
	// it is told before its time.
	maxWaiting = 2000
)

// lull is how long what an intent tells waits now, and until when, if that is in quiet
// hours.
func lull(in *model.Intent) (long time.Duration, until time.Time) {
	g := in.Gather
	long = g.For
	if g.Every > 0 && in.Score < g.Below {
		long = max(long, g.Every)
	}
	if in.Score < g.QuietBelow {
		until = g.Until
	}
	return long, until
}

// gatherKey names those who are told together.
func gatherKey(in *model.Intent) string {
	long, until := lull(in)
	key := fmt.Sprintf("%s\n%s\n%s\n%t\n%s", in.Action, in.Verb, in.Target.Value, in.DryRun, long)
	if !until.IsZero() {
		key += "\n" + until.UTC().Format(time.RFC3339)
	}
	return key
}

// joins tells whether others wait already for the message that will tell an intent, and
// it has room for it.
func (m *Machine) joins(in *model.Intent) bool {
	for _, g := range m.gathering {
		if g.Action == in.Action && g.Verb == in.Verb && g.Address == in.Target.Value && g.DryRun == in.DryRun {
			return in.Question == "" || g.Asking == 0 || g.Asking%maxAsked > 0
		}
	}
	return false
}

// messages is how many tell what it has: what is asked is in one of them.
func (g *gathering) messages() int { return max(1, (g.Asking+maxAsked-1)/maxAsked) }

// count takes note of a member that came, by 1, or went, by -1.
func (g *gathering) count(in *model.Intent, by int) {
	if in.Question != "" {
		g.Asking += by
	}
}

// counted is how many intents of a verb were planned in the last hour, or will be of what
// is gathered.
func (m *Machine) counted(verb string) int {
	n := m.recently(verb)
	for _, g := range m.gathering {
		if g.Verb == verb {
			n += g.messages()
		}
	}
	return n
}

// gather has a new intent wait for others, if it is to.
func (m *Machine) gather(in *model.Intent) {
	if in.Gather == nil || in.State != model.IntentPending {
		return
	}
	var told sdk.Notice
	var parameters struct {
		Notice json.RawMessage `json:"notice"`
	}
	if json.Unmarshal(in.Parameters, &parameters) == nil {
		_ = json.Unmarshal(parameters.Notice, &told) // of one that can't be read there are no words
	}
	in.State = model.IntentGathered
	m.waitWith(in, gathered{Intent: in.ID, Subject: told.Subject, Asked: told.Asked})
}

// waitWith puts an intent to those that are told together with it.
func (m *Machine) waitWith(in *model.Intent, member gathered) {
	key := gatherKey(in)
	g := m.gathering[key]
	if g == nil {
		long, until := lull(in)
		g = &gathering{Action: in.Action, Verb: in.Verb, Address: in.Target.Value, DryRun: in.DryRun, For: long, Until: until}
		m.gathering[key] = g
	}
	g.Members = append(g.Members, member)
	g.count(in, 1)
	m.end.known = false
}

// regather has what waits go by its score, which may be another now.
func (m *Machine) regather(in *intentState, before model.Hundredths) {
	old := in.Intent
	old.Score = before
	was := gatherKey(&old)
	if gatherKey(&in.Intent) == was {
		return
	}
	g := m.gathering[was]
	if g == nil {
		return
	}
	at := slices.IndexFunc(g.Members, func(o gathered) bool { return o.Intent == in.ID })
	if at < 0 {
		return
	}
	member := g.Members[at]
	g.count(&in.Intent, -1)
	if g.Members = slices.Delete(g.Members, at, at+1); len(g.Members) == 0 {
		delete(m.gathering, was)
	}
	m.waitWith(&in.Intent, member)
}

// tellDue tells what has waited as long as it was to, and begins the time of what came
// since the last tick.
func (m *Machine) tellDue() {
	for _, key := range slices.Sorted(maps.Keys(m.gathering)) {
		g := m.gathering[key]
		if g.Ends == 0 {
			g.Ends = m.clock.Elapsed + max(g.For, 1)
			m.end.known = false
			continue
		}
		if g.full() || m.clock.Elapsed >= g.Ends && !m.at.Before(g.Until) {
			m.tellTogether(key, g)
		}
	}
}

// tellAll tells all that waits.
func (m *Machine) tellAll() {
	for _, key := range slices.Sorted(maps.Keys(m.gathering)) {
		m.tellTogether(key, m.gathering[key])
	}
}

func (g *gathering) full() bool { return len(g.Members) >= maxWaiting }

// left is how long after the last tick it is told; 0 if its time has not begun.
func (g *gathering) left(m *Machine) time.Duration {
	if g.Ends == 0 || g.full() {
		return 0
	}
	return max(g.Ends-m.clock.Elapsed, g.Until.Sub(m.at), 0)
}

// tellTogether tells what has waited for others: one alone as it is, several in one
// message.
func (m *Machine) tellTogether(key string, g *gathering) {
	delete(m.gathering, key)
	m.end.known = false
	for _, tellings := range inMessages(m.tellings(g)) {
		m.tellMessage(g, tellings)
	}
}

// inMessages are what is told in one message each: of what is asked at most maxAsked.
func inMessages(all []*telling) (parts [][]*telling) {
	var asking, rest []*telling
	for _, t := range all {
		if t.asks() {
			asking = append(asking, t)
		} else {
			rest = append(rest, t)
		}
	}
	for len(asking) > maxAsked {
		parts, asking = append(parts, asking[:maxAsked:maxAsked]), asking[maxAsked:]
	}
	if last := append(asking, rest...); len(last) > 0 {
		parts = append(parts, last)
	}
	return parts
}

func (m *Machine) tellMessage(g *gathering, tellings []*telling) {
	oneCase := !slices.ContainsFunc(tellings, func(t *telling) bool { return t.caseID != tellings[0].caseID })
	if !oneCase {
		m.tellGathered(g, tellings)
		return
	}
	for _, t := range tellings { // a case is told with all that is known of it
		in := t.intents[0]
		in.Gathers = len(t.intents) - 1
		for _, same := range t.intents[1:] {
			m.toldBy(same, &in.Intent)
		}
		in.State = model.IntentPending
		m.recent[in.Verb] = append(m.recent[in.Verb], m.at)
		m.changed.intents[in.ID] = in
		m.recordOutcome(in, model.IntentGathered)
	}
}

// toldBy notes that an intent takes the outcome of another.
func (m *Machine) toldBy(in *intentState, by *model.Intent) {
	in.Gathered = by.ID
	if at, known := slices.BinarySearch(by.Of, in.Case); !known {
		by.Of = slices.Insert(by.Of, at, in.Case)
	}
	m.changed.intents[in.ID] = in
}

// telling is what people are told once: of a case, or of a question about one.
type telling struct {
	caseID  string // of now
	words   gathered
	intents []*intentState // the first is told; the others say the same
}

func (t *telling) asks() bool { return t.intents[0].Question != "" }

// tellings of what is gathered, in the order in which they came. Two responses that tell
// of the same case say the same; two steps of one do not.
func (m *Machine) tellings(g *gathering) (all []*telling) {
	for _, member := range g.Members {
		in := m.intents[member.Intent]
		if in == nil || in.State != model.IntentGathered || in.Gathered != "" {
			continue
		}
		id := in.Case
		if n, ok := m.firsts[in.Case]; ok {
			id = m.caseID(m.index.Earliest(m.index.Group(n)))
		}
		same := slices.IndexFunc(all, func(t *telling) bool {
			return t.caseID == id && in.Question == "" && t.intents[0].Question == "" &&
				t.words.Subject == member.Subject && t.words.Asked == member.Asked &&
				!slices.ContainsFunc(t.intents, func(o *intentState) bool { return o.Response == in.Response && o.Step != in.Step })
		})
		if same < 0 {
			all = append(all, &telling{caseID: id, words: member, intents: []*intentState{in}})
			continue
		}
		all[same].intents = append(all[same].intents, in)
	}
	return all
}

// tellGathered plans one intent that tells of several cases. Its id is that of the first
// that it tells, which no other does.
func (m *Machine) tellGathered(g *gathering, tellings []*telling) {
	first := tellings[0].intents[0]
	in := model.Intent{
		ID: model.ID("g", g.Action, g.Verb, g.Address, first.ID), Case: first.Case,
		Action: g.Action, Verb: g.Verb, Target: first.Target, DryRun: g.DryRun,
		PlannedAt: m.at, State: model.IntentPending,
	}
	in.Target.Known = nil
	cases := map[string]bool{}
	for _, t := range tellings {
		cases[t.caseID] = true
		for _, member := range t.intents {
			in.Gathers++
			in.Score = max(in.Score, member.Score)
			if d := member.Deadline; !d.IsZero() && (in.Deadline.IsZero() || d.Before(in.Deadline)) {
				in.Deadline = d
			}
			m.toldBy(member, &in)
		}
	}
	in.Because = fmt.Sprintf("%d cases came within %s, and are told at once", len(cases), span(m.at.Sub(first.PlannedAt).Round(time.Second)))
	in.Parameters = m.gatheredNotice(in, tellings, len(cases))
	m.planIntent(in)
}

// gatheredNotice lists the cases, the worst first; those about which something is asked
// before there is no room.
func (m *Machine) gatheredNotice(in model.Intent, tellings []*telling, count int) json.RawMessage {
	byScore := func(a, b *telling) int { return int(b.intents[0].Score - a.intents[0].Score) }
	worst := slices.Clone(tellings)
	slices.SortStableFunc(worst, func(a, b *telling) int {
		if a.asks() != b.asks() {
			return map[bool]int{true: -1, false: 1}[a.asks()]
		}
		return byScore(a, b)
	})
	worst = worst[:min(len(worst), maxGathered)]
	slices.SortStableFunc(worst, byScore)
	n := sdk.Notice{
		Title: fmt.Sprintf("%d cases", count), Because: in.Because, DryRun: in.DryRun, GatheredCount: len(tellings),
	}
	if count == len(tellings) {
		n.GatheredCount = count
	}
	for _, t := range worst {
		n.Gathered = append(n.Gathered, m.noticeCase(t))
	}
	n.Bound()
	text, err := json.Marshal(map[string]any{"notice": n})
	if err != nil {
		return nil // a notice is always JSON
	}
	return text
}

// maxNamed is how many subjects of a gathered case are named.
const maxNamed = 5

func (m *Machine) noticeCase(t *telling) sdk.NoticeCase {
	in := t.intents[0]
	c := sdk.NoticeCase{Case: t.caseID, Title: t.words.Subject, Asked: t.words.Asked, Question: in.Question, Score: float64(in.Score) / 100}
	n, ok := m.firsts[in.Case]
	if !ok {
		return c
	}
	cs := m.cases[m.index.Group(n)]
	if cs == nil {
		return c
	}
	v := newView(m, cs)
	if c.Title == "" {
		c.Title = v.title()
	}
	c.Severity, c.OpenedAt = int(cs.sum.severity), m.opened[cs.first].openedAt
	subjects, _ := v.ranked(maxNamed)
	for _, s := range subjects {
		c.Subjects = append(c.Subjects, s.Key())
	}
	return c
}

// settleGathered gives an intent's outcome to those that it has told as well.
func (m *Machine) settleGathered(by *intentState) {
	if by.Gathers == 0 {
		return
	}
	var told []*intentState
	for _, in := range m.intents {
		if in.Gathered == by.ID && in.State != by.State {
			told = append(told, in)
		}
	}
	slices.SortFunc(told, func(a, b *intentState) int { return cmp.Compare(a.number, b.number) })
	for _, in := range told {
		from := in.State
		in.State, in.Message, in.Reference, in.Repeat, in.By = by.State, by.Message, by.Reference, by.Repeat, by.By
		m.recordOutcome(in, from)
		m.finished(in)
	}
}

// checkGathered holds what waits against the intents.
func (m *Machine) checkGathered(d *decoder) {
	for _, key := range slices.Sorted(maps.Keys(m.gathering)) {
		g := m.gathering[key]
		if g == nil || len(g.Members) == 0 {
			d.fail("nobody is told together")
			return
		}
		for _, member := range g.Members {
			if in := m.intents[member.Intent]; in == nil || in.State != model.IntentGathered || in.Gather == nil {
				d.fail("intent %s waits to be told, and is not there or does not", member.Intent)
				return
			}
		}
	}
}

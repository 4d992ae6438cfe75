package decide

import (
	"encoding/json"
	"math"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// notice tells a case. Lists that may be long are bounded by who calls it.
func (v *view) notice() sdk.Notice {
	s := &v.cs.sum
	n := sdk.Notice{
		Case: v.cs.id, Title: v.title(), Severity: int(s.severity),
		Plainly: v.plainly(), Techniques: v.m.techniques(s), Stopped: s.allStopped(),
		FirstAt: s.firstAt, LastAt: s.lastAt, OpenedAt: v.m.opened[v.cs.first].openedAt,
		Score: noticeScore(v.score(), v.m.shown),
	}
	notes := v.foundNotes()
	n.Subjects = noticeObservables(v.subjects(math.MaxInt), notes)
	n.Indicators = noticeObservables(v.indicators(math.MaxInt), notes)
	n.Thread = v.m.firstID(v.cs)
	for _, name := range v.cs.names {
		// What went to another case with its signal is told there.
		if num, ok := v.m.firsts[name]; ok && name != n.Thread && v.m.index.Group(num) == v.cs.group {
			n.Joined = append(n.Joined, name)
		}
	}
	for asset := range v.Field("assets").Items() {
		n.Assets = append(n.Assets, noticeAsset(asset))
	}
	for identity := range v.Field("identities").Items() {
		n.Identities = append(n.Identities, decoded[sdk.NoticeIdentity](identity))
	}
	for verdict := range v.Field("verdicts").Items() {
		n.Verdicts = append(n.Verdicts, decoded[sdk.NoticeVerdict](verdict))
	}
	v.eachLookup(func(_ *seen, l *lookup) {
		if l.known() {
			return
		}
		u := sdk.NoticeUnknown{What: v.m.index.Key(l.value), Source: v.m.shown(l.src.Address), State: string(l.state)}
		if l.reply != nil {
			u.Why = l.reply.Reason
		}
		n.Unknowns = append(n.Unknowns, u)
	})
	n.Signals = v.timeline()
	for _, in := range v.m.intentsOf(v.cs) {
		if in.Preview || in.Response == "" {
			continue // nothing was done, or it tells of others as well, and each has its own
		}
		n.Actions = append(n.Actions, sdk.NoticeAction{
			At: in.PlannedAt, Verb: in.Verb, Target: in.Target.Value, State: string(in.State), Message: in.Message, DryRun: in.DryRun,
			UndoAt: v.m.undoAt(&in),
		})
	}
	return n
}

// plainly is what the rule says that reported the most severe signal, or else another of
// the case's.
func (v *view) plainly() string {
	if v.m.settings == nil {
		return ""
	}
	lead := v.m.signals[v.cs.sum.lead-1].rule
	for _, rule := range append([]uint32{lead}, v.cs.sum.rules...) {
		if text := v.m.settings.Plainly[v.m.texts.text(rule)]; text != "" {
			return text
		}
	}
	return ""
}

// undoAt is when what an intent holds ends by itself, as far as its own case goes; zero:
// it holds nothing, or until a person lets go.
func (m *Machine) undoAt(in *model.Intent) time.Time {
	h := m.holds[in.Hold]
	if h == nil || in.Undoes != "" {
		return time.Time{}
	}
	for _, o := range h.Owners {
		if o.Intent == in.ID && o.Wants() {
			return o.Until
		}
	}
	return time.Time{}
}

// noticeAsset is an asset with the names of now for what answers call otherwise.
func noticeAsset(v expr.Value) sdk.NoticeAsset {
	a := decoded[sdk.NoticeAsset](v)
	more := decoded[struct {
		OSVersion string         `json:"os_version"`
		Patches   map[string]int `json:"patches"`
	}](v)
	if a.OS != "" && more.OSVersion != "" && !strings.Contains(a.OS, more.OSVersion) {
		a.OS += " " + more.OSVersion
	}
	a.Missing = more.Patches
	return a
}

// timeline joins signals that are alike in title, source, severity and what became
// of them.
func (v *view) timeline() []sdk.NoticeSignal {
	type alike struct {
		title, source uint32
		severity      uint8
		stopped       uint8
	}
	entries := map[alike]*sdk.NoticeSignal{}
	var list []*sdk.NoticeSignal
	for _, num := range v.inTime() {
		st := &v.m.signals[num]
		key, at := alike{st.title, st.source, st.severity, st.stopped}, v.m.index.Time(num)
		if e := entries[key]; e != nil {
			e.Count, e.LastAt = max(e.Count, 1)+1, at
			continue
		}
		e := &sdk.NoticeSignal{
			At: at, Title: v.m.texts.text(st.title), Source: v.m.shown(v.m.texts.text(st.source)), Severity: int(st.severity),
		}
		if st.stopped != stoppedUnknown {
			stopped := st.stopped == stoppedYes
			e.Stopped = &stopped
		}
		entries[key] = e
		list = append(list, e)
	}
	signals := make([]sdk.NoticeSignal, len(list))
	for i, e := range list {
		signals[i] = *e
	}
	return signals
}

// noticeScore tells a score, with sources by their addresses of now.
func noticeScore(s model.Score, shown func(string) string) sdk.NoticeScore {
	points := func(h model.Hundredths) float64 { return float64(h) / 100 }
	n := sdk.NoticeScore{Total: points(s.Total), Upper: points(s.Upper)}
	for _, f := range s.Factors {
		factor := sdk.NoticeFactor{
			Label: f.Name, Points: points(f.Capped), Weight: f.Weight, Combine: f.Combine, Share: points(f.Share),
		}
		for _, l := range f.Lines {
			factor.Lines = append(factor.Lines, sdk.NoticeLine{
				Label: l.Evidence, Points: points(l.Points), Counted: points(l.Counted), Because: l.Because,
				Source: shown(l.Source), About: l.About, At: l.At, Reliability: l.Reliability,
			})
		}
		n.Factors = append(n.Factors, factor)
	}
	return n
}

func noticeObservables(list []sdk.Observable, notes map[string]string) []sdk.NoticeObservable {
	out := make([]sdk.NoticeObservable, len(list))
	for i, o := range list {
		out[i] = sdk.NoticeObservable{Kind: o.Kind, Value: o.Value, Note: notes[o.Key()]}
	}
	return out
}

// foundNotes say by value what people found of the earlier cases that it was in.
func (v *view) foundNotes() map[string]string {
	notes := map[string]string{}
	for _, p := range v.history() {
		if text := foundText(&p); text != "" {
			notes[p.Value] = text
		}
	}
	return notes
}

// decoded is an answer as a struct with the same JSON names. A field of another
// type stays empty.
func decoded[T any](v expr.Value) (t T) {
	text, err := v.MarshalJSON()
	if err == nil {
		_ = json.Unmarshal(text, &t)
	}
	return t
}

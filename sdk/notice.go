package sdk

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"
)

// Bounds of a Notice; Bound keeps them.
const (
	// MaxNoticeList is the longest of its lists. How many entries were left out is in
	// LeftOut.
	MaxNoticeList = 50
	// MaxNoticeText is the longest of its texts, in bytes.
	MaxNoticeText = 2 << 10
)

// Notice is a case as it is told to people. The core fills the parameter "notice" of
// a verb with it, so that every connector that can notify shows the same:
//
//	type parameters struct {
//		Notice any `kelpie:"notice" doc:"The case; the core fills it."`
//	}
//
// and then ParseNotice. The attribute is of any type, not a block by this struct,
// since later cores send fields that earlier plugins do not know.
//
// All texts may be an attacker's. Who renders them must escape them for where they
// stand (Visible helps), and must not make links of them; Link alone is the core's.
type Notice struct {
	Case     string `json:"case"`
	Title    string `json:"title"`
	Severity int    `json:"severity"` // 0 to 100
	// Plainly is what it may mean, for who is no analyst.
	Plainly    string   `json:"plainly,omitempty"`
	Techniques []string `json:"techniques,omitempty"`
	// Stopped: the controls have already blocked all of it; nil: not known.
	Stopped  *bool     `json:"stopped,omitempty"`
	FirstAt  time.Time `json:"first_at,omitzero"`
	LastAt   time.Time `json:"last_at,omitzero"`
	OpenedAt time.Time `json:"opened_at,omitzero"`

	// Because says why the reader gets this.
	Because string `json:"because,omitempty"`
	// Thread is the same in all that is told of one case, also after its id has changed.
	Thread string `json:"thread,omitempty"`
	// Joined are the threads of cases that have become part of this one.
	Joined []string `json:"joined,omitempty"`
	// Subject and Text are the operator's words: for the subject line, and before the
	// facts. Empty: the connector's own.
	Subject string `json:"subject,omitempty"`
	Text    string `json:"text,omitempty"`
	// Asked is what the reader is asked to do; empty: nothing.
	Asked   string         `json:"asked,omitempty"`
	Options []NoticeOption `json:"options,omitempty"`
	// Question is the id of what is asked, Until when it is too late for an answer as far
	// as that is known, and Wait how many seconds there are from when it is delivered.
	Question string    `json:"question,omitempty"`
	Until    time.Time `json:"until,omitzero"`
	Wait     int       `json:"wait,omitempty"`
	// Answer is the address of the page where this one reader answers. The core adds it,
	// and the links of the options, when it calls: it is a secret of the reader's.
	Answer string `json:"answer,omitempty"`
	// Previews are what the step that is to be approved would do, as its connector says.
	Previews []NoticePreview `json:"previews,omitempty"`
	// Gathered are the cases that are told at once, the worst first; the notice is about
	// none of them alone, and only Title, Because and these are set. GatheredCount is how
	// many there are, also those that are not listed.
	Gathered      []NoticeCase `json:"gathered,omitempty"`
	GatheredCount int          `json:"gathered_count,omitempty"`

	Score NoticeScore `json:"score"`

	// Subjects are affected, indicators are evidence.
	Subjects   []NoticeObservable `json:"subjects,omitempty"`
	Indicators []NoticeObservable `json:"indicators,omitempty"`
	Assets     []NoticeAsset      `json:"assets,omitempty"`
	Identities []NoticeIdentity   `json:"identities,omitempty"`
	Signals    []NoticeSignal     `json:"signals,omitempty"`
	Verdicts   []NoticeVerdict    `json:"verdicts,omitempty"`
	// Unknowns are the questions without an answer. They are no good news.
	Unknowns []NoticeUnknown `json:"unknowns,omitempty"`
	Actions  []NoticeAction  `json:"actions,omitempty"`

	// Link to the case in Kelpie; may be empty.
	Link string `json:"link,omitempty"`
	// DryRun: Kelpie plans actions and does none.
	DryRun bool `json:"dry_run,omitempty"`
	// LeftOut counts what the lists above do not show, by their JSON names.
	LeftOut map[string]int `json:"left_out,omitempty"`
}

// NoticeOption is a choice of the reader's.
type NoticeOption struct {
	Name        string `json:"name"`
	Summary     string `json:"summary,omitempty"`
	NeedsReason bool   `json:"needs_reason,omitempty"`
	// Reasons of which the reason must be one; empty: any.
	Reasons []string `json:"reasons,omitempty"`
	// Link of the page where the reader answers, with this option chosen beforehand.
	Link string `json:"link,omitempty"`
}

// NoticePreview is what a step would do to one target.
type NoticePreview struct {
	Verb    string `json:"verb"`
	Target  string `json:"target"`
	State   string `json:"state"` // an intent's state
	Message string `json:"message,omitempty"`
}

// NoticeCase is one of several cases that are told at once.
type NoticeCase struct {
	Case     string    `json:"case"`
	Title    string    `json:"title"`
	Severity int       `json:"severity"`
	Score    float64   `json:"score"`
	Subjects []string  `json:"subjects,omitempty"`
	OpenedAt time.Time `json:"opened_at,omitzero"`
	// Asked, Question and Answer as in a Notice.
	Asked    string `json:"asked,omitempty"`
	Question string `json:"question,omitempty"`
	Answer   string `json:"answer,omitempty"`
}

// NoticeScore is the score with all its reasons. Numbers are points.
type NoticeScore struct {
	Total float64 `json:"total"` // 0 to 100
	// Upper is what Total could become if what is unknown turned out badly.
	Upper   float64        `json:"upper,omitempty"`
	Factors []NoticeFactor `json:"factors,omitempty"`
}

// NoticeFactor is a part of the score; the Shares add up to the total.
type NoticeFactor struct {
	Label string `json:"label"`
	// Points after combining the lines, at most 100; Share is Weight times that.
	Points  float64      `json:"points"`
	Weight  string       `json:"weight,omitempty"`
	Combine string       `json:"combine,omitempty"` // "max", "sum", "decay"
	Share   float64      `json:"share"`
	Lines   []NoticeLine `json:"lines,omitempty"`
}

// NoticeLine is one piece of evidence.
type NoticeLine struct {
	Label  string  `json:"label"`
	Points float64 `json:"points"`
	// Counted is what it added under the factor's combination.
	Counted float64 `json:"counted"`
	Because string  `json:"because"`
	// Source says who said it, About of what ("kind:value"), At when, and Reliability how
	// sure the source was, 0 to 100; each where it is known.
	Source      string    `json:"source,omitempty"`
	About       string    `json:"about,omitempty"`
	At          time.Time `json:"at,omitzero"`
	Reliability *int      `json:"reliability,omitempty"`
}

// NoticeObservable is an observable and what is said about it.
type NoticeObservable struct {
	Kind  string `json:"kind"`
	Value string `json:"value"`
	Note  string `json:"note,omitempty"`
}

// NoticeAsset is a thing that is affected.
type NoticeAsset struct {
	Name        string   `json:"name"`
	FQDN        string   `json:"fqdn,omitempty"`
	IPs         []string `json:"ips,omitempty"`
	MACs        []string `json:"macs,omitempty"`
	OS          string   `json:"os,omitempty"`
	Roles       []string `json:"roles,omitempty"`
	Owner       string   `json:"owner,omitempty"`
	Team        string   `json:"team,omitempty"`
	Criticality *int     `json:"criticality,omitempty"`
	Tags        []string `json:"tags,omitempty"`
	// What state it is in; each where it is known. Missing are missing patches by
	// severity, Protection its protection as "installed", "running", "current".
	Managed    *bool            `json:"managed,omitempty"`
	Missing    map[string]int   `json:"patches_missing,omitempty"`
	Protection map[string]*bool `json:"protection,omitempty"`
	SeenAt     time.Time        `json:"seen_at,omitzero"`
}

// NoticeIdentity is a person or account that is affected.
type NoticeIdentity struct {
	Name       string `json:"name"`
	UPN        string `json:"upn,omitempty"`
	Mail       string `json:"mail,omitempty"`
	Title      string `json:"title,omitempty"`
	Department string `json:"department,omitempty"`
	Manager    string `json:"manager,omitempty"`
	Privileged *bool  `json:"privileged,omitempty"`
	State      string `json:"state,omitempty"`
	// When it signed in last, and when its password was set; each where it is known.
	LastLogon   time.Time `json:"last_logon,omitzero"`
	PasswordSet time.Time `json:"password_set,omitzero"`
}

// NoticeSignal is one entry of the timeline.
type NoticeSignal struct {
	At       time.Time `json:"at"`
	Title    string    `json:"title"`
	Source   string    `json:"source"`
	Severity int       `json:"severity"`
	Stopped  *bool     `json:"stopped,omitempty"`
	// Count: so many alike, the last at LastAt; 0 and 1: one.
	Count  int       `json:"count,omitempty"`
	LastAt time.Time `json:"last_at,omitzero"`
}

// NoticeVerdict is what an enrichment thinks of an observable.
type NoticeVerdict struct {
	Kind        string      `json:"kind"`
	Value       string      `json:"value"`
	Source      string      `json:"source"`
	Disposition Disposition `json:"disposition"`
	Score       int         `json:"score"`
	Confidence  int         `json:"confidence"`
	Labels      []string    `json:"labels,omitempty"`
	At          time.Time   `json:"at,omitzero"` // when it was said
}

// NoticeUnknown is a question without an answer.
type NoticeUnknown struct {
	What   string `json:"what"`
	Source string `json:"source,omitempty"`
	State  string `json:"state"` // "unknown", "failed", "pending"
	Why    string `json:"why,omitempty"`
}

// NoticeAction is something that was done, or not.
type NoticeAction struct {
	At      time.Time `json:"at,omitzero"`
	Verb    string    `json:"verb"`
	Target  string    `json:"target"`
	State   string    `json:"state"` // an intent's state, or "held back"
	Message string    `json:"message,omitempty"`
	// UndoAt is when it ends by itself.
	UndoAt time.Time `json:"undo_at,omitzero"`
	DryRun bool      `json:"dry_run,omitempty"`
}

// ParseNotice reads the parameter "notice", as a value of any type or as JSON, and
// bounds it. Fields that it does not know are left out.
func ParseNotice(parameter any) (Notice, error) {
	var n Notice
	if parameter == nil {
		return n, errors.New("notice: there is none")
	}
	data, ok := parameter.([]byte)
	if !ok {
		var err error
		if data, err = json.Marshal(parameter); err != nil {
			return n, fmt.Errorf("notice: %w", err)
		}
	}
	if err := json.Unmarshal(data, &n); err != nil {
		return n, fmt.Errorf("notice: %w", err)
	}
	if n.Case == "" && len(n.Gathered) == 0 {
		return n, errors.New("notice: it names no case")
	}
	n.Bound()
	return n, nil
}

// Bound shortens long lists, and texts by "…". Bounding twice is bounding once.
func (n *Notice) Bound() {
	left := func(name string, count int) {
		if count == 0 {
			return
		}
		if n.LeftOut == nil {
			n.LeftOut = map[string]int{}
		}
		n.LeftOut[name] += count
	}
	boundTexts(&n.Case, &n.Title, &n.Plainly, &n.Because, &n.Asked, &n.Link, &n.Thread, &n.Subject, &n.Text, &n.Question, &n.Answer)
	boundList(&n.Joined, func(t *string) { boundTexts(t) })
	left("techniques", boundList(&n.Techniques, func(t *string) { boundTexts(t) }))
	left("options", boundList(&n.Options, func(o *NoticeOption) {
		boundTexts(&o.Name, &o.Summary, &o.Link)
		boundList(&o.Reasons, func(t *string) { boundTexts(t) })
	}))
	left("previews", boundList(&n.Previews, func(p *NoticePreview) { boundTexts(&p.Verb, &p.Target, &p.State, &p.Message) }))
	left("gathered", boundList(&n.Gathered, func(c *NoticeCase) {
		boundTexts(&c.Case, &c.Title, &c.Asked, &c.Question, &c.Answer)
		boundList(&c.Subjects, func(t *string) { boundTexts(t) })
	}))
	left("factors", boundList(&n.Score.Factors, func(f *NoticeFactor) {
		boundTexts(&f.Label, &f.Weight, &f.Combine)
		left("lines", boundList(&f.Lines, func(l *NoticeLine) { boundTexts(&l.Label, &l.Because, &l.Source, &l.About) }))
	}))
	observable := func(o *NoticeObservable) { boundTexts(&o.Kind, &o.Value, &o.Note) }
	left("subjects", boundList(&n.Subjects, observable))
	left("indicators", boundList(&n.Indicators, observable))
	left("assets", boundList(&n.Assets, func(a *NoticeAsset) {
		boundTexts(&a.Name, &a.FQDN, &a.OS, &a.Owner, &a.Team)
		for _, list := range []*[]string{&a.IPs, &a.MACs, &a.Roles, &a.Tags} {
			boundList(list, func(t *string) { boundTexts(t) })
		}
	}))
	left("identities", boundList(&n.Identities, func(i *NoticeIdentity) {
		boundTexts(&i.Name, &i.UPN, &i.Mail, &i.Title, &i.Department, &i.Manager, &i.State)
	}))
	left("signals", boundList(&n.Signals, func(s *NoticeSignal) { boundTexts(&s.Title, &s.Source) }))
	left("verdicts", boundList(&n.Verdicts, func(v *NoticeVerdict) {
		boundTexts(&v.Kind, &v.Value, &v.Source, (*string)(&v.Disposition))
		boundList(&v.Labels, func(t *string) { boundTexts(t) })
	}))
	left("unknowns", boundList(&n.Unknowns, func(u *NoticeUnknown) { boundTexts(&u.What, &u.Source, &u.State, &u.Why) }))
	left("actions", boundList(&n.Actions, func(a *NoticeAction) { boundTexts(&a.Verb, &a.Target, &a.State, &a.Message) }))
}

// boundList returns how many entries it left out.
func boundList[T any](list *[]T, each func(*T)) int {
	more := max(0, len(*list)-MaxNoticeList)
	*list = (*list)[:len(*list)-more]
	for i := range *list {
		each(&(*list)[i])
	}
	return more
}

func boundTexts(texts ...*string) {
	const ellipsis = "…"
	for _, text := range texts {
		if len(*text) <= MaxNoticeText {
			continue
		}
		end := MaxNoticeText - len(ellipsis)
		for end > 0 && !utf8.RuneStart((*text)[end]) {
			end--
		}
		*text = (*text)[:end] + ellipsis
	}
}

package decide

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/plan"
)

// choose takes what a person chose. What does not count changes nothing of what is done.
func (m *Machine) choose(c *model.Command) {
	q := m.questions[c.Question]
	if q == nil || m.settings == nil || c.ID != "" && q.Chose(c.ID) != nil {
		return
	}
	ch := model.Choice{
		ID: c.ID, Option: clip(c.Option), Reason: clip(strings.TrimSpace(c.Because)), By: clip(c.By),
		Address: clip(c.Address), Road: c.Road, At: m.at,
	}
	if ch.Road == "" {
		ch.Road = model.RoadAPI
	}
	user := m.settings.Plan.Person(ch.By)
	if user != nil {
		ch.By = user.Name
	}
	if ch.Why, ch.Subject = m.refuses(q, &ch, user); ch.Why != "" {
		m.refused(q, ch)
		return
	}
	ch.Counts = true
	q.Choices = append(q.Choices, ch)
	m.changedQuestion(q)
	m.recordChoice(q, &ch)
	m.follow(q, &ch)
	m.considerFirst(q.Case)
}

// moveCursor notes from where on a stream of answers goes on, whatever becomes of the answer.
func (m *Machine) moveCursor(c *model.Command) {
	if c.Feed != "" {
		m.cursors[c.Feed], m.changed.cursors[c.Feed] = c.Cursor, c.Cursor
	}
}

// refused keeps a choice that does not count, of which one person has no more than some.
func (m *Machine) refused(q *questionState, ch model.Choice) {
	all, of := 0, 0
	for _, o := range q.Choices {
		if o.Counts {
			continue
		}
		if all++; o.By == ch.By {
			of++
		}
	}
	if all >= model.MostRefused || of >= model.MostRefusedOf {
		return
	}
	q.Choices = append(q.Choices, ch)
	m.changedQuestion(q)
	m.recordChoice(q, &ch)
}

// refuses says why a choice does not count; empty: it does. Subject tells that it is for
// who made it.
func (m *Machine) refuses(q *questionState, ch *model.Choice, user *plan.User) (why string, subject bool) {
	o := q.Option(ch.Option)
	switch {
	case !q.Open():
		return "the question is " + closedAs(q), false
	case o == nil:
		return "there is no option " + ch.Option, false
	case o.NeedsReason && ch.Reason == "":
		return "the option " + o.Name + " needs a reason", false
	case len(o.Reasons) > 0 && !slices.Contains(o.Reasons, reasonOf(ch)) && (o.NeedsReason || ch.Reason != ""):
		return "the reason must begin with one of " + strings.Join(o.Reasons, ", "), false
	}
	if why := m.stranger(q, ch, user); why != "" {
		return why, false
	}
	if why := m.subjectOf(q, ch); why != "" {
		return why, true
	}
	switch {
	case q.Kind == model.QuestionApproval && q.Role != "" && (user == nil || !user.Has(q.Role)):
		return fmt.Sprintf("%s does not have the role %s, which it takes", ch.By, q.Role), false
	case slices.ContainsFunc(q.Choices, func(o model.Choice) bool { return o.Counts && same(o.By, ch.By) }):
		return ch.By + " has chosen already", false
	case o.Name == model.OptionApprove && slices.ContainsFunc(q.Choices, func(o model.Choice) bool { return o.Counts && m.mayBeOne(&o, ch) }):
		return ch.By + " may be somebody who has approved already, and different people have to", false
	case o.Name == model.OptionEscalate && len(m.authors(q)) == 0 && q.Last():
		return "there is nobody else to ask", false
	}
	return "", false
}

// closedAs says how a question ended.
func closedAs(q *questionState) string {
	switch q.State {
	case model.QuestionAnswered:
		return fmt.Sprintf("answered already: %s chose %s", q.By, q.Choice)
	case model.QuestionTimedOut:
		return "over: nobody answered in time"
	case model.QuestionWithdrawn:
		return "withdrawn: " + q.Why
	}
	return "closed: " + q.Why
}

// reasonOf is the word of a reason, before what was added to it.
func reasonOf(ch *model.Choice) string {
	word, _, _ := strings.Cut(ch.Reason, ":")
	return strings.TrimSpace(word)
}

// same tells whether two who chose are one person, as far as is known.
func same(a, b string) bool { return a == b || plan.SameMailbox(a, b) }

// mayBeOne tells whether two choices may be one person's. Who reads a mailbox with others
// may say of a link in it that they are one of these.
func (m *Machine) mayBeOne(a, b *model.Choice) bool {
	return m.settings.Plan.MayBeOne(a.By, b.By) || a.Address != "" && b.Address != "" && same(a.Address, b.Address)
}

// stranger says why somebody may not choose at all. By a link or a stream of answers
// chooses who was asked there; by an order also who has the role for it. Where the
// configuration knows nobody, any of those who may give orders may answer for who was
// asked, but not approve for them.
func (m *Machine) stranger(q *questionState, ch *model.Choice, user *plan.User) string {
	if ch.By == "" {
		return "it is not known who chose"
	}
	if ch.Road == model.RoadLink || ch.Road == model.RoadAnswers {
		a := q.askedAt(ch.Address)
		switch {
		case a == nil:
			return ch.Address + " was not asked"
		case same(ch.By, ch.Address), ch.By == a.Person, user != nil && user.Reads(ch.Address):
			return ""
		}
		return ch.By + " is not who was asked at " + ch.Address
	}
	role := "responder"
	if q.Kind == model.QuestionApproval {
		role = "approver"
	}
	asked := slices.ContainsFunc(q.Asked, func(a model.Asked) bool {
		return a.Person == ch.By || same(a.Address, ch.By) || user != nil && user.Reads(a.Address)
	})
	switch {
	case asked, user != nil && user.Has(role):
		return ""
	case len(m.settings.Plan.Users) == 0 && q.Kind != model.QuestionApproval:
		return ""
	}
	return ch.By + " was not asked, and does not have the role " + role
}

func (q *questionState) askedAt(address string) *model.Asked {
	at := slices.IndexFunc(q.Asked, func(a model.Asked) bool { return same(a.Address, address) })
	if at < 0 || address == "" {
		return nil
	}
	return &q.Asked[at]
}

// subjectOf says why a choice is that of a subject of the case, by whatever road it came,
// as the case is now or was when it was asked.
func (m *Machine) subjectOf(q *questionState, ch *model.Choice) string {
	for _, a := range q.Asked {
		if a.Subject && (same(a.Address, ch.By) || same(a.Address, ch.Address) || a.Person != "" && a.Person == ch.By) {
			return a.Address + " is a subject of the case, or may be read by one"
		}
	}
	cs := m.caseOf(q)
	if cs == nil {
		return ""
	}
	value := newView(m, cs).value()
	for _, who := range [...]string{ch.By, ch.Address} {
		if why, subject := plan.Reader(&m.settings.Plan, value, who); who != "" && subject {
			return why
		}
	}
	return ""
}

// follow draws the consequences of a choice that counts.
func (m *Machine) follow(q *questionState, ch *model.Choice) {
	switch {
	case q.Kind == model.QuestionApproval && ch.Option == model.OptionApprove:
		m.recount(q)
		approved := 0
		for _, o := range q.Choices {
			if o.Counts && o.Option == model.OptionApprove {
				approved++
			}
		}
		if approved >= q.People {
			m.decided(q, ch)
		}
	case q.Kind == model.QuestionApproval:
		m.decided(q, ch)
	case ch.Option == model.OptionNotMine:
		m.notMine(q, ch)
		m.nextLevel(q)
	case ch.Option == model.OptionEscalate:
		m.escalate(q)
	default:
		m.decided(q, ch)
		if ch.Option == model.OptionIgnore {
			m.ignored(q, ch)
		}
	}
}

// recount looks again at those who approved before: since then the case may have come to be
// about one of them, who decides nothing then.
func (m *Machine) recount(q *questionState) {
	for i := range q.Choices {
		ch := &q.Choices[i]
		if !ch.Counts {
			continue
		}
		if why := m.subjectOf(q, ch); why != "" {
			ch.Counts, ch.Why, ch.Subject = false, why, true
			m.recordChoice(q, ch)
		}
	}
}

func (m *Machine) decided(q *questionState, ch *model.Choice) {
	q.Choice, q.By, q.Reason, q.Road = ch.Option, ch.By, ch.Reason, ch.Road
	m.closeQuestion(q, model.QuestionAnswered)
}

// escalate asks the authors of the rules at once or, where none is known or all were
// asked, who is next.
func (m *Machine) escalate(q *questionState) {
	if authors := m.authors(q); len(authors) > 0 {
		q.Levels = slices.Insert(slices.Clone(q.Levels), min(q.Level+1, len(q.Levels)), model.Level{To: authors, Why: "author of the rule"})
	}
	m.nextLevel(q)
}

// authors are the addresses of who wrote the rules that it is about, but for those who
// were asked.
func (m *Machine) authors(q *questionState) []string {
	var all []string
	for _, rule := range q.Rules {
		author := m.settings.Plan.Authors[rule]
		if author == "" {
			continue
		}
		if address, ok := m.settings.Plan.Address(author); ok && q.askedAt(address) == nil && !slices.Contains(all, address) {
			all = append(all, address)
		}
	}
	return all
}

// findings are what reasons to ignore a case say that it is; a duplicate says nothing of
// it.
var findings = map[string]model.FindingKind{
	model.ReasonExpected: model.Benign, model.ReasonTest: model.Benign, model.ReasonFalseAlarm: model.FalsePositive,
}

// ignored notes what a case was found to be, and proposes to ignore its like.
func (m *Machine) ignored(q *questionState, ch *model.Choice) {
	if cs := m.caseOf(q); cs != nil {
		if f := findingBy(q); f != nil {
			m.endAs(cs, *f)
		}
	}
	m.propose(model.Proposal{
		ID: model.ProposalID(model.ProposeIgnore, q.ID), Kind: model.ProposeIgnore, State: model.ProposalOpen,
		Case: q.Case, Question: q.ID, Rules: q.Rules, By: ch.By, Reason: ch.Reason, At: m.at,
	})
}

// findingBy is what the answer to a question says that its case is; nil: nothing.
func findingBy(q *questionState) *model.Finding {
	if q.State != model.QuestionAnswered || q.Choice != model.OptionIgnore {
		return nil
	}
	word, notes, _ := strings.Cut(q.Reason, ":")
	kind, ok := findings[strings.TrimSpace(word)]
	if !ok {
		return nil
	}
	return &model.Finding{Kind: kind, By: q.By, Notes: strings.TrimSpace(notes), At: q.ClosedAt, Question: q.ID}
}

// notMine proposes, once for a question, to change the table by which its route found who
// it is not for.
func (m *Machine) notMine(q *questionState, ch *model.Choice) {
	step := m.settings.Plan.Asking(&q.Question)
	if step == nil {
		return
	}
	route := m.settings.Plan.RouteOf(step, q.Kind)
	first := q.Choices[slices.IndexFunc(q.Choices, func(o model.Choice) bool { return o.Counts && o.Option == model.OptionNotMine })].ID == ch.ID
	if route == nil || route.Table == "" || !first {
		return
	}
	address := ch.Address
	if address == "" {
		address = ch.By
	}
	m.propose(model.Proposal{
		ID: model.ProposalID(model.ProposeRoute, q.ID), Kind: model.ProposeRoute, State: model.ProposalOpen,
		Case: q.Case, Question: q.ID, Rules: q.Rules, Route: route.Address, Address: address, By: ch.By, Reason: ch.Reason, At: m.at,
	})
}

func (m *Machine) recordChoice(q *questionState, ch *model.Choice) {
	r := questionRecord(model.RecordChoice, q)
	r.To, r.By, r.Because, r.Road, r.Message = ch.Option, ch.By, ch.Reason, ch.Road, ch.Why
	if ch.Address != "" {
		r.Target = plan.AddressKind + ":" + ch.Address
	}
	m.record(r)
}

package plan

import (
	"slices"

	"github.com/kelpie-sec/kelpie/core/model"
)

// Person is the user of a name, or the only one who reads a mailbox; nil: there is none.
func (s *Settings) Person(who string) *User {
	if u := s.User(who); u != nil {
		return u
	}
	return s.UserAt(who)
}

// Reads tells whether a user reads a mailbox.
func (u *User) Reads(address string) bool {
	return slices.ContainsFunc(u.Mail, func(m string) bool { return SameMailbox(m, address) })
}

// SameMailbox tells whether two addresses lead to one mailbox.
func SameMailbox(a, b string) bool { return mailbox(a) == mailbox(b) }

// MayBeOne tells whether two, by names of users or addresses, may be one person: they read
// the same mailbox, or one of them is known only by a mailbox that the other reads too.
func (s *Settings) MayBeOne(a, b string) bool {
	if a == b || SameMailbox(a, b) {
		return true
	}
	others := s.maybe(b)
	return slices.ContainsFunc(s.maybe(a), func(u *User) bool { return slices.Contains(others, u) })
}

// maybe are the users that somebody may be.
func (s *Settings) maybe(who string) []*User {
	if u := s.User(who); u != nil {
		return []*User{u}
	}
	return s.reading(who)
}

// Asking is the step that asks a question; nil: the configuration has it no more, or it
// asks nothing of that kind.
func (s *Settings) Asking(q *model.Question) *Step {
	for i := range s.Responses {
		if s.Responses[i].Address != q.Response {
			continue
		}
		for j := range s.Responses[i].Steps {
			step := &s.Responses[i].Steps[j]
			switch {
			case step.Name != q.Step:
			case q.Kind == model.QuestionApproval && step.Approval != nil, q.Kind != model.QuestionApproval && step.Wait > 0:
				return step
			}
		}
	}
	return nil
}

// RouteOf is the route by which a step asks; nil: it asks by none.
func (s *Settings) RouteOf(step *Step, kind model.QuestionKind) *Route {
	address := step.Route
	if kind == model.QuestionApproval {
		address = step.Approval.Route
	}
	at := slices.IndexFunc(s.Routes, func(r Route) bool { return r.Address == address })
	if at < 0 {
		return nil
	}
	return &s.Routes[at]
}

// MayConfigure says why somebody may not change the configuration; empty: they may. Where
// it knows nobody, all may who can give orders.
func (s *Settings) MayConfigure(who string) string {
	if len(s.Users) == 0 {
		return ""
	}
	if u := s.Person(who); u == nil || !u.Has("engineer") {
		return who + " does not have the role engineer"
	}
	return ""
}

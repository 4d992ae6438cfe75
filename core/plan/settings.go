// Package plan decides which steps to take about a case: responses, routes,
// protection, limits and the mode of actions. It is pure: a case and what was
// done before in, intents and notes out.
package plan

import (
	"slices"
	"time"

	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/model"
)

// Mode says how far actions go.
type Mode string

// The modes.
const (
	Off    Mode = "off"     // nothing is planned
	DryRun Mode = "dry_run" // planned and asked with dry_run; nothing leaves
	On     Mode = "on"
)

// Settings is what the configuration says about responding.
type Settings struct {
	Mode      Mode
	Responses []Response
	Routes    []Route
	Protects  []Protect
	Limits    []Limit
	// Repeat is how often people are told of the same.
	Repeat Repeat
	// Rules says which responses a pipeline's or rule's signals ask for, by address.
	Rules map[string][]string
	// Users by name, and Authors: the address or user of who wrote a rule or pipeline, by
	// its address.
	Users   []User
	Authors map[string]string
	// Stuck is who is told of holds whose undo comes to nothing.
	Stuck Stuck
}

// Stuck says who is told of a hold whose undo has failed, or of which nobody knows what
// became, again and again until it is known to have ended.
type Stuck struct {
	Via   string        // "action.mail"; empty: who was told of the case is told, likewise
	To    []string      // addresses
	Every time.Duration // how often they are told, and a failed undo is tried again
	// Notice: the verb takes a parameter "notice".
	Notice bool
}

// Response is a plan for a case.
type Response struct {
	Address string        // "response.contain"
	When    *expr.Program // nil: always
	Steps   []Step
	// Reads tells whether the condition reads answers, so that it is not decided
	// while one is pending.
	Reads bool
}

// Step does one verb to each target.
type Step struct {
	Name   string
	When   *expr.Program // nil: always
	Action string        // "action.mail"
	Verb   string
	// Targets gives a value or list of values of TargetKinds; for notify it is To.
	Targets     *expr.Program
	TargetKinds []string
	// Route is the address of a route that To names, or "".
	Route string
	// To gives addresses, for notify without a route.
	To *expr.Program
	// Parameters by name, as the verb's schema has them.
	Parameters map[string]*expr.Program
	// Notice: the verb takes a parameter "notice", which the core fills with the case.
	Notice bool
	// Contains tells that the verb changes the state of its target (anything but
	// notify, ticket, resolve, collect, scan_host), so that a target must be earned.
	Contains bool
	// Because, for people; nil: made from the response.
	Because *expr.Program
	// Holds: what it does can be undone, and is held until nobody wants it any more.
	Holds bool
	// UndoAfter is how long a case wants the hold; 0: until a person lets it go. UndoBy
	// gives it as a text where it depends on the case, or Forever.
	UndoAfter time.Duration
	UndoBy    *expr.Program

	// Needs are steps that have to be done, or answered, before it.
	Needs []string
	// Parallel is how many of its targets are under way at once; 0: all.
	Parallel int
	// OnFailure are steps that are taken if it comes to nothing, and only then.
	OnFailure []string
	// Text replaces what is told by default, each where it is not nil.
	Text Text
	// Wait is how long it waits for an answer, once it is delivered; 0: it asks nothing.
	Wait    time.Duration
	Options []model.Option
	// AskSubject: subjects of the case are asked too, and their choice only adds evidence.
	AskSubject bool
	// Approval is what it needs before it is taken; nil: nothing.
	Approval *Approval
}

// Text is what people are told, by templates of the operator's.
type Text struct {
	Subject *expr.Program // of the mail
	Asked   *expr.Program // what the reader is asked to do
	Body    *expr.Program // before the facts
}

// Approval is who has to agree before a step is taken.
type Approval struct {
	// Route or To is who is asked, by the action Via ("action.mail") and its verb notify.
	Route string
	To    *expr.Program
	Via   string
	// People is how many different ones have to agree, from 1; Role that they must have,
	// empty: none.
	People int
	Role   string
	// Wait is how long; Otherwise is model.OptionApprove or model.OptionRefuse, what it
	// means if nobody answers.
	Wait      time.Duration
	Otherwise string
	// AskSubject as with a Step.
	AskSubject bool
}

// User is a person that Kelpie knows.
type User struct {
	Name  string   `json:"name"`
	Mail  []string `json:"mail,omitempty"` // the first is where to write to
	Roles []string `json:"roles,omitempty"`
	Team  string   `json:"team,omitempty"`
	// Accounts are observables that are this person, as "user:kim", "account:ACME\\kim".
	Accounts []string `json:"accounts,omitempty"`
}

// Roles are those that a user may have. Each has those before it.
func Roles() []string { return []string{"viewer", "responder", "approver", "engineer", "admin"} }

// Has tells whether a user has a role, be it by a higher one.
func (u *User) Has(role string) bool {
	want := slices.Index(Roles(), role)
	return want >= 0 && slices.ContainsFunc(u.Roles, func(r string) bool { return slices.Index(Roles(), r) >= want })
}

// User finds one by name; nil: there is none.
func (s *Settings) User(name string) *User {
	at := slices.IndexFunc(s.Users, func(u User) bool { return u.Name == name })
	if at < 0 {
		return nil
	}
	return &s.Users[at]
}

// UserAt is the only user that reads a mailbox; nil: it is nobody's, or of several.
func (s *Settings) UserAt(address string) *User {
	if all := s.reading(address); len(all) == 1 {
		return all[0]
	}
	return nil
}

// Protect forbids verbs on targets. When is compiled strict: null means protected.
type Protect struct {
	Name  string
	Verbs []string // empty: all that contain
	When  *expr.Program
}

// Limit of a verb over all responses.
type Limit struct {
	Verb    string
	PerHour int
}

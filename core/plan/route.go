package plan

import (
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/model"
)

// Route finds the person. Who is found first is told: by To, else of the Team, else the
// author of the rule, else Otherwise. The rest of them are who is asked when the first
// can't be reached, or says that it is not theirs.
type Route struct {
	Address string        // "route.system_owner"
	To      *expr.Program // addresses, or names of users
	Team    *expr.Program // a name of a team; nil: of none
	// Author: the author of the rule.
	Author    bool
	Otherwise string // an address, or the name of a user
	// Table is where who says that it is not theirs is looked up, "table.owners"; empty:
	// nowhere.
	Table string
	// Escalate are further levels, in their order.
	Escalate []Escalate
	Quiet    []Quiet
	Digest   *Digest
	// Gather is how long after the first others to the same address are told with it; 0:
	// each is told at once.
	Gather time.Duration
}

// Escalate asks others when those before were asked so long.
type Escalate struct {
	After time.Duration
	To    *expr.Program
}

// Quiet are hours in which people are told only of what has at least the score Below.
type Quiet struct {
	// From is in it, To is not, each since midnight in Zone; where To is not after From, it
	// is of the next day.
	From, To time.Duration
	Zone     *time.Location
	Below    model.Hundredths
}

// Overlaps tells whether some time of the day is in both, in the same zone.
func (q Quiet) Overlaps(other Quiet) bool {
	return q.has(other.From) || other.has(q.From)
}

// has tells whether a time of the day is in it.
func (q Quiet) has(t time.Duration) bool {
	if q.From < q.To {
		return q.From <= t && t < q.To
	}
	return q.From <= t || t < q.To
}

// Digest gathers what has a lower score than Below.
type Digest struct {
	Below model.Hundredths
	Every time.Duration
}

// AtOnce are the same settings with routes that let nothing wait for others.
func (s Settings) AtOnce() Settings {
	s.Routes = slices.Clone(s.Routes)
	for i := range s.Routes {
		s.Routes[i].Gather, s.Routes[i].Digest, s.Routes[i].Quiet = 0, nil, nil
	}
	return s
}

// DefaultGather is Route.Gather where the configuration says nothing.
const DefaultGather = 10 * time.Second

// NotByTime is model.Level.After of a level that is asked only if those before it come to
// nothing: longer than anything waits.
const NotByTime = 100 * 365 * 24 * time.Hour

func (r *Route) programs() []*expr.Program {
	all := []*expr.Program{r.To, r.Team}
	for _, e := range r.Escalate {
		all = append(all, e.To)
	}
	return slices.DeleteFunc(all, func(p *expr.Program) bool { return p == nil })
}

// over is when the quiet hours are over that a time is in.
func (q *Quiet) over(now time.Time) (time.Time, bool) {
	local := now.In(q.Zone)
	for back := range 2 { // they may have begun the day before
		day := local.AddDate(0, 0, -back)
		from, to := at(day, q.From), at(day, q.To)
		if q.To <= q.From {
			to = at(day.AddDate(0, 0, 1), q.To)
		}
		if !now.Before(from) && now.Before(to) {
			return to.UTC(), true
		}
	}
	return time.Time{}, false
}

// at is a time of a day, as clocks there show it.
func at(day time.Time, since time.Duration) time.Time {
	return time.Date(day.Year(), day.Month(), day.Day(), int(since/time.Hour), int(since%time.Hour/time.Minute), 0, 0, day.Location())
}

// onCall is "schedule" in expressions.
func onCall(by map[string][]string) expr.Value {
	all := map[string]expr.Value{}
	for address, people := range by {
		all[strings.TrimPrefix(address, "schedule.")] = expr.Strings(people)
	}
	return expr.Object(all)
}

// routed are the levels of a route, each address once; why says what is missing, if
// something is.
func (r *run) routed(route Route) (levels []model.Level, why string) {
	f := finder{run: r, had: map[string]bool{}}
	for _, g := range f.groups(route) {
		level := model.Level{To: f.once(g.found), Why: g.why}
		if len(level.To) == 0 {
			continue
		}
		if len(levels) > 0 {
			level.After = g.after
		}
		levels = append(levels, level)
	}
	switch {
	case f.exceeded:
		why = "its route takes too long to work out"
	case len(f.nobody) > 0:
		why = "neither an address nor a user: " + strings.Join(f.nobody[:min(len(f.nobody), 3)], ", ")
	case len(levels) == 0:
		why = "the route finds nobody"
	}
	return levels, why
}

// finder finds people for one route.
type finder struct {
	*run
	had      map[string]bool // addresses
	nobody   []string        // names that are neither
	exceeded bool
}

// group is some people who are found alike.
type group struct {
	found []string
	why   string
	after time.Duration
}

// groups are in the order in which they are asked: the first that there is, those who are
// asked as time goes by, and the rest. One of them may have nobody.
func (f *finder) groups(route Route) []group {
	name := strings.TrimPrefix(route.Address, "route.")
	first := []group{{f.named(route.To), "named by the route " + name, NotByTime}}
	if route.Team != nil {
		team, _ := f.value(route.Team).Str()
		first = append(first, group{f.team(team), "of the team " + team, NotByTime})
	}
	if route.Author {
		first = append(first, group{f.authors(), "author of the rule", NotByTime})
	}
	first = append(first, group{f.otherwise(route.Otherwise), "told where the route " + name + " finds nobody", NotByTime})
	begin := slices.IndexFunc(first, func(g group) bool { return len(g.found) > 0 })
	if begin < 0 {
		begin = len(first) - 1
	}
	all := []group{first[begin]}
	for _, e := range route.Escalate {
		all = append(all, group{f.named(e.To), "asked since there was no answer", e.After})
	}
	return append(all, first[begin+1:]...)
}

func (f *finder) value(p *expr.Program) expr.Value {
	v := p.Eval(&f.scope)
	f.exceeded = f.exceeded || f.scope.Exceeded()
	return v
}

// named are the addresses of an expression: what is neither an address nor a user is left
// out.
func (f *finder) named(p *expr.Program) (found []string) {
	if p == nil {
		return nil
	}
	for leaf := range f.value(p).Leaves() {
		text, _ := leaf.Str()
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		if address, ok := f.address(text); ok {
			found = append(found, address)
		} else if !slices.Contains(f.nobody, text) {
			f.nobody = append(f.nobody, text)
		}
	}
	return found
}

// address of a user, or of what is one itself. A name has no mark that addresses have, of
// mails, channels, telephones or pages; and no address has more than one line.
func (f *finder) address(text string) (string, bool) {
	for i := range f.settings.Users {
		if u := &f.settings.Users[i]; u.Name == text {
			return u.address()
		}
	}
	return text, strings.ContainsAny(text, "@#:/+") && !strings.ContainsFunc(text, unicode.IsControl)
}

func (u *User) address() (string, bool) {
	if len(u.Mail) == 0 {
		return "", false
	}
	return u.Mail[0], true
}

func (f *finder) team(name string) (found []string) {
	for i := range f.settings.Users {
		if u := &f.settings.Users[i]; name != "" && u.Team == name {
			if address, ok := u.address(); ok {
				found = append(found, address)
			}
		}
	}
	return found
}

func (f *finder) authors() (found []string) {
	for _, rule := range f.c.Rules {
		if address, ok := f.address(f.settings.Authors[rule]); ok {
			found = append(found, address)
		}
	}
	return found
}

// otherwise is what the operator has written, whatever form it has.
func (f *finder) otherwise(text string) []string {
	if text = strings.TrimSpace(text); text == "" {
		return nil
	}
	if address, ok := f.address(text); ok {
		return []string{address}
	}
	return []string{text}
}

// once leaves out who is in an earlier level.
func (f *finder) once(found []string) (fresh []string) {
	for _, address := range found {
		if !f.had[address] {
			f.had[address] = true
			fresh = append(fresh, address)
		}
	}
	return fresh
}

// gather says what the telling of a step waits for; nil: nothing.
func (r *run) gather(s *Step) *model.Gather {
	if s.Route == "" || !s.Notice || s.Verb != "notify" {
		return nil
	}
	return r.gatherBy(s.Route)
}

// gatherBy says what it waits for by a route.
func (r *run) gatherBy(address string) *model.Gather {
	route := r.routes[address]
	g := model.Gather{For: route.Gather}
	if d := route.Digest; d != nil && r.total() < d.Below {
		g.Every, g.Below = d.Every, d.Below
	}
	for _, q := range route.Quiet {
		over, quiet := q.over(r.now)
		if quiet && r.total() < q.Below && over.After(g.Until) {
			g.Until, g.QuietBelow = over, q.Below
		}
	}
	if g == (model.Gather{}) {
		return nil
	}
	return &g
}

// total of the case's score.
func (r *run) total() model.Hundredths {
	total, _ := r.c.Value.Attr("score").Attr("total").Fixed(2)
	return model.Hundredths(total)
}

// joins tells whether an intent makes no message of its own.
func (r *run) joins(in *model.Intent) bool {
	return in.Gather != nil && r.c.Joins != nil && r.c.Joins(in)
}

package config

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/plan"
	"github.com/kelpie-sec/kelpie/core/zone"
	"github.com/kelpie-sec/kelpie/sdk"
)

func routeBlock() blockType {
	below := func(doc string) attribute { return number("below", doc).must() }
	return blockType{name: "route", labels: []string{"name"}, many: true, doc: "Finds the person: by \"to\"; where that names nobody of the team; where there is none the author; and else \"otherwise\". docs/routes.md explains it.", body: bodyType{
		attributes: []attribute{
			expression("to", "Addresses, or names of users, such as [case.assets.owner, schedule.netsec]; those that are not known are left out.").must(),
			expression("team", "The name of a team, such as case.assets.team: all users of it."),
			boolean("author", "The author of the rule, by its about.").standard("false"),
			text("otherwise", "The address, or the name of a user, if there is nobody.").must(),
			reference("table", "The table that an engineer is asked to change when somebody says that it is not theirs."),
			duration("gather", "What comes for the same address within so long of the first is told in one message; with \"0s\" each is told at once.").standard(`"10s"`),
		},
		blocks: []blockType{
			{name: "escalate", labels: []string{"after"}, many: true, doc: "Who is asked as well when nobody has answered for so long, such as \"10m\".", body: bodyType{attributes: []attribute{
				expression("to", "Addresses, or names of users.").must(),
			}}},
			{name: "quiet", many: true, doc: "Hours in which only what is bad is told; the rest is told when they are over.", body: bodyType{attributes: []attribute{
				text("from", "When they begin, as \"22:00\".").must(),
				text("to", "When they are over, as \"07:00\"; the next day, if that is earlier.").must(),
				text("timezone", "Whose clock that is, such as \"Europe/Berlin\".").standard(`"UTC"`),
				below("Cases with a lower score than this wait."),
			}}},
			{name: "digest", doc: "What is told together, some time later.", body: bodyType{attributes: []attribute{
				below("Cases with a lower score than this are gathered."),
				duration("every", "For how long, from the first, such as \"24h\".").must(),
			}}},
		},
	}}
}

func (p *parser) route(s *section) plan.Route {
	r := plan.Route{
		Address: s.address(), Otherwise: s.text("otherwise", ""), Author: s.flag("author", false),
		Gather: s.duration("gather", plan.DefaultGather),
	}
	r.To = p.finding(s)
	r.Team = p.program(s, "team", inRoute, p.scheduled())
	if s.has("otherwise") && strings.TrimSpace(r.Otherwise) == "" {
		p.errorf(s.place("otherwise"), "Empty", "Name who is told when nobody else is found.")
	} else if e := s.expr("otherwise"); e != nil {
		p.literalPerson(e)
	}
	if e := s.expr("table"); e != nil {
		if t := p.reference(e, "table"); t != nil {
			r.Table = t.address()
		}
	}
	if s.has("gather") && (r.Gather < 0 || r.Gather > maxGather) {
		p.errorf(s.place("gather"), "Out of range", "Write a time up to \"1h\", or \"0s\": each is told at once. For what may wait longer there is digest { below = …, every = … }.")
	}
	for _, e := range s.of("escalate") {
		if level, ok := p.escalate(e); ok {
			r.Escalate = append(r.Escalate, level)
		}
	}
	r.Quiet = p.quietHours(s.of("quiet"))
	for i, d := range s.of("digest") {
		if i > 0 {
			break // which the grammar complains about
		}
		r.Digest = p.digest(d)
	}
	return r
}

// maxGather is the longest that what is urgent waits for others.
const maxGather = time.Hour

// finding compiles who is told, and complains about names that are nobody's.
func (p *parser) finding(s *section) *expr.Program {
	if e := s.expr("to"); e != nil {
		p.literalAddresses(e)
		for _, item := range append(items(e), e) {
			p.literalPerson(item)
		}
		if emptyList(e) && !s.broken {
			p.errorf(e.Range(), "Finds nobody", "Name somebody: write to = [case.assets.owner], or to = [\"somebody@example.org\"].")
		}
	}
	return p.program(s, "to", inRoute, p.scheduled())
}

// literalPerson complains about a text that is neither an address nor a user's name.
func (p *parser) literalPerson(e hclsyntax.Expression) {
	text, ok := literalText(e)
	if text = strings.TrimSpace(text); !ok || strings.ContainsAny(text, "@#:/+") || strings.HasPrefix(text, "route.") {
		return
	}
	users := p.namesOf("user")
	switch {
	case slices.Contains(users, text):
	case strings.HasPrefix(text, "schedule."):
		p.errorf(e.Range(), "Not a reference", "A schedule is written without quotes: %s.", text)
	default:
		p.errorf(e.Range(), "Finds nobody", "%q is neither an address nor a user. %s", text, suggest(text, users))
	}
}

// scheduled are the schedules that routes read.
func (p *parser) scheduled() expr.Env {
	fields := map[string]*expr.Shape{}
	for _, name := range p.namesOf("schedule") {
		fields[name] = listOfTexts("Who is on call now.")
	}
	return expr.Env{Roots: map[string]*expr.Shape{"schedule": object("Who is on call.", fields)}}
}

// readSchedule notes that an expression reads a schedule.
func (p *parser) readSchedule(traversal hcl.Traversal, at place) bool {
	if at != inRoute {
		p.errorf(traversal.SourceRange(), "Not available here", "Who is on call can be read in routes: write to = [%s] in a route.", traversal.RootName()+".NAME")
		return false
	}
	if len(traversal) < 2 {
		p.errorf(traversal.SourceRange(), "Not a value", "Write schedule.NAME; all of them together cannot be read.")
		return false
	}
	name, where := stepName(traversal[1])
	if s := p.named["schedule."+name]; s != nil {
		s.used = true
		return true
	}
	if !p.missing["schedule."+name] {
		p.errorf(where, "Unknown schedule", "There is no schedule %q. %s", name, orDeclare(name, p.namesOf("schedule"), `schedule "NAME" { ical = "oncall.ics" }`))
	}
	return false
}

func (p *parser) escalate(s *section) (plan.Escalate, bool) {
	e := plan.Escalate{To: p.finding(s)}
	if len(s.block.LabelRanges) != 1 {
		return e, false // which has been complained about
	}
	after, err := sdk.ParseDuration(s.name())
	if err != nil || after <= 0 || after > plan.NotByTime/2 {
		p.errorf(s.block.LabelRanges[0], "Not a time", "%q is no time after which somebody is asked as well: write escalate \"10m\" { to = … }.", s.name())
		return e, false
	}
	e.After = after
	return e, e.To != nil
}

func (p *parser) digest(s *section) *plan.Digest {
	d := &plan.Digest{Below: p.below(s), Every: s.duration("every", 0)}
	if s.has("every") && (d.Every <= 0 || d.Every > maxDigest) {
		p.errorf(s.place("every"), "Out of range", "Write how long it is gathered, such as \"24h\", and at most \"31d\".")
	}
	return d
}

const maxDigest = 31 * 24 * time.Hour

func (p *parser) below(s *section) model.Hundredths {
	n, ok := s.values["below"].Fixed(2)
	if s.has("below") && ok && (n <= 0 || n > 100_00) {
		p.errorf(s.place("below"), "Out of range", "A score is from 0 to 100, and nothing is below 0: write below = 60, or remove the block.")
	}
	return model.Hundredths(n)
}

// quietHours reads quiet hours, which must not overlap: what is in both has two ends.
func (p *parser) quietHours(blocks []*section) (all []plan.Quiet) {
	for _, s := range blocks {
		q := plan.Quiet{Below: p.below(s)}
		var ok [3]bool
		q.From, ok[0] = p.clock(s, "from")
		q.To, ok[1] = p.clock(s, "to")
		q.Zone, ok[2] = p.zone(s)
		if !ok[0] || !ok[1] || !ok[2] {
			continue
		}
		if q.From == q.To {
			p.errorf(s.place("to"), "Without end", "These hours would be all day. For what may always wait there is digest { below = …, every = \"24h\" }.")
			continue
		}
		for _, other := range all {
			if other.Zone.String() == q.Zone.String() && q.Overlaps(other) {
				p.errorf(s.header(), "Hours overlap", "From %s to %s is quiet already, in another block. Join them, or let one end where the other begins.", clockText(other.From), clockText(other.To))
				break
			}
		}
		all = append(all, q)
	}
	return all
}

var clockForm = regexp.MustCompile(`^([01][0-9]|2[0-3]):([0-5][0-9])$`)

// clock is a time of the day, since midnight.
func (p *parser) clock(s *section, name string) (time.Duration, bool) {
	if !s.has(name) || s.broken {
		return 0, false
	}
	parts := clockForm.FindStringSubmatch(s.text(name, ""))
	if parts == nil {
		p.errorf(s.place(name), "Not a time", "Write it as \"22:00\", from \"00:00\" to \"23:59\".")
		return 0, false
	}
	hours, _ := strconv.Atoi(parts[1])
	minutes, _ := strconv.Atoi(parts[2])
	return time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute, true
}

func clockText(d time.Duration) string { return time.Time{}.Add(d).Format("15:04") }

// zone is the attribute "timezone", or else UTC.
func (p *parser) zone(s *section) (*time.Location, bool) {
	z, err := zone.Load(s.text("timezone", "UTC"))
	if err != nil {
		p.errorf(s.place("timezone"), "Unknown time zone", "Write a name of the IANA list, such as \"UTC\" or \"Europe/Berlin\".")
	}
	return z, err == nil
}

package config

import (
	"net/mail"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/plan"
	"github.com/kelpie-sec/kelpie/sdk"
)

// longestWait bounds how long people are waited for.
const longestWait = 30 * 24 * time.Hour

// maxOptions bounds the options of a step.
const maxOptions = 20

// question reads what a step asks people.
func (p *parser) question(s *section, out *plan.Step, verb *model.Verb, response string, names []string) {
	out.AskSubject = s.flag("ask_subject", false)
	options := s.of("option")
	for _, o := range options {
		out.Options = append(out.Options, p.option(o, s.name(), response, names))
	}
	if !s.has("wait") {
		switch {
		case len(options) > 0:
			p.errorf(options[0].header(), "Without wait", "People choose while the step waits for them: write wait = \"20m\" in %s, or remove its options.", s.title())
		case s.has("ask_subject"):
			p.errorf(s.place("ask_subject"), "Without wait", "This step asks nothing: write wait = \"20m\" and an option, or remove the line.")
		}
		return
	}
	if out.Wait = s.duration("wait", 0); (out.Wait <= 0 || out.Wait > longestWait) && !s.broken {
		p.errorf(s.place("wait"), "Out of range", "Write how long it waits for an answer, such as \"20m\", at most \"30d\".")
	}
	if len(options) > maxOptions {
		p.errorf(s.header(), "Too many options", "A step has at most %d options.", maxOptions)
	}
	switch {
	case len(options) == 0:
		p.errorf(s.place("wait"), "Without options", "Nobody could answer. Write what people may choose: option \"ignore\" {}, or option \"contain\" { run = [step.NAME] }.")
	case verb == nil || s.broken:
	case verb.Name != respondNotify:
		p.errorf(s.place("wait"), "Asks nobody", "%q asks nobody, so there is no answer to wait for. Write do = action.NAME.notify, or remove the line.", verb.Name)
	case !out.Notice:
		p.errorf(s.place("wait"), "Cannot ask", "%s cannot show a question: its notify takes no \"notice\". Use an action that does, such as that of the plugin email.", p.shown(out.Action))
	}
}

// respondNotify is the verb by which people are asked.
const respondNotify = "notify"

// ignoreReasons are those of the option "ignore".
func ignoreReasons() []string {
	return []string{model.ReasonExpected, model.ReasonTest, model.ReasonFalseAlarm, model.ReasonDuplicate}
}

// option reads what a person may choose.
func (p *parser) option(s *section, step, response string, names []string) model.Option {
	out := model.Option{
		Name: s.name(), Summary: s.text("summary", ""), NeedsReason: s.flag("needs_reason", false), Reasons: s.texts("reasons"),
	}
	for _, run := range p.stepsIn(s.expr("run"), response, names) {
		if run.name == step {
			p.errorf(run.at, "Runs itself", "An option of step.%s cannot run the step that asks.", step)
			continue
		}
		out.Run = append(out.Run, run.name)
	}
	switch out.Name {
	case model.OptionApprove, model.OptionRefuse:
		p.errorf(s.header(), "Not an option", "%q is what is said of an approval. Give the option another name.", out.Name)
	case model.OptionEscalate, model.OptionNotMine:
		if s.has("run") {
			p.errorf(s.place("run"), "Without effect", "%q asks somebody else, and the step goes on waiting: it runs nothing. Remove the line.", out.Name)
		}
	case model.OptionIgnore:
		if s.has("reasons") {
			p.errorf(s.place("reasons"), "Fixed reasons", "The reasons of \"ignore\" are %s. Remove the line.", strings.Join(ignoreReasons(), ", "))
		}
		if s.has("needs_reason") && !out.NeedsReason {
			p.errorf(s.place("needs_reason"), "Needs a reason", "What is ignored is ignored for a reason, since an ignore is proposed by it. Write true, or remove the line.")
		}
		out.NeedsReason, out.Reasons = true, ignoreReasons()
	default:
		if s.has("run") && len(out.Run) == 0 && emptyList(s.expr("run")) {
			p.errorf(s.place("run"), "Without effect", "Name a step: run = [step.NAME], or remove the line.")
		}
	}
	if len(out.Reasons) > 0 {
		out.NeedsReason = true
	}
	return out
}

// approval reads who has to agree to a step.
func (p *parser) approval(s *section, out *plan.Step, verb *model.Verb, env expr.Env) {
	a := s.one("approval")
	if a == nil {
		return
	}
	ap := &plan.Approval{
		People: a.integer("people", 1), Role: a.text("role", ""), Wait: a.duration("wait", 0),
		Otherwise: a.text("otherwise", model.OptionRefuse), AskSubject: a.flag("ask_subject", false),
	}
	if a.has("from") {
		ap.Route, ap.To = p.people(a, "from", env)
	}
	if via := a.expr("via"); via != nil {
		ap.Via = p.via(via)
	}
	if a.broken {
		return
	}
	if s.has("wait") {
		p.errorf(a.header(), "Asks twice", "A step that asks people is not approved itself. Write the approval in the step that the option runs.")
	}
	if ap.Wait <= 0 || ap.Wait > longestWait {
		p.errorf(a.place("wait"), "Out of range", "Write how long it waits for an approval, such as \"30m\", at most \"30d\".")
	}
	p.approvers(a, ap)
	contains := verb != nil && contains(verb.Name)
	switch because := strings.TrimSpace(a.text("because", "")); {
	case ap.Otherwise == model.OptionApprove && contains && because == "":
		p.errorf(a.place("otherwise"), "Needs a because", "%q would be done without anybody's answer. Say in the approval why that is right: because = \"…\", or write otherwise = \"refuse\".", verb.Name)
	case ap.Otherwise != model.OptionApprove && a.has("because"):
		p.errorf(a.place("because"), "Without effect", "It says why otherwise = \"approve\" is right, which is not written here. Remove the line.")
	}
	out.Approval = ap
}

// approvers complains about approvals that nobody can give.
func (p *parser) approvers(a *section, ap *plan.Approval) {
	from := a.expr("from")
	named, all := literalTexts(from)
	if all && len(named) == 0 {
		p.errorf(from.Range(), "Approved by nobody", "Name who is asked: from = route.NAME, or from = [\"somebody@example.org\"].")
		return
	}
	if ap.People < 1 || ap.People > 10 {
		p.errorf(a.place("people"), "Out of range", "Write 1 to 10: how many different people have to agree.")
		return
	}
	if !all {
		return
	}
	people := map[string]bool{}
	for _, who := range named {
		if reading := p.readers(who); len(reading) == 1 {
			who = reading[0]
		}
		people[who] = true
	}
	if len(people) < ap.People {
		p.errorf(a.place("people"), "Too few people", "%d different people have to agree, and \"from\" names %d, so it could never be approved. Name more, or a route.", ap.People, len(people))
	}
	if ap.Role == "" {
		return
	}
	for i, who := range named {
		if !slices.ContainsFunc(p.readers(who), func(name string) bool { return p.config.Decide.Plan.User(name).Has(ap.Role) }) {
			at := from.Range()
			if list := items(from); i < len(list) {
				at = list[i].Range()
			}
			p.errorf(at, "Without the role", "%q is no user with the role %q, so that nobody could approve by it. Write user \"NAME\" { mail = [\"…\"] roles = [%q] }.", who, ap.Role, ap.Role)
		}
	}
}

// readers are the names of the users that somebody is, by a name or a mailbox.
func (p *parser) readers(who string) []string {
	var all []string
	for _, u := range p.config.Decide.Plan.Users {
		if u.Name == who || slices.ContainsFunc(u.Mail, func(m string) bool { return strings.EqualFold(m, who) }) {
			all = append(all, u.Name)
		}
	}
	return all
}

// literalTexts are the texts of a list, or of one; all tells whether it is nothing else.
func literalTexts(e hclsyntax.Expression) (texts []string, all bool) {
	list := items(e)
	if _, is := e.(*hclsyntax.TupleConsExpr); !is {
		list = []hclsyntax.Expression{e}
	}
	for _, item := range list {
		text, ok := literalText(item)
		if !ok {
			return nil, false
		}
		texts = append(texts, text)
	}
	return texts, true
}

// via is the action by which people are asked to approve.
func (p *parser) via(e hclsyntax.Expression) string {
	target := p.reference(e, "action")
	if target == nil || target.broken {
		return ""
	}
	i := p.instanceAt(target)
	if i == nil {
		p.errorf(e.Range(), "Disabled action", "%s has enabled = false, so nobody could be asked by it. Enable it, or name another.", target.address())
		return ""
	}
	if i.assumed {
		return p.identity(target)
	}
	at := slices.IndexFunc(i.connector.Verbs, func(v model.Verb) bool { return v.Name == respondNotify })
	if at < 0 {
		p.errorf(e.Range(), "Cannot notify", "%s does not offer \"notify\", so nobody could be asked by it. Name an action that does.", target.address())
		return ""
	}
	notice := false
	for _, a := range i.connector.Verbs[at].Parameters.Attributes {
		notice = notice || a.Name == noticeParameter
		if a.Required && a.Name != noticeParameter {
			p.errorf(e.Range(), "Cannot ask", "\"notify\" of %s needs %q, which an approval does not have. Name another action.", target.address(), a.Name)
			return ""
		}
	}
	if !notice {
		p.errorf(e.Range(), "Cannot ask", "%s cannot show a question: its notify takes no \"notice\". Use an action that does, such as that of the plugin email.", target.address())
	}
	return p.identity(target)
}

// users reads the people that Kelpie knows.
func (p *parser) users() []plan.User {
	var all []plan.User
	for _, s := range p.each("user") {
		if s.broken {
			continue
		}
		u := plan.User{Name: s.name(), Team: s.text("team", ""), Mail: s.texts("mail"), Roles: s.texts("roles")}
		if len(u.Mail) == 0 {
			p.errorf(s.place("mail"), "Empty", "Write where %s is reached: mail = [\"%s@example.org\"].", u.Name, u.Name)
		}
		for i, m := range u.Mail {
			if a, err := mail.ParseAddress(m); err != nil || a.Address != m {
				p.errorf(s.item("mail", i), "Not an address", "Write it alone, such as \"%s@example.org\".", u.Name)
			}
		}
		for i, role := range u.Roles {
			if !slices.Contains(plan.Roles(), role) {
				p.errorf(s.item("roles", i), "Unknown role", "There is no role %q. %s", role, suggest(role, plan.Roles()))
			}
		}
		for i, text := range s.texts("accounts") {
			kind, value, _ := strings.Cut(text, ":")
			o, err := sdk.Canonical(kind, value)
			switch {
			case !slices.Contains(accountKinds(), kind):
				p.errorf(s.item("accounts", i), "Not an account", "Write its kind and its name, such as \"user:%s\" or \"account:ACME\\\\%s\".", u.Name, u.Name)
			case err != nil:
				p.errorf(s.item("accounts", i), "Not an account", "%s.", sentence(err.Error()))
			default:
				u.Accounts = append(u.Accounts, o.Key())
			}
		}
		all = append(all, u)
	}
	return all
}

// accountKinds are the kinds of observables that a person can be.
func accountKinds() []string { return []string{sdk.User, sdk.Account, sdk.Email} }

// authors are who wrote the rules, by their addresses.
func (p *parser) authors() map[string]string {
	out := map[string]string{}
	for _, kind := range []string{"pipeline", "rule"} {
		for _, s := range p.each(kind) {
			if about := s.one("about"); about != nil {
				if author := strings.TrimSpace(about.text("author", "")); author != "" {
					out[p.identity(s)] = author
				}
			}
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

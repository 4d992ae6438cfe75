package plan

import (
	"net/mail"
	"slices"
	"strings"

	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/sdk"
)

// Reader tells whether somebody, by an address or the name of a user, is a subject of a
// case or reads a mailbox together with one, so that what they say of it decides nothing.
// Why says it for people. Value is "case" in expressions. In doubt it is so.
func Reader(s *Settings, value expr.Value, who string) (why string, subject bool) {
	return subjectsOf(s, value).reads(who)
}

// subjects are the people that a case is about.
type subjects struct {
	settings *Settings
	// names and boxes say of the name of an account and of a mailbox whose it is.
	names, boxes map[string]string
	// groups are what subjects are in, by name or address.
	groups map[string]string
	// users are those of the settings that are subjects, with why.
	users map[string]string
}

func subjectsOf(s *Settings, value expr.Value) *subjects {
	out := &subjects{
		settings: s,
		names:    map[string]string{}, boxes: map[string]string{}, groups: map[string]string{}, users: map[string]string{},
	}
	for o := range value.Attr("subjects").Items() {
		kind, _ := o.Attr("kind").Str()
		name, _ := o.Attr("value").Str()
		switch kind {
		case sdk.User, sdk.Account, sdk.Email:
			out.is(name, kind+":"+name+" is a subject of the case")
		}
	}
	for identity := range value.Attr("identities").Items() {
		if identity.Attr("subject").Truth() == expr.True {
			out.identity(identity)
		}
	}
	// A user whose account or mailbox is a subject's is that subject, with all that is the
	// user's; of that another user may be one as well.
	for found := true; found; {
		found = false
		for i := range s.Users {
			found = out.user(&s.Users[i]) || found
		}
	}
	return out
}

// is notes that a name, of an account or a mailbox, is a subject's.
func (p *subjects) is(name, why string) {
	if name = strings.TrimSpace(name); name == "" {
		return
	}
	keep(p.names, account(name), why)
	if strings.Contains(name, "@") {
		keep(p.boxes, mailbox(name), why)
	}
}

func (p *subjects) identity(identity expr.Value) {
	about, _ := identity.Attr("about").Str()
	if about == "" {
		about, _ = identity.Attr("name").Str()
	}
	why := about + " is a subject of the case"
	for _, field := range []string{"name", "upn", "mail"} {
		if name, ok := identity.Attr(field).Str(); ok {
			p.is(name, why)
		}
	}
	for group := range identity.Attr("groups").Items() {
		if name, ok := group.Str(); ok && name != "" {
			keep(p.groups, strings.ToLower(name), about+", a subject of the case, is in "+name)
		}
	}
}

// user notes whether a user is a subject; it tells whether that is new.
func (p *subjects) user(u *User) bool {
	if _, known := p.users[u.Name]; known {
		return false
	}
	why := ""
	for _, a := range u.Accounts {
		_, name, _ := strings.Cut(a, ":")
		why = first(why, p.names[account(name)], p.boxes[mailbox(name)])
	}
	for _, box := range u.Mail {
		if p.shared(box) { // it is of several, and says nothing of who they are
			continue
		}
		why = first(why, p.boxes[mailbox(box)], p.names[account(box)])
	}
	if why = first(why, p.names[account(u.Name)]); why == "" {
		return false
	}
	p.users[u.Name] = why
	return true
}

// shared tells whether several users read a mailbox.
func (p *subjects) shared(box string) bool { return len(p.settings.reading(box)) > 1 }

// reading are the users that read a mailbox.
func (s *Settings) reading(address string) []*User {
	var all []*User
	for i := range s.Users {
		u := &s.Users[i]
		if slices.ContainsFunc(u.Mail, func(m string) bool { return mailbox(m) == mailbox(address) }) {
			all = append(all, u)
		}
	}
	return all
}

func (p *subjects) reads(who string) (why string, subject bool) {
	who = strings.TrimSpace(who)
	if why, ok := p.users[who]; ok {
		return who + ": " + why, true
	}
	box := mailbox(who)
	if why := first(p.boxes[box], p.names[account(who)]); why != "" {
		return why, true
	}
	if why := p.groups[strings.ToLower(who)]; why != "" {
		return why, true
	}
	if why := p.groups[box]; why != "" {
		return why, true
	}
	for i := range p.settings.Users {
		u := &p.settings.Users[i]
		why, subject := p.users[u.Name]
		if !subject {
			continue
		}
		for _, m := range u.Mail {
			if mailbox(m) == box {
				return u.Name + " reads it: " + why, true
			}
		}
		if u.Team != "" && strings.Contains(box, "@") && account(box) == account(u.Team) {
			return u.Name + " is of the team " + u.Team + ": " + why, true
		}
	}
	return "", false
}

// mailbox is an address as it is compared: without a name, in lower case, and without
// what stands behind a "+", which leads to the same mailbox.
func mailbox(address string) string {
	address = strings.TrimSpace(address)
	if a, err := mail.ParseAddress(address); err == nil {
		address = a.Address
	}
	address = strings.ToLower(strings.TrimPrefix(strings.ToLower(address), "mailto:"))
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return address
	}
	local, domain := strings.Trim(address[:at], `"`), strings.TrimSuffix(address[at+1:], ".")
	if n := strings.IndexByte(local, '+'); n > 0 {
		local = local[:n]
	}
	// A domain has several forms, of which canonical values have one.
	if c, err := sdk.Canonical(sdk.Domain, domain); err == nil {
		domain = c.Value
	}
	return local + "@" + domain
}

// account is the name of an account without its domain, in lower case: one person has
// the same in "ACME\kim", "kim@example.org" and "kim".
func account(name string) string {
	name = mailbox(name)
	if at := strings.LastIndexByte(name, '\\'); at >= 0 {
		name = name[at+1:]
	}
	if at := strings.LastIndexByte(name, '@'); at > 0 {
		name = name[:at]
	}
	return name
}

func keep(in map[string]string, key, why string) {
	if _, known := in[key]; !known && key != "" {
		in[key] = why
	}
}

// first is the first text that is not empty.
func first(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

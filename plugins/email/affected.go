package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

// affected are the machines and people with what is known of them, beside the state
// that they are in, and then the subjects of which nothing more is known.
func affected(n *sdk.Notice, now time.Time, ours string) section {
	s := section{Title: "Who and what is affected", More: n.LeftOut["assets"] + n.LeftOut["identities"] + n.LeftOut["subjects"]}
	named := map[string]bool{}
	for i, a := range n.Assets {
		for _, name := range slices.Concat([]string{a.Name, a.FQDN}, a.IPs, a.MACs) {
			named[strings.ToLower(name)] = true
		}
		if i < maxPeople {
			s.Rows = append(s.Rows, machine(a, now, ours))
		}
	}
	for i, who := range n.Identities {
		for _, name := range []string{who.Name, who.UPN, who.Mail} {
			named[strings.ToLower(name)] = true
		}
		if i < maxPeople {
			s.Rows = append(s.Rows, account(who, now, ours))
		}
	}
	s.More += max(0, len(n.Assets)-maxPeople) + max(0, len(n.Identities)-maxPeople)
	for _, o := range n.Subjects {
		if !named[strings.ToLower(o.Value)] {
			s.Rows = append(s.Rows, row{Mark: line(o.Kind, 12), Main: shorten(harmless(o), maxShown), Detail: short(o.Note)})
		}
	}
	return s
}

func machine(a sdk.NoticeAsset, now time.Time, ours string) row {
	r := row{Mark: "machine", Strong: true, Main: first(name(a.Name, ours), name(a.FQDN, ours), addresses(a.IPs), "unnamed")}
	r.Facts = some(
		fact{"Owner", name(a.Owner, ours), ""}, fact{"Team", short(a.Team), ""}, fact{"Criticality", rating(a.Criticality), ""},
		fact{"Roles", short(strings.Join(a.Roles, ", ")), ""}, fact{"Name", name(a.FQDN, ours), ""}, fact{"Addresses", addresses(a.IPs), ""},
		fact{"MAC", short(strings.Join(a.MACs, ", ")), ""}, fact{"System", short(a.OS), ""}, fact{"Tags", short(strings.Join(a.Tags, ", ")), ""},
	)
	r.State = []fact{
		patches(a.Missing), protection(a.Protection), yesNo("Managed", a.Managed, "yes", "no", "good", "bad"), since("Last seen", a.SeenAt, now),
	}
	return r
}

func account(i sdk.NoticeIdentity, now time.Time, ours string) row {
	mail := i.Mail
	if strings.EqualFold(i.Mail, i.UPN) {
		mail = ""
	}
	r := row{Mark: "account", Strong: true, Main: first(name(i.Name, ours), name(i.UPN, ours), name(i.Mail, ours), "unnamed")}
	r.Facts = some(
		fact{"Signs in as", name(i.UPN, ours), ""}, fact{"Mail", name(mail, ours), ""}, fact{"Title", short(i.Title), ""},
		fact{"Department", short(i.Department), ""}, fact{"Manager", name(i.Manager, ours), ""},
	)
	state := fact{"State", short(i.State), ""}
	if state.Value == "" {
		state = unknownFact("State")
	}
	r.State = []fact{
		state, yesNo("Privileged", i.Privileged, "yes", "no", "bad", ""), since("Last log-on", i.LastLogon, now), since("Password set", i.PasswordSet, now),
	}
	return r
}

// some are the facts that have a value.
func some(facts ...fact) []fact {
	return slices.DeleteFunc(facts, func(f fact) bool { return f.Value == "" })
}

func unknownFact(name string) fact { return fact{name, "not known", "open"} }

func rating(criticality *int) string {
	if criticality == nil {
		return "not rated"
	}
	return fmt.Sprintf("%d of 100", *criticality)
}

func yesNo(name string, is *bool, yes, no, yesTone, noTone string) fact {
	switch {
	case is == nil:
		return unknownFact(name)
	case *is:
		return fact{name, yes, yesTone}
	}
	return fact{name, no, noTone}
}

func since(name string, at, now time.Time) fact {
	if at.IsZero() {
		return unknownFact(name)
	}
	if now.Sub(at) < 0 {
		return fact{name, clock(at), ""}
	}
	return fact{name, ago(now, at) + " (" + at.UTC().Format("2006-01-02 15:04") + ")", ""}
}

// patches that are missing, the gravest first.
func patches(missing map[string]int) fact {
	const label = "Patches"
	if missing == nil {
		return unknownFact(label)
	}
	order := []string{"critical", "high", "important", "medium", "moderate", "low"}
	rank := func(severity string) int {
		if at := slices.Index(order, strings.ToLower(severity)); at >= 0 {
			return at
		}
		return len(order)
	}
	var severities []string
	for severity, count := range missing {
		if count > 0 {
			severities = append(severities, severity)
		}
	}
	if len(severities) == 0 {
		return fact{label, "none missing", "good"}
	}
	slices.SortFunc(severities, func(a, b string) int {
		if d := rank(a) - rank(b); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	tone := "open"
	if rank(severities[0]) <= 2 {
		tone = "bad"
	}
	shown := make([]string, 0, len(severities))
	for _, severity := range severities[:min(len(severities), len(order))] {
		shown = append(shown, fmt.Sprintf("%d %s", missing[severity], line(text(severity), 30)))
	}
	return fact{label, "missing: " + strings.Join(shown, ", "), tone}
}

// protection of a machine, as far as it is known.
func protection(has map[string]*bool) fact {
	const label = "Protection"
	words := [...][3]string{{"installed", "installed", "not installed"}, {"running", "running", "not running"}, {"current", "up to date", "out of date"}}
	var shown []string
	tone := "good"
	for _, w := range words {
		switch is := has[w[0]]; {
		case is == nil:
			if tone == "good" {
				tone = "open"
			}
		case *is:
			shown = append(shown, w[1])
		default:
			shown, tone = append(shown, w[2]), "bad"
		}
	}
	if len(shown) == 0 {
		return unknownFact(label)
	}
	if tone == "open" {
		shown = append(shown, "the rest is not known")
	}
	return fact{label, strings.Join(shown, ", "), tone}
}

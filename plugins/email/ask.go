package main

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

// ask is what the reader is asked to do, and how.
type ask struct {
	Text     string
	Time     string // how long there is for it
	Options  []option
	Previews []row
	More     int    // previews that are not shown
	Answer   string // link of the page, where the options have none
	Command  string // how to answer where there is no link
	Linked   bool   // there is a link
}

// option is a button, or a word to answer with.
type option struct {
	Name    string // as it is written in a command
	Label   string // for people
	Summary string
	Reason  string // what is said about a reason
	Link    string
	Command string // where there is no link
	Quiet   bool   // it does nothing to the target
}

func newAsk(n *sdk.Notice, now time.Time) *ask {
	if n.Asked == "" && len(n.Options) == 0 {
		return nil
	}
	a := &ask{Text: text(n.Asked), Time: allowed(n, now)}
	if a.Text == "" {
		a.Text = "Please choose what is to be done."
	}
	for _, o := range n.Options {
		a.Options = append(a.Options, newOption(n, o))
		a.Linked = a.Linked || link(o.Link) != ""
	}
	if !a.Linked {
		a.Answer = link(n.Answer)
		a.Linked = a.Answer != ""
	}
	if a.Linked && len(n.Options) > 0 && isName(n.Question) {
		a.Command = "kelpie answer " + n.Question + " OPTION"
	}
	for _, preview := range n.Previews {
		a.Previews = append(a.Previews, row{
			Mark: wouldBe(preview.State), Main: short(strings.ReplaceAll(preview.Verb, "_", " ") + " " + preview.Target), Detail: short(preview.Message), Tone: tone(preview.State),
		})
	}
	a.More = n.LeftOut["previews"]
	if over := len(a.Previews) - maxRows; over > 0 {
		a.Previews, a.More = a.Previews[:maxRows], a.More+over
	}
	return a
}

// wouldBe is what a dry run came to.
func wouldBe(state string) string {
	switch state {
	case "done":
		return "would work"
	case "already":
		return "is so"
	}
	return line(state, 12)
}

func newOption(n *sdk.Notice, o sdk.NoticeOption) option {
	out := option{Name: short(o.Name), Summary: short(o.Summary), Link: link(o.Link)}
	out.Label = label(out.Name)
	switch o.Name {
	case "ignore", "not_mine", "escalate", "refuse":
		out.Quiet = true
	}
	command := "kelpie answer " + n.Question + " " + o.Name
	if o.NeedsReason {
		out.Reason = "needs a reason"
		command += ` --because "…"`
		if len(o.Reasons) > 0 {
			out.Reason += ": " + short(strings.Join(o.Reasons, ", "))
		}
	}
	// A command is for copying into a shell.
	if out.Link == "" && link(n.Answer) == "" && isName(n.Question) && isName(o.Name) {
		out.Command = command
	}
	return out
}

// allowed is how long there is for an answer.
func allowed(n *sdk.Notice, now time.Time) string {
	until := ""
	if !n.Until.IsZero() && n.Until.After(now) {
		until = "until " + clock(n.Until)
	}
	switch wait := time.Duration(min(max(n.Wait, 0), 366*24*3600)) * time.Second; {
	case wait == 0 && until == "":
		return ""
	case wait == 0:
		return "There is time " + until + " (" + lasting(n.Until.Sub(now)) + ")."
	case until == "":
		return fmt.Sprintf("There is time for %s from when this mail was delivered.", lasting(wait))
	default:
		return fmt.Sprintf("There is time for %s from when this mail was delivered, %s.", lasting(wait), until)
	}
}

// label writes a name for people: "not_mine" is "Not mine".
func label(name string) string {
	name = strings.ReplaceAll(name, "_", " ")
	if name != "" && name[0] >= 'a' && name[0] <= 'z' {
		name = strings.ToUpper(name[:1]) + name[1:]
	}
	return name
}

// link takes the addresses that the core gives; anything odd is none.
func link(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.Opaque != "" {
		return ""
	}
	if strings.Trim(strings.ToLower(u.Host), "abcdefghijklmnopqrstuvwxyz0123456789-.:[]") != "" {
		return "" // a name that may look like another
	}
	if address = u.String(); strings.ContainsAny(address, "<>\"'`\\ ()") || !isPlain(address) {
		return ""
	}
	return address
}

// isName tells what stands for itself in a shell.
func isName(s string) bool {
	return s != "" && len(s) <= 100 && s[0] != '-' && strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789_-") == ""
}

package storytest_test

import (
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/core/faulttest/contain/world"
)

// held is how long a computer is kept off the network in the story.
const held = 4 * time.Second

const configuration = `kelpie {
  plugin_dir = "plugins"
  actions    = "on"
  listen     = "%s"

  organisation {
    networks = ["10.0.0.0/8"]
    domains  = ["example.org"]
  }
}

user "kim" {
  mail  = ["kim@example.org"]
  roles = ["responder"]
  team  = "netsec"
}

user "lee" {
  mail  = ["lee@example.org"]
  roles = ["engineer"]
}

detector "file" "feed" {
  path = "../feed.json"
}

pipeline "alerts" {
  from    = [detector.feed]
  alerts  = true
  respond = [response.ask_then_isolate]

  map {
    title      = event.raw.what
    time       = event.raw.time
    severity   = event.raw.severity
    subjects   = { host = event.raw.host, user = event.raw.user }
    indicators = { ip = event.raw.from }
  }
}

enrichment "table" "assets" {
  internal = true
  path     = "assets.csv"
  takes    = ["host"]
}

score {
  preset = "balanced"
}

response "ask_then_isolate" {
  when = case.score.total >= 60

  step "ask" {
    do   = action.mail.notify
    to   = route.system_owner
    wait = "20m"

    option "ignore" {
      needs_reason = true
    }
    option "contain" {
      summary = "Take the computer off the network"
      run     = [step.isolate]
    }
  }

  step "isolate" {
    when       = step.ask.result == "timed_out"
    do         = action.edr.isolate_host
    targets    = case.hosts
    undo_after = "%s"
  }
}

route "system_owner" {
  to        = [case.assets.owner]
  otherwise = "lee@example.org"
  gather    = "0s"
}

action "email" "mail" {
  server = "smtp://%s"
  from   = "Kelpie <kelpie@example.org>"
}

action "contain" "edr" {
  world = "world"
}
`

// alert is the same each time, but for when it was.
func (p program) alert(t *testing.T) {
	t.Helper()
	line, err := json.Marshal(map[string]any{
		"time": time.Now().UTC(), "what": "Malware was started", "severity": 80,
		"host": "ws-17", "user": "pat", "from": "203.0.113.7",
	})
	must(t, err)
	p.write(t, "feed.json", string(line)+"\n")
}

func TestStory(t *testing.T) {
	if testing.Short() {
		t.Skip("runs real mail servers")
	}
	mails := startServers(t)
	p := build(t, raceFlags...)
	page := freeAddress(t)
	p.write(t, "conf/main.hcl", fmt.Sprintf(configuration, page, held, mails.SMTP))
	p.write(t, "conf/assets.csv", "host,name,owner,criticality\nws-17,ws-17,kim@example.org,60\n")
	p.write(t, "feed.json", "")
	p.does(t, "plugin", "lock")
	p.does(t, "validate")
	p.start(t)

	// An alert comes, and who owns the computer has a mail about it, with both parts.
	p.alert(t)
	first := mails.wait(t, "kim", 1)
	if !strings.Contains(first.subject, "Malware was started") {
		t.Errorf("the subject is %q", first.subject)
	}
	for part, text := range map[string]string{"text": first.plain, "HTML": first.html} {
		for _, want := range []string{"Malware was started", "ws-17", "pat", "Take the computer off the network", "http://" + page + "/a/"} {
			if !strings.Contains(html.UnescapeString(text), want) {
				t.Errorf("the mail's %s does not say %q:\n%s", part, want, text)
			}
		}
	}
	id := p.says(t, `^(q-\w+)\s+(c-\w+).*open until`, "question", "list")
	question, cas := id[1], id[2]

	// Looking at its link, however often, changes nothing; the form decides, and once.
	link := first.link(t, "contain")
	for range 3 {
		if status, body := get(t, link); status != http.StatusOK || !strings.Contains(body, "Take the computer off the network") {
			t.Fatalf("the page is %d:\n%s", status, body)
		}
	}
	p.says(t, `^Nothing is held`, "held")
	p.says(t, `open until`, "question", "show", question)
	if status, body := post(t, link, url.Values{"note": {"that is not us"}}); status != http.StatusOK {
		t.Fatalf("the answer is %d:\n%s", status, body)
	}
	if status, _ := post(t, link, nil); status != http.StatusConflict {
		t.Errorf("a second answer is %d", status)
	}

	// It is done, held, and undone in time.
	p.says(t, `^ws-17 .*(in force|releasing|released).*`+cas, "held", "--all")
	p.says(t, `^ws-17 .*released.*its time of `+held.String()+` is over`, "held", "--all")
	p.says(t, `^Nothing is held`, "held")
	on, off := p.effect(t, world.Execute), p.effect(t, world.Undo)
	if took := off - on; took < held || took > held+10*time.Second {
		t.Errorf("it was held for %s, not %s", took, held)
	}
	shown := p.does(t, "question", "show", question)
	if !regexp.MustCompile(`(?s)chosen\s+contain\s+by\s+kim\s+at\s+kim@example.org,\s+by\s+link,.*that\s+is\s+not\s+us`).MatchString(shown) {
		t.Errorf("the question does not say who answered, and how:\n%s", shown)
	}

	// What it turned out to be is said, and who answered is asked no more.
	p.does(t, "case", "end", cas, "benign", "--by", "kim", "--notes", "a drill that nobody had announced", "--minutes", "25")
	p.says(t, `state +closed`, "case", "show", cas)

	// The same comes again: the case goes on, and its owner says that it is expected now.
	p.alert(t)
	second := mails.wait(t, "kim", 2)
	if references := second.Get("References") + second.Get("In-Reply-To"); !strings.Contains(references, strings.Trim(first.Get("Message-ID"), "<>")) &&
		second.Get("References") != first.Get("References") {
		t.Errorf("the second mail is not in the first's thread: %q, after %q", references, first.Get("Message-ID"))
	}
	ignore := second.link(t, "ignore")
	if status, body := post(t, ignore, nil); status != http.StatusUnprocessableEntity {
		t.Errorf("an ignore without a reason is %d:\n%s", status, body)
	}
	if status, body := post(t, ignore, url.Values{"reason": {"expected"}, "note": {"we rehearse"}}); status != http.StatusOK {
		t.Fatalf("the answer is %d:\n%s", status, body)
	}
	p.says(t, `benign`, "explain", cas)
	p.says(t, `state +closed`, "case", "show", cas)
	p.says(t, `^pipeline.alerts`, "rule", "outcomes")

	// That proposes an ignore. An engineer looks at it and accepts it, and it is in force.
	proposed := p.says(t, `^(p-\w+)\s+`+cas[:10]+`.*to ignore its like, by kim`, "proposal", "list")[1]
	p.says(t, `would have ignored 2 reported events.*ignore "[^"]+".*event\.raw\.host == "ws-17"`, "proposal", "show", proposed)
	p.does(t, "proposal", "accept", proposed, "--by", "lee", "--expires", "14d", "--because", "the rehearsals go on")
	p.says(t, `^No proposals`, "proposal", "list")
	p.does(t, "validate")

	// The same alert again is counted, and nobody hears of it.
	p.alert(t)
	p.says(t, `^ detector\.feed +3 +2 +0 +1 +0 +0 +0$`, "ledger")
	p.says(t, `^IGNORED\n +1 +detector\.feed +ignore\.`, "ledger")
	p.says(t, `state +closed`, "case", "show", cas)
	p.says(t, `^Nothing waits for an answer`, "question", "list")
	p.says(t, `^Nothing is held`, "held")

	// Nothing was done twice, all that was decided is in the audit, and every event counted.
	audit := p.does(t, "audit", "list")
	for _, want := range []string{`contain is chosen of\s+ask_then_isolate.ask`, `ignore is chosen of\s+ask_then_isolate.ask`, `has ended as`} {
		if !regexp.MustCompile(want).MatchString(audit) {
			t.Errorf("the audit does not say %s:\n%s", want, audit)
		}
	}
	p.does(t, "audit", "verify")
	p.says(t, `It adds up`, "ledger")
	if all := mails.mailbox(t, "kim"); len(all) != 2 {
		t.Errorf("kim has %d mails", len(all))
	}
	if all := mails.mailbox(t, "lee"); len(all) != 0 {
		t.Errorf("lee, who was not to be told, has %d mails", len(all))
	}
}

// wait gives the n-th mail of somebody.
func (s servers) wait(t *testing.T, name string, n int) letter {
	t.Helper()
	var all []letter
	until(t, fmt.Sprintf("%s has %d mails", name, n), func() bool {
		all = s.mailbox(t, name)
		return len(all) >= n
	})
	return all[n-1]
}

// link gives an option's link of a mail, as it is in both parts.
func (l letter) link(t *testing.T, option string) string {
	t.Helper()
	links := regexp.MustCompile(`http://[^\s"]+/a/[^\s"]+`)
	of := func(text string) string {
		for _, link := range links.FindAllString(html.UnescapeString(text), -1) {
			u, err := url.Parse(link)
			must(t, err)
			if u.Query().Get("option") == option || u.Fragment == option {
				return link
			}
		}
		t.Fatalf("there is no link for %s in\n%s", option, text)
		return ""
	}
	plain, rich := of(l.plain), of(l.html)
	if plain != rich {
		t.Errorf("the text links to %s, the HTML to %s", plain, rich)
	}
	return plain
}

// get looks at a page as a browser does.
func get(t *testing.T, link string) (int, string) {
	t.Helper()
	return body(t)(http.Get(link))
}

var (
	input    = regexp.MustCompile(`<input type="(hidden|radio)" name="(\w+)" value="([^"]*)"[^>]*>`)
	reasons  = regexp.MustCompile(`(?s)<select name="([\w-]+)".*?</select>`)
	eachCase = regexp.MustCompile(`<option value="(\w+)"[^>]*>([^<]*)</option>`)
)

// post sends the form of a page as it comes, with the option that its link has checked.
func post(t *testing.T, link string, more url.Values) (int, string) {
	t.Helper()
	_, page := get(t, link)
	fields := url.Values{}
	for _, in := range input.FindAllStringSubmatch(page, -1) {
		if in[1] == "hidden" || strings.Contains(in[0], " checked") {
			fields.Set(in[2], in[3])
		}
	}
	if reason := more.Get("reason"); reason != "" {
		for _, s := range reasons.FindAllStringSubmatch(page, -1) {
			for _, o := range eachCase.FindAllStringSubmatch(s[0], -1) {
				if s[1] == "reason-"+fields.Get("option") && strings.Contains(strings.ToLower(o[2]), reason) {
					fields.Set(s[1], o[1])
				}
			}
		}
	}
	fields.Set("note", more.Get("note"))
	return body(t)(http.PostForm(link, fields))
}

func body(t *testing.T) func(*http.Response, error) (int, string) {
	t.Helper()
	return func(r *http.Response, err error) (int, string) {
		must(t, err)
		defer r.Body.Close()
		text, err := io.ReadAll(r.Body)
		must(t, err)
		return r.StatusCode, string(text)
	}
}

// effect gives when the one call of its kind took effect.
func (p program) effect(t *testing.T, op world.Op) time.Duration {
	t.Helper()
	s, err := world.World{Path: p.dir + "/conf/world"}.Read()
	must(t, err)
	at, n := time.Duration(0), 0
	for _, e := range s.Entries {
		if e.What == world.Effect && e.Op == op && e.Target == "ws-17" {
			at, n = e.At, n+1
		}
	}
	if n != 1 {
		t.Fatalf("%s took effect %d times", op, n)
	}
	return at
}

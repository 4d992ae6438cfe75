package engine

import (
	"fmt"
	"io"
	"log/slog"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/core/link"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/store"
	"github.com/kelpie-sec/kelpie/core/web"
)

// asking is a configuration that asks by mail about each case; STEPS is what it asks.
const asking = `
kelpie {
  actions = "on"
  listen  = "LISTEN"

  limit "isolate_host" {
    per_hour = 5000
  }
}

detector "file" "feed" {
  path     = "feed.json"
  interval = "10ms"
}

pipeline "alerts" {
  from    = [detector.feed]
  alerts  = true
  respond = [response.fence]

  map {
    title    = event.raw.what
    time     = event.raw.time
    severity = 90
    subjects = { host = event.raw.host, user = event.raw.user }
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

response "fence" {
  when = case.score.total >= 10
STEPS
}

route "owner" {
  to        = [case.assets.owner]
  otherwise = "soc@example.org"
}

action "email" "mail" {
  server = "smtp://MAIL"
  from   = "kelpie@example.org"
}

action "contain" "edr" {
  world = "world"
}
`

// The two ways to be asked whether a computer is isolated.
const (
	question = `
  step "ask" {
    do   = action.mail.notify
    to   = route.owner
    wait = "8h"

    option "contain" {
      run = [step.isolate]
    }
    option "leave" {}
  }

  step "isolate" {
    do         = action.edr.isolate_host
    targets    = case.hosts
    undo_after = "4h"
  }`
	approval = `
  step "isolate" {
    do         = action.edr.isolate_host
    targets    = case.hosts
    undo_after = "4h"

    approval {
      from = route.owner
      via  = action.mail
      wait = "8h"
    }
  }`
)

// newAsking is a world in which kim owns so many computers, each of which has an alert.
func newAsking(t *testing.T, steps, server string, computers int) *world {
	t.Helper()
	w := newWorld(t, strings.NewReplacer("LISTEN", free(t), "MAIL", server, "STEPS", steps).Replace(asking))
	feed, assets := &strings.Builder{}, &strings.Builder{}
	assets.WriteString("host,name,owner\n")
	for i := range computers {
		fmt.Fprintf(assets, "ws-%d,ws-%d,kim@example.org\n", i, i)
		fmt.Fprintf(feed, `{"time":"2026-11-01T10:00:00Z","what":"alert %d","host":"ws-%d","user":"u%d"}`+"\n", i, i, i)
	}
	w.write("assets.csv", assets.String())
	w.write("feed.json", feed.String())
	return w
}

// texts are a mail's parts of text, plain and HTML, as its reader's program has them.
func texts(t *testing.T, raw string) string {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	_, p, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for r := multipart.NewReader(m.Body, p["boundary"]); ; {
		part, err := r.NextRawPart()
		if err == io.EOF {
			return all.String()
		} else if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(&all, quotedprintable.NewReader(part)); err != nil {
			t.Fatal(err)
		}
	}
}

var (
	linkText = regexp.MustCompile(`/a/([A-Za-z0-9_-]{40,})`)
	formOf   = regexp.MustCompile(`name="question" value="(q-[0-9a-f]+)"`)
)

// reader is a browser at the answer page that has all the time in the world: by the
// page's clock a minute passes between any two requests.
type reader struct {
	t    *testing.T
	page *web.Page
	at   time.Time
}

func (r *running) reader() *reader {
	r.w.t.Helper()
	key, err := link.Open(r.k.path(link.File))
	r.w.check(err)
	b := &reader{t: r.w.t, at: time.Now()}
	b.page = &web.Page{
		Questions: questions{r.k}, Key: key, Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return b.at },
		Origin: func() string { return "http://127.0.0.1" },
	}
	return b
}

// send gives what the page answers to a form, or without one to a look at it.
func (b *reader) send(token string, form url.Values) (int, string) {
	b.t.Helper()
	b.at = b.at.Add(time.Minute)
	request := httptest.NewRequest(http.MethodGet, "/a/"+token, nil)
	if form != nil {
		request = httptest.NewRequest(http.MethodPost, "/a/"+token, strings.NewReader(form.Encode()))
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	answer := httptest.NewRecorder()
	b.page.ServeHTTP(answer, request)
	return answer.Code, answer.Body.String()
}

// TestAskedStorm: who is asked about a thousand cases at once gets one message, and can
// answer one after the other from the page behind its link.
func TestAskedStorm(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	// Answered are more than a page shows.
	const burst, answers = 1000, 250
	for name, steps := range map[string]string{"questions": question, "approvals": approval} {
		t.Run(name, func(t *testing.T) {
			box, server := serveMail(t)
			w := newAsking(t, steps, server, burst)
			r := w.run()
			open := func() int {
				n := 0
				for after := ""; ; {
					page, err := r.k.Store().Questions(t.Context(), store.QuestionQuery{State: model.QuestionOpen, After: after, Limit: 1000})
					w.check(err)
					for _, q := range page {
						if !q.AcceptedAt.IsZero() {
							n++
						}
						after = q.ID
					}
					if len(page) < 1000 {
						return n
					}
				}
			}
			r.until("a mail about all", func() bool { return r.counted() == burst && box.got("kim@example.org") > 0 })
			r.until("all to be asked", func() bool { return open() == burst })
			if n := box.got("kim@example.org"); n != 1 {
				t.Fatalf("%d mails ask about %d cases", n, burst)
			}
			text := texts(t, box.mails["kim@example.org"][0])
			token := linkText.FindStringSubmatch(text)
			if token == nil {
				t.Fatalf("no link in %s", text)
			}
			b, answered := r.reader(), map[string]bool{}
			for len(answered) < answers {
				code, page := b.send(token[1], nil)
				forms := formOf.FindAllStringSubmatch(page, -1)
				if code != http.StatusOK || len(forms) == 0 {
					t.Fatalf("%d, with %d answered: %s", code, len(answered), page)
				}
				for _, f := range forms[:min(len(forms), answers-len(answered))] {
					if code, page := b.send(token[1], url.Values{"question": {f[1]}, "option": {"0"}}); code != http.StatusSeeOther || answered[f[1]] {
						t.Fatalf("%s: %d %s", f[1], code, page)
					}
					answered[f[1]] = true
				}
			}
			if n := open(); n != burst-answers {
				t.Errorf("%d of %d are still open", n, burst)
			}
			r.until("what was answered to be isolated", func() bool { return r.inForce() == answers })
			if n := box.got("kim@example.org"); n != 1 {
				t.Errorf("%d mails in the end", n)
			}
			r.end()
		})
	}
}

// hostile is text that must stay text wherever it is shown.
const hostile = "<script>alert(1)</script>\\r\\nBcc: evil@evil.test\\r\\n\\r\\n<img src=x onerror=alert(1)>=cmd|calc\\u001b[2J\\u202e\\u2066 https://evil.test/a/click"

// TestAskedAbuse: of one question that a mail asks by links, on the whole program. Nothing
// but its own reader's form chooses anything, and what an attacker wrote is text in the
// mail and on the page.
func TestAskedAbuse(t *testing.T) {
	box, server := serveMail(t)
	w := newAsking(t, question, server, 1)
	w.configure(strings.Replace(w.readFile("config.hcl"), `otherwise = "soc@example.org"`, `otherwise = "soc@example.org"
  gather    = "0s"`, 1) + `
user "mara" {
  mail     = ["mara@example.org"]
  roles    = ["admin"]
  accounts = ["user:mara"]
}
`)
	w.write("assets.csv", "host,name,owner,os,tags,team\nws-0,ws-0,kim@example.org,<img src=x onerror=alert(2)>,=1+1,<b>\u202e\n")
	w.write("feed.json", `{"time":"2026-11-01T10:00:00Z","what":"`+hostile+`","host":"ws-0","user":"mara"}`+"\n")
	r := w.run()
	r.until("a mail", func() bool { return box.got("kim@example.org") == 1 })
	asked := func() model.Question {
		all, err := r.k.Store().Questions(t.Context(), store.QuestionQuery{})
		w.check(err)
		if len(all) != 1 {
			t.Fatalf("%d questions", len(all))
		}
		return all[0]
	}
	r.until("its delivery", func() bool { return !asked().AcceptedAt.IsZero() })

	raw := box.mails["kim@example.org"][0]
	m, err := mail.ReadMessage(strings.NewReader(raw))
	w.check(err)
	if m.Header.Get("Bcc") != "" || len(box.mails) != 1 || strings.ContainsAny(m.Header.Get("Subject"), "\r\n") {
		t.Errorf("header %v, to %d", m.Header, len(box.mails))
	}
	text := texts(t, raw)
	harmless := func(what, text string) {
		t.Helper()
		for _, bad := range []string{"\x1b", "\u202e", "\u2066", "\"https://evil", "=\"x\" onerror", "\nBcc:"} {
			if strings.Contains(text, bad) {
				t.Errorf("%s has %q:\n%s", what, bad, text)
			}
		}
		if html := text[max(0, strings.Index(strings.ToLower(text), "<html")):]; strings.Contains(html, "<script") || strings.Contains(html, "<img") || strings.Contains(html, "<b>\\u") {
			t.Errorf("%s has markup of an attacker's", what)
		}
	}
	harmless("the mail", text)
	link1 := linkText.FindStringSubmatch(text)
	if link1 == nil {
		t.Fatal("no link")
	}
	token, q, b := link1[1], asked(), r.reader()
	code, page := b.send(token, nil)
	if code != http.StatusOK || !strings.Contains(page, "&lt;script&gt;") {
		t.Errorf("%d %s", code, page)
	}
	harmless("the page", page)

	// claim signs what only who has the key can.
	claim := func(change func(*link.Claim)) string {
		c, err := b.page.Key.Read(token, b.at)
		w.check(err)
		change(&c)
		text, err := b.page.Key.Sign(c)
		w.check(err)
		return text
	}
	contain := url.Values{"question": {q.ID}, "option": {"0"}}
	for name, c := range map[string]struct {
		token  string
		method string // POST where there is none
		change func(*http.Request)
		form   url.Values
		code   int
	}{
		"a link scanner looks":       {token: token, method: "GET", code: 200},
		"at the option's own link":   {token: token + "?option=contain", method: "GET", code: 200},
		"at the head alone":          {token: token, method: "HEAD", code: 200},
		"asks what may be done":      {token: token, method: "OPTIONS", code: 405},
		"puts":                       {token: token, method: "PUT", form: contain, code: 405},
		"deletes":                    {token: token, method: "DELETE", code: 405},
		"a browser fetches ahead":    {token: token + "?option=contain", method: "GET", change: func(r *http.Request) { r.Header.Set("Sec-Purpose", "prefetch;prerender") }, code: 200},
		"posts nothing":              {token: token, form: url.Values{}, code: 422},
		"posts the link's query":     {token: token + "?question=" + q.ID + "&option=0", form: url.Values{}, code: 422},
		"posts something else":       {token: token, form: contain, change: func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }, code: 400},
		"another site posts":         {token: token, form: contain, change: func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }, code: 403},
		"cut off":                    {token: token[:len(token)-1], form: contain, code: 404},
		"forged":                     {token: "AAAA" + token[4:], form: contain, code: 404},
		"of another key":             {token: resigned(t, b, token), form: contain, code: 404},
		"of a question that is none": {token: claim(func(c *link.Claim) { c.ID = "q-0" }), form: contain, code: 403},
		"of somebody not asked":      {token: claim(func(c *link.Claim) { c.Address = "eve@example.org" }), form: contain, code: 403},
		"of the suspect":             {token: claim(func(c *link.Claim) { c.Address = "mara@example.org" }), form: contain, code: 403},
		"of other options":           {token: claim(func(c *link.Claim) { c.Options = link.Hash([]string{"contain"}) }), form: contain, code: 403},
		"of another kind":            {token: claim(func(c *link.Claim) { c.Kind = link.Digest }), form: contain, code: 403},
		"expired":                    {token: claim(func(c *link.Claim) { c.Expires = b.at }), form: contain, code: 410},
		"for another question":       {token: token, form: url.Values{"question": {"q-0"}, "option": {"0"}}, code: 403},
		"an option that is none":     {token: token, form: url.Values{"question": {q.ID}, "option": {"7"}}, code: 400},
		"an option's name":           {token: token, form: url.Values{"question": {q.ID}, "option": {"contain"}}, code: 400},
	} {
		b.at = b.at.Add(time.Minute)
		if c.method == "" {
			c.method = "POST"
		}
		request := httptest.NewRequest(c.method, "/a/"+c.token, strings.NewReader(c.form.Encode()))
		if c.form != nil {
			request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		if c.change != nil {
			c.change(request)
		}
		answer := httptest.NewRecorder()
		b.page.ServeHTTP(answer, request)
		if answer.Code != c.code {
			t.Errorf("%s: %d, want %d", name, answer.Code, c.code)
		}
		if c.code != 200 && c.code != 422 && strings.Contains(answer.Body.String(), "alert(1)") {
			t.Errorf("%s: it tells of the case", name)
		}
		if now := asked(); !now.Open() || len(now.Choices) != 0 {
			t.Fatalf("%s: it chose something: %+v", name, now.Choices)
		}
	}

	// Its own reader's form does, once.
	for i, want := range []int{http.StatusSeeOther, http.StatusConflict} {
		if code, page := b.send(token, contain); code != want {
			t.Errorf("the %d. time: %d %s", i+1, code, page)
		}
	}
	if now := asked(); now.State != model.QuestionAnswered || len(now.Choices) != 1 || now.By != "kim@example.org" {
		t.Errorf("question %+v", now)
	}
	r.until("the hold", func() bool { return r.inForce() == 1 })
	r.end()
}

// resigned is what a token says, signed by somebody else.
func resigned(t *testing.T, b *reader, token string) string {
	t.Helper()
	c, err := b.page.Key.Read(token, b.at)
	if err != nil {
		t.Fatal(err)
	}
	text, err := link.NewKey().Sign(c)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

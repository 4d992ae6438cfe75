package engine

import (
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/config"
	"github.com/kelpie-sec/kelpie/core/link"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/web"
	"github.com/kelpie-sec/kelpie/sdk"
)

// TestLinks: only what asks somebody gets links, each for its reader alone.
func TestLinks(t *testing.T) {
	now := time.Now()
	settings := web.Settings{Listen: "0.0.0.0:8443", PublicURL: "https://kelpie.example.org"}
	f := &flow{
		k: &Kelpie{clock: newClock(func() time.Time { return now }, time.Time{})}, logger: slog.New(slog.DiscardHandler),
		changes: newChanges(Configuration{Config: &config.Config{Web: settings}}, now),
		page:    &page{web: &web.Page{Key: link.NewKey()}},
	}
	intent := func(n sdk.Notice, question string) model.Intent {
		text, err := json.Marshal(map[string]any{"notice": n, "priority": 3})
		if err != nil {
			t.Fatal(err)
		}
		return model.Intent{
			ID: "i-1", Verb: "notify", Question: question, Parameters: text, Target: model.Target{Kind: "address", Value: "kim@example.org"},
		}
	}
	// linked gives the notice as it goes out, and its token.
	linked := func(in model.Intent) (sdk.Notice, link.Claim) {
		t.Helper()
		before := string(in.Parameters)
		text, hide := f.links(in)
		if string(in.Parameters) != before {
			t.Error("the intent itself has links")
		}
		all, n, ok := noticeOf(text)
		if !ok || string(all["priority"]) != "3" {
			t.Fatalf("parameters %s", text)
		}
		token, ok := strings.CutPrefix(n.Answer, "https://kelpie.example.org/a/")
		c, err := f.page.web.Key.Read(token, now)
		if !ok || err != nil {
			t.Fatalf("%q: %v", n.Answer, err)
		}
		if said := hide("sent with " + n.Answer); strings.Contains(said, token) {
			t.Errorf("it is not hidden: %s", said)
		}
		return n, c
	}

	asks := sdk.Notice{Case: "c-1", Question: "q-1", Wait: 1200, Options: []sdk.NoticeOption{{Name: "contain"}, {Name: "a&b=c#d"}}}
	n, c := linked(intent(asks, "q-1"))
	want := link.Claim{
		Kind: link.Question, ID: "q-1", Address: "kim@example.org", Options: link.Hash([]string{"contain", "a&b=c#d"}),
		Expires: now.Add(20*time.Minute + linkLife).Truncate(time.Second).Local(),
	}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Error(diff)
	}
	if u, err := url.Parse(n.Options[1].Link); err != nil || u.Query().Get("option") != "a&b=c#d" || !strings.HasPrefix(n.Options[1].Link, n.Answer+"?") {
		t.Errorf("the link of an option: %q %v", n.Options[1].Link, err)
	}
	gathered := sdk.Notice{Gathered: []sdk.NoticeCase{{Case: "c-1", Question: "q-1"}, {Case: "c-2"}, {Case: "c-3", Question: "q-3"}}}
	n, c = linked(intent(gathered, ""))
	if c.Kind != link.Digest || c.ID != "i-1" || n.Gathered[0].Answer != n.Answer+"#q-1" || n.Gathered[1].Answer != "" || n.Gathered[2].Answer != n.Answer+"#q-3" {
		t.Errorf("%+v %+v", c, n)
	}

	// What asks nobody has none.
	for name, change := range map[string]func(*model.Intent){
		"dry run": func(in *model.Intent) { in.DryRun = true },
		"preview": func(in *model.Intent) { in.Preview = true },
		"verb":    func(in *model.Intent) { in.Verb = "ticket" },
		"tells":   func(in *model.Intent) { in.Question = "" },
		"none":    func(in *model.Intent) { in.Parameters = nil },
		"text":    func(in *model.Intent) { in.Parameters = []byte(`{"notice":"text"}`) },
		"address": func(in *model.Intent) { in.Target.Value = strings.Repeat("a", 1000) },
		"nowhere": func(*model.Intent) { f.changes.now.Config.Web.Listen = "" },
	} {
		in := intent(asks, "q-1")
		change(&in)
		if text, hide := f.links(in); string(text) != string(in.Parameters) || hide != nil {
			t.Errorf("%s: %s", name, text)
		}
		f.changes.now.Config.Web = settings
	}
}

// free gives an address that nobody listens on now.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// TestPage: the page is open as long as a run is, moves on a reload, and an address that
// is taken refuses both a start and a reload, which change nothing.
func TestPage(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	with := func(listen string) string {
		return strings.Replace(standard, "kelpie {", "kelpie {\n  listen = \""+listen+"\"", 1)
	}
	answers := func(at string) bool {
		c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
		r, err := c.Get("http://" + at + "/a/x")
		if err != nil {
			return false
		}
		r.Body.Close()
		return r.StatusCode == http.StatusNotFound
	}
	w := newWorld(t, with(taken.Addr().String()))
	k := w.open()
	err = k.Run(t.Context(), w.options(false))
	if err == nil || !strings.Contains(err.Error(), "another program listens there already") {
		t.Errorf("a start: %v", err)
	}
	w.check(k.Close())

	first, second := free(t), free(t)
	w.configure(with(first))
	r := w.live(nil)
	if !answers(first) {
		t.Error("nothing answers")
	}
	w.configure(with(taken.Addr().String()))
	if a := r.apply(false); a.Outcome != api.Refused || !strings.Contains(a.Error, "another program listens there already") || !answers(first) {
		t.Errorf("an address that is taken: %+v", a)
	}
	w.configure(with(second))
	if a := r.apply(true); a.Outcome != api.Planned || answers(second) || !answers(first) {
		t.Errorf("a dry run: %+v", a)
	}
	if a := r.apply(false); a.Outcome != api.Applied || !answers(second) || answers(first) {
		t.Errorf("another address: %+v", a)
	}
	w.configure(standard)
	if a := r.apply(false); a.Outcome != api.Applied || answers(second) {
		t.Errorf("no address: %+v", a)
	}
	w.configure(with(first))
	if a := r.apply(false); a.Outcome != api.Applied || !answers(first) {
		t.Errorf("an address again: %+v", a)
	}
	r.end()
	if answers(first) {
		t.Error("it answers after the end")
	}
}

package web

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kelpie-sec/kelpie/core/link"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// expect checks a response's code and what its page has, or after "!" has not.
func expect(t *testing.T, r *http.Response, code int, has ...string) string {
	t.Helper()
	text := body(t, r)
	if r.StatusCode != code {
		t.Errorf("status %d, want %d:\n%s", r.StatusCode, code, text)
	}
	for _, want := range has {
		if not, no := strings.CutPrefix(want, "!"); no && strings.Contains(text, not) {
			t.Errorf("the page has %q:\n%s", not, text)
		} else if !no && !strings.Contains(text, want) {
			t.Errorf("the page has no %q:\n%s", want, text)
		}
	}
	if policy := r.Header.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none';") || strings.Contains(policy, "unsafe") {
		t.Errorf("policy %q", policy)
	}
	for name, want := range map[string]string{"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff"} {
		if got := r.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if len(r.Cookies()) > 0 {
		t.Error("it sets cookies")
	}
	return text
}

// choose fills in a form: an option by its name, or whatever else stands there.
func choose(option string, more ...string) url.Values {
	for n, o := range question("").Options {
		if o.Name == option {
			option = strconv.Itoa(n)
		}
	}
	v := url.Values{"option": {option}}
	for i := 0; i < len(more); i += 2 {
		v.Set(more[i], more[i+1])
	}
	return v
}

func TestAnswer(t *testing.T) {
	s := newSite(t)
	path := Path + s.token(t, s.ask("q-1", kim), kim.Address)
	text := expect(t, s.do("GET", path, nil), 200,
		"Is this yours", "somebody else&#39;s control", "ws-17", "you own ws-17", "18 minutes from now", "83.4", "reputation calls 203.0.113.7 malicious",
		"no answer within 10 s", "Isolate the computer", "It was an authorised test", "for kim@example.org", "!checked>", "!<script", "!http-equiv", "!href", "!src=")
	if at := []int{strings.Index(text, "Is this yours"), strings.Index(text, "somebody else"), strings.Index(text, "owner kim"), strings.Index(text, "83.4"), strings.Index(text, "<form")}; !(at[0] < at[1] && at[1] < at[2] && at[2] < at[3] && at[3] < at[4]) {
		t.Errorf("the order is another: %v", at)
	}
	expect(t, s.do("GET", path+"?option=ignore", nil), 200, `value="1" required checked>`)

	r := s.do("POST", path, choose("ignore", "reason-1", "1", "note", " by netsec "))
	expect(t, r, 303)
	if to := r.Header.Get("Location"); to != path {
		t.Errorf("it leads to %q", to)
	}
	want := []model.Command{{
		Kind: model.Choose, Question: "q-1", Option: "ignore", Because: "authorised_test: by netsec", By: "kim", Address: "kim@example.org", Road: model.RoadLink,
	}}
	if diff := cmp.Diff(want, s.fake.orders); diff != "" {
		t.Error(diff)
	}
	done := []string{"Your answer was taken", "It is nothing to act on (authorised_test: by netsec)", "2 Jan 2027, 03:04 UTC", "An engineer decides", "!<form", "!ws-17"}
	expect(t, s.do("GET", path, nil), 200, done...)
	expect(t, s.do("POST", path, choose("contain")), 409, done...)
	if len(s.fake.orders) != 1 {
		t.Errorf("%d orders", len(s.fake.orders))
	}
}

// TestIncomplete: what is missing is said, and what was filled in stays.
func TestIncomplete(t *testing.T) {
	for name, c := range map[string]struct {
		form url.Values
		want []string
	}{
		"nothing":   {url.Values{}, []string{"Choose one of these."}},
		"no reason": {choose("ignore", "note", "kept <b>"), []string{"Choose a reason as well.", `value="1" required checked>`, "kept &lt;b&gt;"}},
		"another's": {choose("ignore", "reason-2", "1"), []string{"Choose a reason as well."}},
		"no note":   {choose("escalate"), []string{"Say why, in the note."}},
		"blank":     {choose("escalate", "note", " \n "), []string{"Say why, in the note."}},
		"too long":  {choose("contain", "note", strings.Repeat("a", maxNote+1)), []string{"The note is too long."}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			expect(t, s.do("POST", Path+s.token(t, s.ask("q-1", kim), kim.Address), c.form), 422, append(c.want, "<form")...)
			if len(s.fake.orders) > 0 {
				t.Errorf("it was chosen: %v", s.fake.orders)
			}
		})
	}
}

// TestScanner: whatever looks at links in any way chooses nothing.
func TestScanner(t *testing.T) {
	s := newSite(t)
	path := Path + s.token(t, s.ask("q-1", kim), kim.Address)
	for _, method := range []string{"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND", "get", ""} {
		for _, query := range []string{"", "?option=contain", "?option=contain&question=q-1&reason-0=&note=x", "?option=%00", "?option=" + strings.Repeat("a", 5000)} {
			r := s.do(method, path+query, nil, func(r *http.Request) { r.Method = method; r.Header.Set("Sec-Purpose", "prefetch") })
			if method == "HEAD" && body(t, r) != "" {
				t.Error("a HEAD has a body")
			}
			if fine := method == "GET" || method == "HEAD"; fine != (r.StatusCode == 200) {
				t.Errorf("%s %s: %d", method, query, r.StatusCode)
			}
		}
	}
	// Nor does a POST that is not our form.
	for name, c := range map[string]struct {
		kind, body string
		code       int
	}{
		"no kind": {"", "option=0", 400}, "json": {"application/json", `{"option":"contain"}`, 400}, "text": {"text/plain", "option=0", 400},
		"multipart": {"multipart/form-data; boundary=a", "--a\r\nContent-Disposition: form-data; name=\"option\"\r\n\r\ncontain\r\n--a--", 400},
		"huge":      {"application/x-www-form-urlencoded", "option=0&note=" + strings.Repeat("a", maxForm), 400},
		"broken":    {"application/x-www-form-urlencoded", "option=0&%zz", 400},
		"empty":     {"application/x-www-form-urlencoded", "", 422},
	} {
		r := s.do("POST", path+"?option=contain", nil, func(r *http.Request) {
			r.Header.Set("Content-Type", c.kind)
			r.Body = io.NopCloser(strings.NewReader(c.body))
		})
		if r.StatusCode != c.code {
			t.Errorf("%s: %d", name, r.StatusCode)
		}
	}
	if len(s.fake.orders) > 0 {
		t.Errorf("something was chosen: %v", s.fake.orders)
	}
}

func TestSameOrigin(t *testing.T) {
	for _, c := range []struct {
		origin, site string
		fine         bool
	}{
		{"", "", true}, // an old browser
		{"https://kelpie.example.org", "same-origin", true},
		{"https://KELPIE.example.org:443", "same-origin", true},
		{"null", "same-origin", true},
		{"null", "", true},
		{"", "none", true},
		{"null", "none", false},
		{"null", "cross-site", false},
		{"https://kelpie.example.org", "cross-site", false},
		{"https://kelpie.example.org", "same-site", false},
		{"https://evil.example", "", false},
		{"https://evil.example", "same-origin", false},
		{"http://kelpie.example.org", "", false},
		{"https://kelpie.example.org:8443", "", false},
		{"https://kelpie.example.org.evil.example", "", false},
		{"::", "", false},
	} {
		s := newSite(t)
		r := s.do("POST", Path+s.token(t, s.ask("q-1", kim), kim.Address), choose("contain"), func(r *http.Request) {
			r.Header.Set("Origin", c.origin)
			r.Header.Set("Sec-Fetch-Site", c.site)
		})
		if want := map[bool]int{true: 303, false: 403}[c.fine]; r.StatusCode != want || len(s.fake.orders) > 0 != c.fine {
			t.Errorf("%q %q: %d, %d orders", c.origin, c.site, r.StatusCode, len(s.fake.orders))
		}
	}
}

// TestClosedPages: each link that answers nothing has its own short page, which tells
// nothing of the case.
func TestClosedPages(t *testing.T) {
	secret := []string{"!ws-17", "!Beacon", "!robin", "!q-1", "!c-17", "!203.0.113.7", "!response", "!<form", "!contain"}
	s := newSite(t)
	q := s.ask("q-1", kim)
	sign := func(c link.Claim) string {
		token, err := s.Key.Sign(c)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	good := link.Claim{Kind: link.Question, ID: q.ID, Address: kim.Address, Options: link.Hash(optionNames(q.Options)), Expires: now.Add(time.Hour)}
	with := func(change func(*link.Claim)) string { c := good; change(&c); return sign(c) }
	other, err := link.NewKey().Sign(good)
	if err != nil {
		t.Fatal(err)
	}
	valid := sign(good)
	for name, c := range map[string]struct {
		token string
		code  int
		title string
	}{
		"empty":           {"", 404, "does not work"},
		"none":            {"x", 404, "does not work"},
		"cut off":         {valid[:len(valid)-1], 404, "does not work"},
		"changed":         {"B" + valid[1:], 404, "does not work"},
		"another key":     {other, 404, "does not work"},
		"with a path":     {valid + "/contain", 404, "does not work"},
		"huge":            {strings.Repeat("A", 8000), 404, "does not work"},
		"expired":         {with(func(c *link.Claim) { c.Expires = now }), 410, "expired"},
		"another person":  {with(func(c *link.Claim) { c.Address = "lee@example.org" }), 403, "not for this question"},
		"another case":    {with(func(c *link.Claim) { c.Address = "KIM@example.org" }), 403, "not for this question"},
		"no question":     {with(func(c *link.Claim) { c.ID = "q-2" }), 403, "not for this question"},
		"other options":   {with(func(c *link.Claim) { c.Options = link.Hash([]string{"contain"}) }), 403, "not for this question"},
		"of a digest":     {with(func(c *link.Claim) { c.Kind = link.Digest }), 403, "not for this question"},
		"expired foreign": {with(func(c *link.Claim) { c.ID, c.Expires = "q-9", now }), 410, "expired"},
	} {
		t.Run(name, func(t *testing.T) {
			expect(t, s.do("GET", Path+c.token, nil), c.code, append(secret, c.title)...)
			expect(t, s.do("POST", Path+c.token, choose("contain")), c.code, append(secret, c.title)...)
		})
	}
	for _, path := range []string{"/", "/v1/cases", "/a", "/metrics", "/favicon.ico", "/a/../v1/cases"} {
		expect(t, s.do("GET", path, nil), 404, append(secret, "does not work")...)
	}
	if len(s.fake.orders) > 0 {
		t.Errorf("something was chosen: %v", s.fake.orders)
	}

	lee := model.Asked{Address: "lee@example.org", Intent: "i-lee"}
	for name, c := range map[string]struct {
		state model.QuestionState
		code  int
		title string
	}{
		"answered":  {model.QuestionAnswered, 200, "lee@example.org answered on 2 Jan 2027, 03:04 UTC"},
		"timed out": {model.QuestionTimedOut, 410, "The time for an answer is over"},
		"withdrawn": {model.QuestionWithdrawn, 410, "needs no answer any more"},
		"failed":    {model.QuestionFailed, 410, "needs no answer any more"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			q := s.ask("q-1", kim, lee)
			path := Path + s.token(t, q, kim.Address)
			q.State, q.ClosedAt = c.state, now
			if c.state == model.QuestionAnswered {
				q.By, q.Choice = lee.Address, "contain"
				q.Choices = []model.Choice{{Option: "contain", By: lee.Address, Address: lee.Address, At: now, Counts: true}}
			}
			s.fake.questions["q-1"] = q
			secret := secret[:len(secret)-3]
			expect(t, s.do("GET", path, nil), c.code, append(secret, c.title)...)
			expect(t, s.do("POST", path, choose("ignore", "reason-1", "0")), 409, append(secret, c.title)...)
			if len(s.fake.orders) > 0 {
				t.Errorf("it was chosen: %v", s.fake.orders)
			}
		})
	}
}

// TestForeignForm: a form can't answer what its link is not for.
func TestForeignForm(t *testing.T) {
	s := newSite(t)
	path := Path + s.token(t, s.ask("q-1", kim), kim.Address)
	s.ask("q-2", kim)
	expect(t, s.do("POST", path, choose("contain", "question", "q-2")), 403, "not for this question")
	for _, wrong := range []url.Values{
		choose("4"), choose("-1"), choose("approve"), choose("1e0"), choose("99999999999999999999"), choose("0\x00"),
		choose("ignore", "reason-1", "4"), choose("ignore", "reason-1", "expected"), choose("contain", "reason-0", "0"),
	} {
		expect(t, s.do("POST", path, wrong), 400, "could not be read")
	}
	if len(s.fake.orders) > 0 {
		t.Errorf("something was chosen: %v", s.fake.orders)
	}
}

func TestSubject(t *testing.T) {
	s := newSite(t)
	robin := model.Asked{Address: "robin@example.org", Intent: "i-robin", Subject: true}
	path := Path + s.token(t, s.ask("q-1", robin), robin.Address)
	expect(t, s.do("POST", path, choose("contain")), 303)
	expect(t, s.do("GET", path, nil), 200, "It is kept as evidence", "!<form")
	expect(t, s.do("POST", path, choose("not_mine")), 409, "It is kept as evidence")
	if len(s.fake.orders) != 1 {
		t.Errorf("%d orders", len(s.fake.orders))
	}
}

func TestApproval(t *testing.T) {
	s := newSite(t)
	lee := model.Asked{Address: "lee@example.org", Person: "lee", Intent: "i-lee"}
	q := s.ask("q-1", kim, lee)
	q.Kind, q.People, q.Verb, q.Options = model.QuestionApproval, 2, "isolate_host", []model.Option{{Name: model.OptionApprove}, {Name: model.OptionRefuse}}
	q.Targets = []model.Target{{Kind: "host", Value: "ws-17"}, {Kind: "host", Value: "ws-18"}}
	s.fake.questions["q-1"] = q
	n := notice()
	n.Asked, n.Previews = "", []sdk.NoticePreview{{Verb: "isolate_host", Target: "ws-17", State: "done", Message: "would isolate ws-17"}}
	s.fake.told["i-kim"] = n
	first, second := Path+s.token(t, q, kim.Address), Path+s.token(t, q, lee.Address)
	expect(t, s.do("GET", first, nil), 200, "May Kelpie do this?", "isolate_host: ws-17, a dry run says would isolate ws-17", "isolate_host: ws-18", "2 different people")
	expect(t, s.do("POST", first, choose("0")), 303)
	expect(t, s.do("GET", first, nil), 200, "It is done when one more person approves.", "!<form")
	expect(t, s.do("POST", first, choose("0")), 409, "one more person")
	expect(t, s.do("POST", second, choose("0")), 303)
	expect(t, s.do("GET", first, nil), 200, "Kelpie goes on with it")
	if len(s.fake.orders) != 2 {
		t.Errorf("%d orders", len(s.fake.orders))
	}
}

func TestDigest(t *testing.T) {
	s := newSite(t)
	lee := model.Asked{Address: "lee@example.org", Intent: "i-lee"}
	s.ask("q-1", kim)
	s.ask("q-2", kim, lee)
	s.ask("q-3", lee)
	s.fake.gathered["i-digest"] = []string{"q-1", "q-2", "q-3", "q-gone"}
	token, err := s.Key.Sign(link.Claim{Kind: link.Digest, ID: "i-digest", Address: kim.Address, Expires: now.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	text := expect(t, s.do("GET", Path+token, nil), 200, "2 questions wait for your answer", `id="q-1"`, `id="q-2"`, "!q-3")
	if strings.Count(text, "<form") != 2 || strings.Contains(text, " checked>") {
		t.Errorf("forms:\n%s", text)
	}
	expect(t, s.do("POST", Path+token, choose("contain", "question", "q-3")), 403)
	expect(t, s.do("POST", Path+token, choose("contain")), 403)
	r := s.do("POST", Path+token, choose("contain", "question", "q-2"))
	expect(t, r, 303)
	if to := r.Header.Get("Location"); to != Path+token+"#q-2" {
		t.Errorf("it leads to %q", to)
	}
	text = expect(t, s.do("GET", Path+token, nil), 200, "One question waits", "Your answer was taken")
	if strings.Count(text, "<form") != 1 {
		t.Errorf("forms:\n%s", text)
	}
	expect(t, s.do("POST", Path+token, choose("ignore", "question", "q-1")), 422, "Choose a reason as well.")
	expect(t, s.do("POST", Path+token, choose("contain", "question", "q-2")), 409)
	expect(t, s.do("POST", Path+token, choose("contain", "question", "q-1")), 303)
	expect(t, s.do("GET", Path+token, nil), 200, "Nothing to answer", "!<form")
	if len(s.fake.orders) != 2 {
		t.Errorf("orders: %v", s.fake.orders)
	}
}

func TestTrouble(t *testing.T) {
	s := newSite(t)
	path := Path + s.token(t, s.ask("q-1", kim), kim.Address)
	s.fake.err = errors.New("the disk at /srv/secret is gone")
	expect(t, s.do("GET", path, nil), 503, "can&#39;t be shown now", "!secret")
	expect(t, s.do("POST", path, choose("contain")), 503, "!secret")
}

// TestRates: neither one link nor one address takes all turns, and others go on.
func TestRates(t *testing.T) {
	s := newSite(t)
	q := s.ask("q-1", kim)
	path := Path + s.token(t, q, kim.Address)
	codes := map[int]int{}
	for i := range 1000 {
		codes[s.do("GET", path, nil, func(r *http.Request) { r.RemoteAddr = fmt.Sprintf("192.0.2.%d:99", i%200) }).StatusCode]++
	}
	if codes[200] != int(perToken.burst) || codes[429] != 1000-codes[200] {
		t.Errorf("one link from many addresses: %v", codes)
	}
	codes = map[int]int{}
	for range 1000 {
		codes[s.do("GET", "/a/forged", nil, func(r *http.Request) { r.RemoteAddr = "198.51.100.1:99" }).StatusCode]++
	}
	if codes[404] != int(perAddress.burst) || codes[429] != 1000-codes[404] {
		t.Errorf("one address: %v", codes)
	}
	q = s.ask("q-2", kim)
	expect(t, s.do("GET", Path+s.token(t, q, kim.Address), nil), 200)
}

// TestHostile: what a detector fills in stays text, wherever it stands.
func TestHostile(t *testing.T) {
	const evil = "\"'><script>alert(1)</script><img src=x onerror=alert(1)></textarea></style>{{.}}\u202egnp.exe\x00\r\nSet-Cookie: a=b javascript:alert(1)"
	s := newSite(t)
	q := s.ask("q-1", kim)
	q.By = evil
	for i := range q.Options {
		q.Options[i].Summary = evil
		if len(q.Options[i].Reasons) > 0 {
			q.Options[i].Reasons = []string{evil}
		}
	}
	q.Options[0].Name, q.Options[0].Run = evil, []string{evil}
	q.Asked[0].Address = "\"><script>@example.org"
	s.fake.questions["q-1"] = q
	all := sdk.Notice{
		Case: evil, Title: evil, Plainly: evil, Because: evil, Asked: evil, Text: evil, Subject: evil,
		Assets:     []sdk.NoticeAsset{{Name: evil, IPs: []string{evil}, Owner: evil, Team: evil, OS: evil, Roles: []string{evil}}},
		Identities: []sdk.NoticeIdentity{{Name: evil, Mail: evil, Title: evil, Department: evil, Manager: evil, State: evil}},
		Subjects:   []sdk.NoticeObservable{{Kind: evil, Value: evil, Note: evil}}, Indicators: []sdk.NoticeObservable{{Kind: evil, Value: evil}},
		Score:    sdk.NoticeScore{Total: 1e300, Factors: []sdk.NoticeFactor{{Lines: []sdk.NoticeLine{{Because: evil, Counted: 1e300, Source: evil}}}}},
		Verdicts: []sdk.NoticeVerdict{{Value: evil, Source: evil, Disposition: evil}}, Unknowns: []sdk.NoticeUnknown{{What: evil, Why: evil}},
		Signals: []sdk.NoticeSignal{{Title: evil}}, Actions: []sdk.NoticeAction{{Verb: evil, Target: evil, State: evil}},
	}
	s.fake.told["i-kim"] = all
	token := s.token(t, q, q.Asked[0].Address)
	never := []string{"!<script", "!<img", "!</textarea></style>", "!\u202e", "!\x00", "!href", "!javascript:alert(1)\"", "!onerror=alert(1)>"}
	text := expect(t, s.do("GET", Path+token, nil), 200, append(never, "&lt;script&gt;")...)
	if n := strings.Count(text, "<form"); n != 1 {
		t.Errorf("%d forms", n)
	}
	expect(t, s.do("POST", Path+token, choose("ignore", "note", evil)), 422, append(never[:3:3], "!href")...)
	expect(t, s.do("POST", Path+token, choose("0", "note", evil)), 303)
	expect(t, s.do("GET", Path+token, nil), 200, never...)
}

// TestLarge: the page is bounded, whatever it is told.
func TestLarge(t *testing.T) {
	s := newSite(t)
	q := s.ask("q-1", kim)
	long := strings.Repeat("ä", 1<<20)
	n := sdk.Notice{Case: "c", Title: long, Asked: long, Plainly: long}
	for range 10_000 {
		n.Subjects = append(n.Subjects, sdk.NoticeObservable{Kind: "host", Value: long[:4000]})
		n.Signals = append(n.Signals, sdk.NoticeSignal{Title: long[:4000]})
	}
	s.fake.told["i-kim"] = n
	text := expect(t, s.do("GET", Path+s.token(t, q, kim.Address), nil), 200, "and 9988 more")
	if len(text) > 128<<10 {
		t.Errorf("%d bytes", len(text))
	}
}

func TestForwarded(t *testing.T) {
	for _, c := range []struct{ remote, said, want string }{
		{"192.0.2.1:9", "", "192.0.2.1"},
		{"192.0.2.1:9", "198.51.100.7", "192.0.2.1"}, // who says so is not believed
		{"127.0.0.1:9", "198.51.100.7", "198.51.100.7"},
		{"127.0.0.1:9", "203.0.113.1, 198.51.100.7", "198.51.100.7"}, // what the proxy added
		{"127.0.0.1:9", "nonsense", "127.0.0.1"},
		{"[::1]:9", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"},
		{"[2001:db8::1%eth0]:9", "", "2001:db8::/64"},
		{"[::ffff:192.0.2.1]:9", "", "192.0.2.1"},
		{"", "", ""},
	} {
		r, _ := http.NewRequest("GET", "/", nil)
		r.RemoteAddr = c.remote
		if c.said != "" {
			r.Header.Set("X-Forwarded-For", c.said)
		}
		if got := addressOf(r); got != c.want {
			t.Errorf("%q by %q: %q, want %q", c.remote, c.said, got, c.want)
		}
	}
}

// TestPolicy: the policy lets in the very style that the page has.
func TestPolicy(t *testing.T) {
	s := newSite(t)
	r := s.do("GET", Path+s.token(t, s.ask("q-1", kim), kim.Address), nil)
	_, text, _ := strings.Cut(expect(t, r, 200), "<style>")
	text, _, _ = strings.Cut(text, "</style>")
	sum := sha256.Sum256([]byte(text))
	if want := "style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; !strings.Contains(r.Header.Get("Content-Security-Policy"), want) {
		t.Errorf("policy %s, want %s", r.Header.Get("Content-Security-Policy"), want)
	}
}

// TestRefused: an answer that decide would not have is told, and can be given better; what
// is tried after one that counts takes nothing from it.
func TestRefused(t *testing.T) {
	s := newSite(t)
	q := s.ask("q-1", kim)
	path := Path + s.token(t, q, kim.Address)
	no := model.Choice{Option: "contain", By: "kim", Address: kim.Address, At: now, Why: "kim does not have the role approver"}
	q.Choices = []model.Choice{no}
	s.fake.questions["q-1"] = q
	expect(t, s.do("GET", path, nil), 200, "Your answer was not taken: kim does not have the role approver.", "<form")
	yes := no
	yes.Counts, yes.Why, yes.Option = true, "", "not_mine"
	q.Choices, q.State, q.By, q.Choice, q.ClosedAt = []model.Choice{no, yes, no}, model.QuestionAnswered, "kim", "not_mine", now
	s.fake.questions["q-1"] = q
	expect(t, s.do("GET", path, nil), 200, "Your answer was taken", "It is not mine", "Somebody else is asked now", "!<form", "!role approver")
}

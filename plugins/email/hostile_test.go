package main

import (
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/mail"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/kelpie-sec/kelpie/sdk"
	"golang.org/x/net/html"
	"pgregory.net/rapid"
)

// hostile is what attackers write.
var hostile = []string{
	"<script>alert(1)</script>", "\" onload=\"x", "' onmouseover='x", "'><a href=\"http://evil.example.net\">", "<img src=//evil.example.net/x>", "{{.Title}}", "]]>", "<!--", "-->",
	"</style><style>*{}", "</td></tr></table>", "&lt;b&gt;", "&#60;b&#62;", "<bdi>", "</bdi>", "</title>", "<base href=//evil.example.net>", "<meta http-equiv=refresh content=0>",
	"http://evil.example.net/x", "HTTPS://EVIL.example.net", "javascript:alert(1)", "data:text/html,x", "file://evil.example.net/x", `\\evil.example.net\share`, "www.evil.net", "evil.example.net/login",
	"http://kelpie.example.org@evil.example.net/", "https://kelpie.example.org.evil.example.net/", "https://kеlpie.example.org/", "evil。example。net", "mailto:x@evil.net", "x@evil.net",
	"\r\nBcc: x@evil.net", "\nX-Evil: 1", "\r\n\r\n<b>", "\r\n.\r\nMAIL FROM:<x>", "\rX-Evil: 1", "\r\n--kelpie-", "\r\nContent-Type: text/html\r\n\r\n", "\v\f\u0085X-Evil: 1", "\u2028X-Evil: 1",
	"=?utf-8?Q?x?=", "=?utf-8?B?DQpCY2M6IHhAZXZpbC5uZXQ=?=", "*=utf-8''x%0d%0a", "\u202e", "\u2066\u2069", "\u200b\u200d\ufeff", "\u00ad", "\U000e0041", "\x00", "\x1b]8;;http://evil.net\x07", "\x1b[2J", "\xff\xfe", "\xed\xa0\x80",
	strings.Repeat("a", 300), strings.Repeat("世", 200), strings.Repeat("\u0301", 9), strings.Repeat("<", 100), "-- \n", "From x", "$(reboot)", "`reboot`; kelpie answer q-1 approve", "", " ", "%s%n",
}

// trusted are the fields that the core alone fills.
func trusted(path string) bool {
	return path == ".Link" || path == ".Answer" || strings.HasSuffix(path, "].Link") || strings.HasSuffix(path, "].Answer")
}

// eachText calls f with every text of a notice that is not the core's alone.
func eachText(v reflect.Value, path string, f func(path string, set func(string))) {
	switch v.Kind() {
	case reflect.String:
		if !trusted(path) {
			f(path, v.SetString)
		}
	case reflect.Slice:
		for i := range v.Len() {
			eachText(v.Index(i), fmt.Sprintf("%s[%d]", path, i), f)
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return
		}
		for i := range v.NumField() {
			eachText(v.Field(i), path+"."+v.Type().Field(i).Name, f)
		}
	case reflect.Map:
		if v.Type().Key().Kind() == reflect.String && v.Len() > 0 {
			first := v.MapKeys()[0]
			value := v.MapIndex(first)
			f(path+"{}", func(key string) {
				v.Clear()
				v.SetMapIndex(reflect.ValueOf(key), value)
			})
		}
	}
}

// whole is a notice with something in every field.
func whole(gathered bool) *sdk.Notice {
	n := &sdk.Notice{}
	plenty(reflect.ValueOf(n).Elem(), "")
	if !gathered {
		n.Gathered = nil
	}
	return n
}

func plenty(v reflect.Value, path string) {
	switch v.Kind() {
	case reflect.String:
		if v.SetString("word"); trusted(path) {
			v.SetString(ours + "a/" + "TOKEN#word")
		}
	case reflect.Int:
		v.SetInt(40)
	case reflect.Float64:
		v.SetFloat(40)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			plenty(v.Index(i), fmt.Sprintf("%s[%d]", path, i))
		}
	case reflect.Map:
		value := reflect.New(v.Type().Elem()).Elem()
		plenty(value, path)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("installed"), value)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		plenty(v.Elem(), path)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Unix(1_799_990_000, 0)))
			return
		}
		for i := range v.NumField() {
			plenty(v.Field(i), path+"."+v.Type().Field(i).Name)
		}
	}
}

// shape is what a mail is made of besides texts: its tags with the attributes that they
// have, with numbers left open, and where its links lead.
type shape struct {
	tags  map[string]bool
	links []string
	text  string
}

var digits = regexp.MustCompile(`[0-9]+`)

func shapeOf(t interface{ Fatalf(string, ...any) }, markup string) shape {
	s := shape{tags: map[string]bool{}}
	tokens := html.NewTokenizer(strings.NewReader(markup))
	var text strings.Builder
	depth := 0
	for {
		switch kind := tokens.Next(); kind {
		case html.ErrorToken:
			if tokens.Err() != io.EOF {
				t.Fatalf("the HTML cannot be read: %v", tokens.Err())
			}
			if depth != 0 {
				t.Fatalf("the HTML leaves %d elements open", depth)
			}
			s.text = text.String()
			return s
		case html.CommentToken:
			t.Fatalf("a comment in the HTML")
		case html.TextToken:
			text.Write(tokens.Text())
			text.WriteByte(' ')
		case html.EndTagToken:
			depth--
		case html.StartTagToken, html.SelfClosingTagToken:
			token := tokens.Token()
			if token.Data != "meta" {
				depth++
			}
			s.tags[token.Data] = true
			for _, a := range token.Attr {
				if a.Key == "href" {
					s.links = append(s.links, a.Val)
					continue
				}
				s.tags[token.Data+" "+a.Key+"="+digits.ReplaceAllString(a.Val, "0")] = true
			}
		}
	}
}

// harmlessShape is of all that samples and whole notices show.
func harmlessShape(t testing.TB) shape {
	t.Helper()
	all := shape{tags: map[string]bool{}}
	add := func(p *page) {
		_, markup, err := p.render()
		if err != nil {
			t.Fatal(err)
		}
		for tag := range shapeOf(t, markup).tags {
			all.tags[tag] = true
		}
	}
	paths, _ := filepath.Glob("testdata/*.json")
	for _, path := range paths {
		p, _ := load(t, path)
		add(p)
	}
	for _, gathered := range []bool{true, false} {
		for _, score := range []float64{0, 20, 50, 90} {
			for _, stripped := range []bool{true, false} {
				n := whole(gathered)
				n.Score.Total = score
				n.Score.Factors = slices.Repeat(n.Score.Factors, 4)
				for i, state := range []string{"done", "failed", "unknown", "odd"} {
					n.Actions = append(n.Actions, sdk.NoticeAction{State: state, Verb: "x", Target: "y"})
					n.Signals = append(n.Signals, sdk.NoticeSignal{Title: "x", Stopped: new(bool)})
					n.Gathered = append(n.Gathered, sdk.NoticeCase{Case: "c", Score: float64(30 * i), Question: "q"})
				}
				if stripped {
					n.Answer, n.Identities, n.Stopped = "", []sdk.NoticeIdentity{{}}, nil
					n.Assets = []sdk.NoticeAsset{{Managed: new(bool), Missing: map[string]int{}}}
					for i := range n.Options {
						n.Options[i].Link = ""
					}
				}
				if !gathered {
					n.Gathered = nil
				}
				p, err := newPage(&parameters{Notice: n, Text: "words"}, true, time.Unix(1_800_000_000, 0), "example.org")
				if err != nil {
					t.Fatal(err)
				}
				add(p)
			}
		}
	}
	return all
}

// live is what a mail program would make a link of, or a terminal obey.
var live = regexp.MustCompile(`(?i)(https?|ftp|file)://[^ ]|www\.|mailto:|\\\\[a-z0-9]|[a-z0-9]\.(net|example\.net)`)

// check renders a notice, and reads the mail back as mail programs do: nothing in it but
// text is anybody else's.
func (harmless shape) check(t interface{ Fatalf(string, ...any) }, given *parameters) {
	p, err := newPage(given, true, time.Unix(1_800_000_000, 0), "example.org")
	if err != nil {
		return // it is refused
	}
	plain, markup, err := p.render()
	if err != nil {
		t.Fatalf("rendering: %v", err)
	}
	checkText(t, plain)
	got := shapeOf(t, markup)
	for tag := range got.tags {
		if !harmless.tags[tag] {
			t.Fatalf("the HTML has a <%s>", tag)
		}
	}
	for _, link := range got.links {
		if !isLink(link) {
			t.Fatalf("the HTML links to %s", link)
		}
	}
	for _, body := range []string{plain, html.UnescapeString(got.text)} {
		for word := range strings.FieldsSeq(body) {
			if !isLink(word) && live.MatchString(word) {
				t.Fatalf("%q would become a link", word)
			}
		}
		if i := strings.IndexFunc(body, func(r rune) bool { return unicode.In(r, unicode.Cf, unicode.Co, unicode.Cs) || r == '\x1b' }); i >= 0 {
			t.Fatalf("hidden: %q", body[i:min(len(body), i+20)])
		}
	}
	subject := p.subjectLine("[Kelpie]")
	if len(subject) > maxSubject || strings.ContainsFunc(subject, unicode.IsControl) {
		t.Fatalf("subject %q", subject)
	}
	checkLetter(t, letter{
		subject: subject, thread: newThread(p.Thread, p.Joined, sender), text: plain, html: markup,
		from: sender, to: mail.Address{Address: "kim@example.org"}, id: messageID("i-1", sender), list: listID(sender), date: time.Unix(1e9, 0),
	})
}

// checkLetter: the headers are those that we write, each once, the parts two.
func checkLetter(t interface{ Fatalf(string, ...any) }, l letter) {
	encoded, err := l.encode()
	if err != nil {
		t.Fatalf("encode: %v", err)
	}
	header, text, markup := read(t, encoded)
	if text != l.text || markup != l.html {
		t.Fatalf("the parts are not what was written")
	}
	want := []string{"From", "To", "Subject", "Date", "Message-Id", "List-Id", "Auto-Submitted", "Precedence", "X-Auto-Response-Suppress", "Mime-Version", "Content-Type"}
	if l.thread != nil {
		want = append(want, "In-Reply-To", "References", "Thread-Topic", "Thread-Index")
	}
	for name, values := range header {
		if !slices.Contains(want, name) || len(values) != 1 {
			t.Fatalf("header %s = %q", name, values)
		}
	}
	if got, err := new(mime.WordDecoder).DecodeHeader(header.Get("Subject")); err != nil || strings.Join(strings.Fields(got), " ") != strings.Join(strings.Fields(l.subject), " ") {
		t.Fatalf("subject = %q (%v), want %q", got, err, l.subject)
	}
	for _, name := range []string{"Message-Id", "In-Reply-To", "References"} {
		for id := range strings.FieldsSeq(header.Get(name)) {
			if !messageIDs.MatchString(id) {
				t.Fatalf("%s has %q", name, id)
			}
		}
	}
}

var messageIDs = regexp.MustCompile(`^<kelpie\.[a-z0-9-]{1,90}@example\.org>$`)

// TestHostileTexts puts each of these into all texts of a notice at once, and some of
// them into each text alone.
func TestHostileTexts(t *testing.T) {
	harmless := harmlessShape(t)
	put := func(gathered bool, text string, into func(path string) bool) {
		n := whole(gathered)
		eachText(reflect.ValueOf(n).Elem(), "", func(at string, set func(string)) {
			if into(at) {
				set("a" + text + "z")
			}
		})
		harmless.check(fatal{t, fmt.Sprintf("%q", text)}, &parameters{Notice: n})
	}
	for _, gathered := range []bool{false, true} {
		for _, text := range hostile {
			put(gathered, text, func(string) bool { return true })
		}
		var paths []string
		eachText(reflect.ValueOf(whole(gathered)).Elem(), "", func(path string, _ func(string)) { paths = append(paths, path) })
		if len(paths) < 100 {
			t.Fatalf("only %d texts", len(paths))
		}
		for i, path := range paths {
			put(gathered, hostile[i%len(hostile)], func(at string) bool { return at == path })
		}
	}
	for _, text := range hostile {
		harmless.check(fatal{t, text}, &parameters{Notice: whole(false), Subject: text, Text: text})
		harmless.check(fatal{t, text}, &parameters{Subject: text, Text: text})
	}
}

// fatal says of what a complaint is.
type fatal struct {
	t  *testing.T
	of string
}

func (f fatal) Fatalf(format string, args ...any) {
	f.t.Helper()
	f.t.Fatalf("%s: "+format, append([]any{f.of}, args...)...)
}

// TestHostileNotice puts any of these into all texts of a notice.
func TestHostileNotice(t *testing.T) {
	harmless := harmlessShape(t)
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.Custom(func(t *rapid.T) string {
			return strings.Join(rapid.SliceOfN(rapid.SampledFrom(hostile), 0, 3).Draw(t, "pieces"), rapid.SampledFrom([]string{"", " ", "a"}).Draw(t, "between"))
		})
		var n sdk.Notice
		fill(t, reflect.ValueOf(&n).Elem(), text)
		n.Case = "c" + n.Case
		if rapid.Bool().Draw(t, "one") {
			n.Gathered = nil
		}
		link := rapid.SampledFrom([]string{"", ours + "c/1", "javascript:alert(1)", "https://a@evil.net", "//evil.net", "http://x\"><script>", "https://kеlpie.example.org/", "https://evil.net\\@kelpie.example.org/", "https:evil.net"})
		n.Link, n.Answer = link.Draw(t, "link"), link.Draw(t, "answer")
		for i := range n.Options {
			n.Options[i].Link = link.Draw(t, "option")
		}
		for i := range n.Gathered {
			n.Gathered[i].Answer = link.Draw(t, "gathered")
		}
		harmless.check(t, &parameters{Notice: n, Subject: text.Draw(t, "subject"), Text: text.Draw(t, "text")})
	})
}

func fill(t *rapid.T, v reflect.Value, text *rapid.Generator[string]) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(text.Draw(t, "text"))
	case reflect.Slice:
		n := rapid.IntRange(0, 2).Draw(t, "length")
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(t, v.Index(i), text)
		}
	case reflect.Map:
		value := reflect.New(v.Type().Elem()).Elem()
		fill(t, value, text)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf(text.Draw(t, "key")), value)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Unix(rapid.Int64Range(-1, 2e9).Draw(t, "time"), 0)))
			return
		}
		for i := range v.NumField() {
			fill(t, v.Field(i), text)
		}
	case reflect.Int:
		v.SetInt(rapid.Int64Range(-5, 200).Draw(t, "number"))
	case reflect.Float64:
		v.SetFloat(rapid.Float64Range(-5, 200).Draw(t, "points"))
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "is"))
	case reflect.Pointer:
		if rapid.Bool().Draw(t, "known") {
			v.Set(reflect.New(v.Type().Elem()))
		}
	}
}

// FuzzNotice puts a text into one field of a notice, whichever.
func FuzzNotice(f *testing.F) {
	for i, text := range hostile {
		f.Add(i, text)
	}
	f.Add(3, `a.b@c.de`)
	harmless := harmlessShape(f)
	f.Fuzz(func(t *testing.T, field int, text string) {
		if regexp.MustCompile(`(?i)kelpie answer|kelpie\.example`).MatchString(text) {
			return // which the checks look for
		}
		n := whole(field%2 == 0)
		var sets []func(string)
		eachText(reflect.ValueOf(n).Elem(), "", func(_ string, set func(string)) { sets = append(sets, set) })
		sets[int(uint(field)/2%uint(len(sets)))](text)
		harmless.check(t, &parameters{Notice: n, Text: text})
	})
}

// FuzzJSON reads any notice.
func FuzzJSON(f *testing.F) {
	for _, gathered := range []bool{true, false} {
		encoded, err := json.Marshal(whole(gathered))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(encoded)
	}
	f.Fuzz(func(t *testing.T, encoded []byte) {
		p, err := newPage(&parameters{Notice: encoded}, false, time.Unix(1_800_000_000, 0), "example.org")
		if err != nil {
			return
		}
		plain, markup, err := p.render()
		if err != nil {
			t.Fatal(err)
		}
		if len(markup) > 2_000_000 || len(plain) > 1_000_000 {
			t.Fatalf("%d bytes of HTML, %d of text", len(markup), len(plain))
		}
		shapeOf(t, markup)
	})
}

func TestAddress(t *testing.T) {
	for _, c := range []struct{ given, want string }{
		{"kim@example.org", "<kim@example.org>"},
		{"Kim <kim@Example.ORG>", `"Kim" <kim@example.org>`},
		{"o'neil+x@example.org", "<o'neil+x@example.org>"},
		{"grüße@example.org", "<grüße@example.org>"},
		{"kim@bücher.example", "<kim@xn--bcher-kva.example>"},
		{`"admin@bank.example" <kim@example.org>`, "<kim@example.org>"},
		{"=?utf-8?q?x=40evil.net=2C?= <kim@example.org>", "<kim@example.org>"},
		{"=?utf-8?q?Kim=0D=0ABcc=3A_x?= <kim@example.org>", "<kim@example.org>"},
		{`"a b"@example.org`, ""},
		{`"a@b"@example.org`, ""},
		{`"a>, <b"@example.org`, ""},
		{"a@example.org, b@example.org", ""},
		{"a@example.org; b@example.org", ""},
		{"team: a@example.org, b@example.org;", ""},
		{"=?utf-8?q?a?=@example.org", ""},
		{"a%evil.net@example.org", ""},
		{"evil.net!a@example.org", ""},
		{"<@evil.net:a@example.org>", ""},
		{"a@example.org\r\nBcc: b@example.org", ""},
		{"a@example.org\nRCPT TO:<b@example.org>", ""},
		{"a\u202e@example.org", ""},
		{"a\u200b@example.org", ""},
		{"a@exam\u200bple.org", ""},
		{"a@example.org>", ""},
		{strings.Repeat("a", 65) + "@example.org", ""},
		{"", ""},
	} {
		got, err := parseAddress(c.given)
		if err != nil && c.want == "" {
			continue
		}
		if err != nil || got.Name == "" && "<"+got.Address+">" != c.want || got.Name != "" && got.String() != c.want {
			t.Errorf("parseAddress(%q) = %q %v (%v), want %q", c.given, got.Name, got.Address, err, c.want)
		}
	}
}

// FuzzAddress: an address that is taken is one, whoever reads it.
func FuzzAddress(f *testing.F) {
	for _, s := range []string{"kim@example.org", `"a b"@x.org`, "a@b.org, c@d.org", "=?utf-8?q?a?= <b@c.org>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, given string) {
		a, err := parseAddress(given)
		if err != nil {
			return
		}
		list, err := mail.ParseAddressList(a.String())
		if err != nil || len(list) != 1 || list[0].Address != a.Address {
			t.Fatalf("%q is %q, which reads as %v (%v)", given, a.String(), list, err)
		}
		if strings.ContainsAny(a.Address, " \t\r\n<>\"(),:;\\[]%!") || strings.Count(a.Address, "@") != 1 || strings.ContainsFunc(a.String(), unicode.IsControl) {
			t.Fatalf("%q is %q", given, a.String())
		}
	})
}

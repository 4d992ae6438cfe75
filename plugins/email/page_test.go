package main

import (
	"encoding/json"
	"flag"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"github.com/kelpie-sec/kelpie/sdk"
	"golang.org/x/net/html"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write the golden files")

type sample struct {
	Subject, Text string
	Notice        any
	Attempt       int
}

func load(t testing.TB, path string) (*page, sample) {
	t.Helper()
	encoded, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var s sample
	if err := json.Unmarshal(encoded, &s); err != nil {
		t.Fatal(err)
	}
	p, err := newPage(&parameters{Notice: s.Notice, Subject: s.Subject, Text: s.Text}, s.Attempt > 1)
	if err != nil {
		t.Fatal(err)
	}
	return p, s
}

// TestMails renders each testdata/*.json and compares subject, text and HTML with the
// golden files.
func TestMails(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.json")
	if err != nil || len(paths) == 0 {
		t.Fatal("no samples: ", err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			p, _ := load(t, path)
			text, markup, err := p.render()
			if err != nil {
				t.Fatal(err)
			}
			base := strings.TrimSuffix(path, ".json")
			for name, got := range map[string]string{base + ".txt": "Subject: " + p.subjectLine("[Kelpie]") + "\n\n" + text, base + ".html": markup} {
				if *update {
					if err := os.WriteFile(name, []byte(got), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(name)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(string(want), got); diff != "" {
					t.Errorf("%s: %s", name, diff)
				}
			}
			checkText(t, text)
		})
	}
}

func checkText(t interface{ Fatalf(string, ...any) }, text string) {
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if width(line) > 80 && !strings.HasPrefix(line, "The case in Kelpie: ") {
			t.Fatalf("a line of %d columns: %q", width(line), line)
		}
		if i := strings.IndexFunc(line, func(r rune) bool { return !unicode.IsGraphic(r) }); i >= 0 {
			t.Fatalf("a character that is not seen in %q", line)
		}
	}
}

// elements counts the tags of a page, and collects the addresses of its links.
func elements(t interface{ Fatalf(string, ...any) }, markup string) (map[string]int, []string) {
	tags, links := map[string]int{}, []string{}
	tokens := html.NewTokenizer(strings.NewReader(markup))
	for {
		switch tokens.Next() {
		case html.ErrorToken:
			if tokens.Err() != io.EOF {
				t.Fatalf("the HTML cannot be read: %v", tokens.Err())
			}
			return tags, links
		case html.CommentToken:
			t.Fatalf("a comment in the HTML")
		case html.StartTagToken, html.SelfClosingTagToken:
			token := tokens.Token()
			tags[token.Data]++
			for _, a := range token.Attr {
				switch {
				case a.Key == "href":
					links = append(links, a.Val)
				case strings.HasPrefix(a.Key, "on") || a.Key == "src" || a.Key == "action" || a.Key == "background":
					t.Fatalf("the HTML has %s=%q", a.Key, a.Val)
				}
			}
		}
	}
}

// TestHostileNotice puts what attackers write into every text of a notice.
func TestHostileNotice(t *testing.T) {
	p, _ := load(t, "testdata/case.json")
	_, markup, err := p.render()
	if err != nil {
		t.Fatal(err)
	}
	harmless, _ := elements(t, markup)
	allowed := slices.Collect(maps.Keys(harmless))
	hostile := []string{
		"<script>alert(1)</script>", "\" onload=\"x", "'><a href=\"http://evil.example.net\">", "{{.Title}}", "]]>", "<!--", "-->", "</style>", "&lt;",
		"http://evil.example.net/x", "HTTPS://EVIL.example.net", "javascript:alert(1)", "www.evil.net", "\r\nBcc: x@evil.net", "\r\n.\r\nMAIL FROM:<x>",
		"\u202e", "\u200b", "\x00", "\x1b]8;;http://evil.net\x07", "\xff\xfe", "=?utf-8?Q?x?=", strings.Repeat("a", 300), strings.Repeat("世", 200), "\u0301\u0301\u0301\u0301", "", " ",
	}
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.Custom(func(t *rapid.T) string {
			return strings.Join(rapid.SliceOfN(rapid.SampledFrom(hostile), 0, 3).Draw(t, "pieces"), rapid.SampledFrom([]string{"", " ", "a"}).Draw(t, "between"))
		})
		var n sdk.Notice
		fill(t, reflect.ValueOf(&n).Elem(), text)
		n.Case = "c" + n.Case
		n.Link = rapid.SampledFrom([]string{"", "https://kelpie.example.org/c/1", "javascript:alert(1)", "https://a@evil.net", "//evil.net", "http://x\"><script>"}).Draw(t, "link")
		given := &parameters{Notice: n, Subject: text.Draw(t, "subject"), Text: text.Draw(t, "text")}
		p, err := newPage(given, rapid.Bool().Draw(t, "repeat"))
		if err != nil {
			t.Fatal(err)
		}
		plain, markup, err := p.render()
		if err != nil {
			t.Fatal(err)
		}
		checkText(t, plain)
		tags, links := elements(t, markup)
		for tag := range tags {
			if !slices.Contains(allowed, tag) {
				t.Fatalf("the HTML has a <%s>", tag)
			}
		}
		for _, link := range links {
			if !strings.HasPrefix(link, "https://kelpie.example.org/") && !strings.HasPrefix(link, "http://x") {
				t.Fatalf("the HTML links to %s", link)
			}
		}
		for _, body := range []string{plain, html.UnescapeString(markup)} {
			body = strings.ReplaceAll(body, p.Link, "")
			for _, live := range []string{"http://evil", "https://evil", "www.evil"} {
				if strings.Contains(strings.ToLower(body), live) {
					t.Fatalf("%q would become a link", live)
				}
			}
		}
		subject := p.subjectLine("[Kelpie]")
		if len(subject) > maxSubject || strings.ContainsFunc(subject, unicode.IsControl) {
			t.Fatalf("subject %q", subject)
		}
		checkHeaders(t, subject, plain, markup)
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
	case reflect.Pointer:
		if rapid.Bool().Draw(t, "known") {
			v.Set(reflect.New(v.Type().Elem()))
		}
	}
}

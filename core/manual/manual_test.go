package manual

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/renderer/html"

	"github.com/kelpie-sec/kelpie/core/model"
)

// attacks are what a hostile plugin writes to get markup, a link or a script into its
// page, to break out of a table, a code span or a code block, or to hide.
var attacks = []string{
	"<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<!-- ", "-->", "<a href=\"https://evil.example\">here</a>", "&lt;b&gt; &amp; &#60;",
	"[here](https://evil.example)", "![x](https://evil.example/x.png)", "[x]: https://evil.example", "[x][x]", "[^1]", "<https://evil.example>",
	"https://evil.example", "HTTP://evil.example/a", "www.evil.example", "WWW.evil.example", "mail eve@evil.example now", "mailto:eve@evil.example", "ftp://evil.example", "evil.example",
	"**bold** *it* __b__ _i_ ~~gone~~", "a*b*c a_b_c", "`code`", "``", "`", "```", "````\nx", "~~~", "title = <<EOT\n```\n\n# title\n\n````\nEOT\n", "$x$ $$y$$",
	"# title", "\n# title", "\n\n# title\n\n", "title\n===", "title\n---", "---", "***", "===", "> quote", "- item", "* item", "+ item", "1. item", "1) item", "1", "12", "- [ ] task", ": definition",
	"    code", "\tcode", "a | b", "|", "\\|", "\\", "\\\\|", "a\\", "a`|`b", "`a|b", "| a |\n| --- |", "a  \nb", "a\\\nb",
	"{{ site }} {% x %} ${x}", "\u202etxt.exe\u202c", "a\u200bb", "\x1b[31mred\x1b[0m", "\x00", "\xff\xfe", "a\r\nb\u2028c\u0085d",
	"(\"`x`\")", "'`", "`.", "!`[x](y)", "C# AT&T x=1 50% <3 ~5 ^2", "", " ", "…",
}

// said fills every text of a plugin that the host does not check with one.
func said(text string) model.Plugin {
	raw, _ := json.Marshal(text)
	p := filled()
	walk(reflect.ValueOf(&p).Elem(), func(v reflect.Value) {
		switch {
		case v.Type() == reflect.TypeFor[json.RawMessage]():
			v.Set(reflect.ValueOf(json.RawMessage(raw)))
		case v.Kind() == reflect.String && v.String() == "text":
			v.SetString(text)
		}
	})
	if plainURL.MatchString(text) {
		p.Homepage = "harmless" // it may link to that
	}
	return p
}

// filled is a plugin with everything that one can say: "text" stands where it may say
// anything.
func filled() model.Plugin {
	attribute := model.Attribute{
		Name: "path", Type: model.Type{Kind: "string"}, Default: json.RawMessage(`1`), Example: json.RawMessage(`1`),
		Doc: "text", Deprecated: "text", RenamedFrom: "text", OneOf: []string{"text", "text"},
	}
	must := attribute
	must.Name, must.Required, must.Deprecated, must.OneOf = "must", true, "", nil
	flat := model.Schema{Attributes: []model.Attribute{attribute, must}, Doc: "text"}
	schema := flat
	for _, nesting := range []string{"single", "list", "map"} {
		schema.Blocks = append(schema.Blocks, model.Block{Name: nesting, Nesting: nesting, Required: true, Schema: flat, Doc: "text"})
	}
	return model.Plugin{
		Name: "plugin", Version: "text", Homepage: "text", Connection: &schema,
		Read: []string{"text", "{text}"}, Write: []string{"text"}, Network: []string{"text", "tcp:text", "listen:text"},
		Connectors: []model.Connector{
			{Kind: model.Detector, Summary: "text", Schema: schema, DefaultMapping: "text"},
			{Kind: model.Enrichment, Summary: "text", Schema: schema, Takes: []string{"text", "text"}, BatchLimit: 5, DefaultTTL: 90},
			{Kind: model.Action, Summary: "text", Schema: schema, Answers: true, Verbs: []model.Verb{
				{Name: "notify", Targets: []string{"text"}, Summary: "text", Parameters: flat, Undo: true, Check: true, Idempotent: true, Settle: 60},
				{Name: "run", Targets: []string{"host"}, Parameters: flat},
			}},
		},
	}
}

// walk visits every field below v.
func walk(v reflect.Value, visit func(reflect.Value)) {
	switch {
	case v.Type() == reflect.TypeFor[json.RawMessage]() && v.Len() == 0:
	case v.Type() == reflect.TypeFor[json.RawMessage](), v.Kind() == reflect.String:
		visit(v)
	case v.Kind() == reflect.Pointer && !v.IsNil():
		walk(v.Elem(), visit)
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			walk(v.Index(i), visit)
		}
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			walk(v.Field(i), visit)
		}
	}
}

// render is a page as a browser gets it, by a renderer that lets everything through.
func render(t testing.TB, text string) string {
	t.Helper()
	var out bytes.Buffer
	md := goldmark.New(goldmark.WithExtensions(extension.GFM, extension.Footnote, extension.DefinitionList), goldmark.WithRendererOptions(html.WithUnsafe()))
	if err := md.Convert([]byte(text), &out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

var (
	tag    = regexp.MustCompile(`<[^>]*>`)
	inline = regexp.MustCompile(`</?code>`)
)

// skeleton is a page's markup without its text. Code within a line is left out: what
// looks like code is shown so.
func skeleton(page string) []string {
	blocks := regexp.MustCompile(`(?s)<pre><code[^>]*>.*?</code></pre>`).ReplaceAllString(page, "<pre/>")
	return tag.FindAllString(inline.ReplaceAllString(blocks, ""), -1)
}

// TestHostile: whatever a plugin says, its page has the markup of one that says
// nothing of interest.
func TestHostile(t *testing.T) {
	want := skeleton(render(t, Plugin(said("harmless"), "")))
	if len(want) < 100 || !strings.Contains(strings.Join(want, ""), "<table>") {
		t.Fatalf("the page is not rendered: %v", want)
	}
	index := skeleton(render(t, Index([]model.Plugin{said("harmless")})))
	for _, a := range attacks {
		for _, text := range []string{a, "see (" + a + ")", a + "|" + a} {
			if strings.TrimSpace(text) == "" {
				continue // then there is nothing to show, and less is shown
			}
			unharmed(t, text, want, index)
		}
	}
}

func unharmed(t *testing.T, text string, want, index []string) {
	t.Helper()
	page := Plugin(said(text), "")
	if diff := cmp.Diff(want, skeleton(render(t, page))); diff != "" {
		t.Errorf("%q changes the page (-want +got):\n%s", text, diff)
	}
	if diff := cmp.Diff(index, skeleton(render(t, Index([]model.Plugin{said(text)})))); diff != "" {
		t.Errorf("%q changes the index (-want +got):\n%s", text, diff)
	}
	for _, r := range page {
		if r < ' ' && r != '\n' || r >= 0x7f && r < 0xa0 || strings.ContainsRune("\u202e\u200b\u2028", r) {
			t.Errorf("%q puts %U into the page", text, r)
		}
	}
}

// TestReadable: what is said can still be read: no word is lost.
func TestReadable(t *testing.T) {
	for _, a := range attacks {
		if !utf8.ValidString(a) || strings.ContainsAny(a, "\x00\x1b\u202e\u200b") {
			continue // shown by number
		}
		got := strings.Join(strings.Fields(unescape(tag.ReplaceAllString(render(t, "x "+prose(a)), ""))), " ")
		if want := strings.Join(strings.Fields("x "+a), " "); got != want {
			t.Errorf("%q is read as %q", want, got)
		}
	}
}

func unescape(s string) string {
	return strings.NewReplacer("&lt;", "<", "&gt;", ">", "&quot;", `"`, "&amp;", "&").Replace(s)
}

// everywhere is a page that has a text at each kind of place.
func everywhere(text string) string {
	var w page
	w.line("# %s\n\n%s\n\n- %s: %s\n- %s", code(text), prose(stop(text)), code(text), prose(text), prose(text))
	w.line("\n**Block %s**: x\n\n%s", code(text), prose(text))
	w.table("a", "b")
	w.row(prose(text)+" One of "+codes([]string{text, text})+".", code(text))
	w.fence("hcl", text)
	w.line("\nend")
	return w.String()
}

// FuzzText: what TestHostile says, faster, of a page that says little else.
func FuzzText(f *testing.F) {
	for _, a := range attacks {
		f.Add(a)
	}
	want := skeleton(render(f, everywhere("harmless")))
	f.Fuzz(func(t *testing.T, text string) {
		if visible(text) == "" {
			t.Skip() // then less is shown
		}
		page := everywhere(text)
		if diff := cmp.Diff(want, skeleton(render(t, page))); diff != "" {
			t.Errorf("%q changes the page (-want +got):\n%s\n%s", text, diff, page)
		}
	})
}

// TestHomepage: a link is made of a plain address alone.
func TestHomepage(t *testing.T) {
	for text, link := range map[string]bool{
		"https://example.org/kelpie/tree/main?x=1#top": true, "http://example.org:8080": true,
		"javascript:alert(1)": false, "https://example.org/>x": false, "https://user:secret@example.org/": false, "https://exa mple.org": false, "//example.org": false,
	} {
		page := Plugin(model.Plugin{Name: "a", Version: "1.0.0", Homepage: text}, "")
		if got := strings.Contains(render(t, page), "<a href="); got != link {
			t.Errorf("%s is a link: %v", text, got)
		}
	}
}

// TestAnchors: the places that pages link to are there.
func TestAnchors(t *testing.T) {
	slug := func(heading string) string {
		kept := regexp.MustCompile("[^a-z0-9 _-]").ReplaceAllString(strings.ToLower(heading), "")
		return strings.ReplaceAll(kept, " ", "-")
	}
	pages := map[string]string{
		"reference.md": Reference(), "expressions.md": Expressions(), "": Plugin(filled(), ""),
	}
	anchors := map[string]bool{}
	for name, text := range pages {
		for l := range strings.Lines(text) {
			if marks, heading, ok := strings.Cut(strings.TrimSpace(l), " "); ok && strings.Trim(marks, "#") == "" {
				anchors[name+"#"+slug(heading)] = true
			}
		}
	}
	seen := 0
	for name, text := range pages {
		for _, m := range regexp.MustCompile(`\]\(([^)]*)\)`).FindAllStringSubmatch(text, -1) {
			file, at, ok := strings.Cut(m[1], "#")
			if !ok {
				continue
			}
			seen++
			if file == "" {
				file = name
			}
			if !anchors[file+"#"+at] {
				t.Errorf("%s links to %s, which is not there", name, m[1])
			}
		}
	}
	if seen < 15 {
		t.Errorf("only %d links were looked at", seen)
	}
}

// TestExpressionsWhole: the page has every root at every place, and every function.
func TestExpressionsWhole(t *testing.T) {
	text := Expressions()
	for _, want := range []string{
		"| `case.assets.criticality` | number |", "| `case.score` | object | What the `score` block makes of it. Not in evidence of the score. |",
		"| `step.NAME.result` | text |", "| `event.raw` | any |", "`cidr_contains(", "| `each.value` | any |",
		"| evidence of the score | `for_each`, `when`, `points`, `because`, `source`, `at`, `reliability` | yes | yes | – | yes | yes | – | – |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %q", want)
		}
	}
	if rows := strings.Count(text, "\n| `"); rows < 150 {
		t.Errorf("only %d rows", rows)
	}
	if empty := regexp.MustCompile(`(?m)^\| .*\|  \|$`).FindAllString(text, -1); len(empty) > 0 {
		t.Errorf("nothing is said of\n%s", strings.Join(empty, "\n"))
	}
}

// TestPlugin: what is worth knowing of a plugin is on its page.
func TestPlugin(t *testing.T) {
	p := filled()
	p.Homepage, p.Version = "https://example.org", "1.2.3"
	text := Plugin(p, Repository)
	for _, want := range []string{
		"Version `1.2.3`, from <https://example.org>.", "connects to `text` by TCP", "listens on `text`", "## `connection \"plugin\"`",
		"| `must` | string | **required** |", "**Deprecated**: text.", "It was called `text`, which is still taken.", "One of `text`, `text`.",
		"**Block `map`**: one or more, each with a name", "Up to 5 questions", "good for 90 seconds", "### Default mapping",
		"- It can be undone.", "up to 1 minute later", "action.example.notify", fmt.Sprintf("](%sreference.md#detector-plugin-name)", Repository),
		"It hands back what people choose.",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %q in\n%s", want, text)
		}
	}
}

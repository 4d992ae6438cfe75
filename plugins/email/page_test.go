package main

import (
	"encoding/json"
	"flag"
	"iter"
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
)

var update = flag.Bool("update", false, "write the golden files")

type sample struct {
	Subject, Text string
	Notice        any
	Attempt       int
	Now           time.Time // when it is sent
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
	p, err := newPage(&parameters{Notice: s.Notice, Subject: s.Subject, Text: s.Text}, s.Attempt > 1, s.Now, "example.org")
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
		if width(line) > columns && !isLink(strings.TrimSpace(line)) && !strings.Contains(line, "  kelpie answer ") {
			t.Fatalf("a line of %d columns: %q", width(line), line)
		}
		if i := strings.IndexFunc(line, func(r rune) bool { return !unicode.IsGraphic(r) }); i >= 0 {
			t.Fatalf("a character that is not seen in %q", line)
		}
	}
}

// ours is where the core's links lead.
const ours = "https://kelpie.example.org/"

func isLink(s string) bool { return strings.HasPrefix(s, ours) && !strings.ContainsAny(s, " \t") }

// TestSize: some programs cut a mail of 102 KB.
func TestSize(t *testing.T) {
	for _, gathered := range []bool{true, false} {
		n := whole(gathered)
		for list := range lists(n) {
			for list.Len() > 0 && list.Len() < 2*sdk.MaxNoticeList {
				list.Set(reflect.Append(list, list.Index(0)))
			}
		}
		n.Score.Factors = n.Score.Factors[:1]
		for i := range n.Score.Factors {
			for len(n.Score.Factors[i].Lines) < 100 {
				n.Score.Factors[i].Lines = append(n.Score.Factors[i].Lines, n.Score.Factors[i].Lines[0])
			}
		}
		n.Score.Factors = slices.Repeat(n.Score.Factors, 100)
		p, err := newPage(&parameters{Notice: n}, true, time.Unix(1_800_000_000, 0), "example.org")
		if err != nil {
			t.Fatal(err)
		}
		_, markup, err := p.render()
		if err != nil || len(markup) > 100_000 {
			t.Errorf("%d bytes of HTML, %v", len(markup), err)
		}
	}
}

// lists of a notice that are as long as they happen to be; options are the operator's.
func lists(n *sdk.Notice) iter.Seq[reflect.Value] {
	return func(yield func(reflect.Value) bool) {
		v := reflect.ValueOf(n).Elem()
		for i := range v.NumField() {
			if f := v.Field(i); f.Kind() == reflect.Slice && v.Type().Field(i).Name != "Options" && !yield(f) {
				return
			}
		}
	}
}

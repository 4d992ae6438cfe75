package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/kelpie-sec/kelpie/sdk"
)

func TestLine(t *testing.T) {
	for _, c := range []struct {
		in   string
		n    int
		want string
	}{
		{"short", 10, "short"},
		{"exactly ten", 11, "exactly ten"},
		{"longer than ten", 10, "longer th…"},
		{"two\nlines", 20, "two lines"},
		{"\x1b[31mred\x1b[0m", 40, `\x1b[31mred\x1b[0m`},
		{"a\u202eb", 40, `a\u202eb`},
		{"bell\a, delete\x7f, csi \u009b", 60, `bell\x07, delete\x7f, csi \x9b`},
		{"not utf-8 \xff", 60, `not utf-8 \xff`},
		{"carriage\rreturn", 60, `carriage\x0dreturn`},
		{"日本語日本語", 7, "日本語…"},
		{"日本語日本語", 8, "日本語…"},
		{strings.Repeat("e\u0301", 100), 8, "e\u0301e\u0301e\u0301e…"},
		{"nothing", 0, ""},
		{"", 5, ""},
	} {
		if got := line(c.in, c.n); got != c.want {
			t.Errorf("line(%q, %d) = %q, want %q", c.in, c.n, got, c.want)
		}
	}
}

// Whatever comes, what is printed fits and holds nothing that a terminal obeys.
func TestTextIsHarmless(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(rapid.String(), rapid.Custom(func(t *rapid.T) string {
			return string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes"))
		})).Draw(t, "text")
		n := rapid.IntRange(2, 100).Draw(t, "columns")
		lines := append(wrap(s, n), line(s, n))
		for _, l := range lines {
			if columns(l) > n {
				t.Fatalf("%q takes %d columns of %d", l, columns(l), n)
			}
			for _, r := range l {
				if !harmless(r) || r == '\n' {
					t.Fatalf("%q has %q", l, r)
				}
			}
			if !utf8.ValidString(l) {
				t.Fatalf("%q is not UTF-8", l)
			}
		}
	})
}

func TestWrapLosesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringMatching(`[a-zé日 ]{0,200}`).Draw(t, "text")
		n := rapid.IntRange(2, 40).Draw(t, "columns")
		got := strings.ReplaceAll(strings.Join(wrap(s, n), ""), " ", "")
		if want := strings.ReplaceAll(s, " ", ""); got != want {
			t.Fatalf("wrapped %q, was %q", got, want)
		}
	})
}

func TestPrintJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.MapOf(rapid.String(), rapid.String()).Draw(t, "value")
		var b bytes.Buffer
		if err := printJSON(&b, in); err != nil {
			t.Fatal(err)
		}
		for _, r := range b.String() {
			if !harmless(r) {
				t.Fatalf("%q is printed as it is", r)
			}
		}
		var out map[string]string
		if err := json.Unmarshal(b.Bytes(), &out); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(in, out); d != "" {
			t.Fatal(d)
		}
	})
}

func TestValues(t *testing.T) {
	all := []sdk.Observable{{Kind: "user", Value: "kim"}, {Kind: "host", Value: "ws-17"}, {Kind: "ip", Value: "10.1.2.3"}}
	for n, want := range map[int]string{40: "kim, ws-17, 10.1.2.3", 15: "kim, ws-17 +1", 14: "kim, ws-17 +1", 12: "kim +2", 2: "k…"} {
		if got := values(all, n); got != want {
			t.Errorf("values in %d columns = %q, want %q", n, got, want)
		}
	}
	if got, want := several(all, 2), "user kim, host ws-17 and 1 more"; got != want {
		t.Errorf("several = %q, want %q", got, want)
	}
}

func TestAgo(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for d, want := range map[time.Duration]string{
		0: "now", -time.Hour: "now", 59 * time.Second: "59s ago", 90 * time.Minute: "1h ago", 47 * time.Hour: "47h ago", 49 * time.Hour: "2d ago",
	} {
		if got := ago(now.Add(-d), now); got != want {
			t.Errorf("ago(%s) = %q, want %q", d, got, want)
		}
	}
	if got := ago(time.Time{}, now); got != "-" {
		t.Errorf("ago of no time = %q", got)
	}
}

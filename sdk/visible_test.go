package sdk

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestVisible(t *testing.T) {
	for text, want := range map[string]string{
		"plain text":                      "plain text",
		"Grüße, 世界 🙂":                     "Grüße, 世界 🙂",
		"a\r\nBcc: x":                     "a⟨U+000D⟩⟨U+000A⟩Bcc: x",
		"\x1b[2Jgone\x00":                 "⟨U+001B⟩[2Jgone⟨U+0000⟩",
		"invoice\u202efdp.exe":            "invoice⟨U+202E⟩fdp.exe",
		"pay\u200bpal":                    "pay⟨U+200B⟩pal",
		"a\xff\xfeb":                      "a⟨FF⟩⟨FE⟩b",
		"a\ufffdb":                        "a\ufffdb",
		"e\u0301":                         "e\u0301",
		"e\u0301\u0301\u0301\u0301\u0301": "e\u0301\u0301\u0301⟨U+0301⟩⟨U+0301⟩",
		"\u2800\u3164":                    "⟨U+2800⟩⟨U+3164⟩",
		"a\u2028b":                        "a⟨U+2028⟩b",
		"\U000e0041":                      "⟨U+E0041⟩",
	} {
		if got := Visible(text); got != want {
			t.Errorf("Visible(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestDefanged(t *testing.T) {
	for kind, values := range map[string]map[string]string{
		Domain: {"evil.example.org": "evil[.]example[.]org"},
		IP:     {"192.0.2.1": "192[.]0[.]2[.]1"},
		Email:  {"kim@example.org": "kim[@]example[.]org"},
		URL: {
			"https://evil.example.org/a.php?b=c.d": "hxxps://evil[.]example[.]org/a[.]php?b=c[.]d",
			"ldap://evil.example.org:389/a":        "ldap[:]//evil[.]example[.]org:389/a",
		},
	} {
		for value, want := range values {
			if got := Defanged(value); got != want {
				t.Errorf("Defanged(%q) = %q, want %q", value, got, want)
			}
			if back, err := Canonical(kind, want); err != nil || back.Value != value {
				t.Errorf("Canonical(%s, %q) = %q, %v; want %q", kind, want, back.Value, err, value)
			}
		}
	}
	for text, want := range map[string]string{
		"see HTTPS://evil.example.org/x now": "see hxxps://evil[.]example[.]org/x now",
		"${jndi:ldap://evil.example.org/a}":  "${jndi:ldap[:]//evil[.]example[.]org/a}",
		"www.evil and mailto:a@b.cd":         "www[.]evil and mailto[:]a@b[.]cd",
		"10.0.0.1 was seen 3.5 times. Once.": "10.0.0.1 was seen 3.5 times. Once.",
		"/.env and shell.php":                "/.env and shell[.]php",
		"bücher.example":                     "bücher[.]example",
	} {
		if got := DefangedText(text); got != want {
			t.Errorf("DefangedText(%q) = %q, want %q", text, got, want)
		}
		if got := DefangedText(want); got != want {
			t.Errorf("DefangedText(%q) = %q, want it unchanged", want, got)
		}
	}
}

func FuzzVisible(f *testing.F) {
	f.Add("invoice\u202efdp.exe\xff http://a.b/c")
	f.Fuzz(func(t *testing.T, text string) {
		visible := Visible(text)
		if !utf8.ValidString(visible) || strings.ContainsFunc(visible, hidden) {
			t.Fatalf("Visible(%q) = %q", text, visible)
		}
		defanged := DefangedText(visible)
		if strings.Contains(strings.ToLower(defanged), "http://") || strings.Contains(strings.ToLower(defanged), "https://") {
			t.Fatalf("DefangedText(%q) = %q", visible, defanged)
		}
	})
}

package host

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// maxText bounds a plugin's message for people, in bytes.
	maxText = 2 << 10
	// minSecret is the length below which a value cannot be scrubbed: replacing "a"
	// everywhere would leave no text, and hide nothing.
	minSecret = 4
	hidden    = "(secret)"
)

// scrubber takes secrets out of what plugins say, by value, in the forms in which
// they turn up: as they are, in JSON, in a URL, in base64, and each long line of a
// text of several. It may be used concurrently.
type scrubber struct {
	replacer *strings.Replacer
	longest  int // in bytes, of a form
}

func newScrubber(secrets []string) *scrubber {
	forms := map[string]bool{}
	for _, secret := range secrets {
		addForms(forms, secret)
		if lines := strings.Split(secret, "\n"); len(lines) > 1 {
			for _, line := range lines {
				if line = strings.TrimSpace(line); len(line) >= 8 {
					addForms(forms, line)
				}
			}
		}
	}
	s := &scrubber{}
	if len(forms) == 0 {
		return s
	}
	// Of several that fit, the replacer takes the first.
	ordered := make([]string, 0, len(forms))
	for form := range forms {
		ordered = append(ordered, form)
		s.longest = max(s.longest, len(form))
	}
	slices.SortFunc(ordered, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b))
	})
	pairs := make([]string, 0, 2*len(ordered))
	for _, form := range ordered {
		pairs = append(pairs, form, hidden)
	}
	s.replacer = strings.NewReplacer(pairs...)
	return s
}

func addForms(forms map[string]bool, secret string) {
	add := func(form string) {
		if len(form) >= minSecret {
			forms[form] = true
		}
	}
	trimmed := strings.TrimSpace(secret)
	if len(trimmed) < minSecret {
		return
	}
	for _, value := range []string{secret, trimmed} {
		add(value)
		add(url.QueryEscape(value))
		add(url.PathEscape(value))
		add(strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(value)), "="))
		add(strings.TrimRight(base64.URLEncoding.EncodeToString([]byte(value)), "="))
		if encoded, err := json.Marshal(value); err == nil {
			add(string(encoded[1 : len(encoded)-1]))
		}
	}
}

// text scrubs s and leaves it else as it is.
func (s *scrubber) text(t string) string {
	if s.replacer == nil {
		return t
	}
	return s.replacer.Replace(t)
}

func (s *scrubber) texts(list []string) []string {
	if len(list) == 0 {
		return nil
	}
	out := make([]string, len(list))
	for n, t := range list {
		out[n] = s.text(t)
	}
	return out
}

// holds tells whether there is a secret in t.
func (s *scrubber) holds(t string) bool { return s.replacer != nil && s.replacer.Replace(t) != t }

// message makes a text fit for people: scrubbed, one line, printable, bounded.
func (s *scrubber) message(t string) string {
	if len(t) > maxText+s.longest { // a secret that the cut parts must be whole here
		t = t[:maxText+s.longest]
	}
	return cut(plain(s.text(t)), maxText)
}

// plain makes a text one printable line, so that it can do nothing to a terminal.
func plain(t string) string {
	clean := strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case r == utf8.RuneError || unicode.IsPrint(r):
			return r
		}
		return -1
	}, t)
	return strings.TrimSpace(strings.ToValidUTF8(clean, "\uFFFD"))
}

// cut bounds a text to so many bytes, not within a character.
func cut(t string, most int) string {
	if len(t) <= most {
		return t
	}
	return strings.ToValidUTF8(t[:most], "") + "…"
}

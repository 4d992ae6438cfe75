package release

import (
	"strings"
	"testing"
)

func TestConstraint(t *testing.T) {
	for _, c := range []struct {
		text, versions, want string
	}{
		{"", "1.0.0 1.10.0 1.9.0", "1.10.0"},
		{"", "1.0.0 2.0.0-beta.1", "1.0.0"},
		{"~> 1.4", "1.3.0 1.4.0 1.5.2 2.0.0", "1.5.2"},
		{"~> 1.4.1", "1.4.0 1.4.9 1.5.0", "1.4.9"},
		{"1.4.0", "1.4.0 1.5.0", "1.4.0"},
		{">= 1, < 2", "0.9.0 1.1.0 2.0.0", "1.1.0"},
		{"2.0.0-beta.1", "1.0.0 2.0.0-beta.1", "2.0.0-beta.1"},
		{"~> 3.0", "1.0.0", ""},
	} {
		parsed, err := ParseConstraint(c.text)
		if got := parsed.Newest(strings.Fields(c.versions)); err != nil || got != c.want {
			t.Errorf("%q of %s: %s, %v; want %s", c.text, c.versions, got, err, c.want)
		}
	}
	for _, text := range []string{"latest", "~ 1", "1.4;"} {
		if _, err := ParseConstraint(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

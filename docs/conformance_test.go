package docs

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/kelpie-sec/kelpie/sdk"
	"github.com/kelpie-sec/kelpie/sdk/conformance"
)

// TestConformancePage holds the table of checks to those that there are.
func TestConformancePage(t *testing.T) {
	page := read(t, "conformance.md")
	_, table, _ := strings.Cut(page, "## The checks")
	checks := conformance.Checks()
	for _, c := range checks {
		if row := fmt.Sprintf("| `%s` | %s |", c.Name, c.Why); !strings.Contains(table, row) {
			t.Errorf("conformance.md lacks the line\n%s", row)
		}
	}
	if rows := strings.Count(table, "\n| `"); rows != len(checks) {
		t.Errorf("conformance.md has %d checks, and there are %d", rows, len(checks))
	}
}

// TestHandshakePage holds the page's constants to the SDK's.
func TestHandshakePage(t *testing.T) {
	page, shake := read(t, "handshake.md"), sdk.Handshake()
	for _, constant := range []string{shake.MagicCookieKey, shake.MagicCookieValue, sdk.LogLevelEnv, fmt.Sprint(sdk.MaxMessage)} {
		if !strings.Contains(page, constant) {
			t.Errorf("handshake.md lacks %s", constant)
		}
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

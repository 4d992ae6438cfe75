package config

import (
	"os"
	"strings"
	"testing"
)

// TestRulesPage: what the page about rules shows is a configuration.
func TestRulesPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/rules.md")
	if err != nil {
		t.Fatal(err)
	}
	text := "detector \"file\" \"auth\" {\n path = \"/auth.json\"\n}\naction \"email\" \"mail\" {\n server = \"smtp://a\"\n from = \"a@example.org\"\n}\n" +
		"response \"tell\" {\n step \"s\" {\n do = action.mail.notify\n to = [\"a@example.org\"]\n }\n}\n"
	shown := 0
	for i, part := range strings.Split(string(page), "```") {
		if code, ok := strings.CutPrefix(part, "hcl\n"); ok && i%2 == 1 {
			text += code
			shown++
		}
	}
	if shown < 3 {
		t.Errorf("the page shows only %d", shown)
	}
	if _, _, diags := parseText(t, text, Options{}); len(diags) > 0 {
		t.Errorf("%v", diags)
	}
}

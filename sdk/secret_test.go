package sdk

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestScrubFindsASecretInEveryForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		secret := rapid.StringN(6, 40, -1).Filter(func(s string) bool {
			return strings.TrimSpace(s) == s
		}).Draw(t, "secret")
		scrub := &secrets{}
		scrub.add(secret)
		encoded, err := json.Marshal(map[string]string{"k": secret})
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{
			secret, fmt.Sprintf("%q", secret), string(encoded), "https://x/?k=" + url.QueryEscape(secret),
			"https://x/" + url.PathEscape(secret), (&url.URL{Scheme: "https", Host: "x", User: url.UserPassword("u", secret)}).String(),
			base64.StdEncoding.EncodeToString([]byte(secret)),
		} {
			if got := scrub.scrub("a " + text + " b"); !strings.Contains(got, "(secret)") {
				t.Fatalf("%q stays %q", text, got)
			}
		}
	})
}

func TestScrub(t *testing.T) {
	scrub := &secrets{}
	if got := scrub.scrub("as it is"); got != "as it is" {
		t.Errorf("without secrets: %q", got)
	}
	scrub.add("", " ", "hunter", "hunter2")
	scrub.add("-----BEGIN KEY-----\nMIIEvQIBADANBg\nend\n")
	for text, want := range map[string]string{
		"hunter2 hunter":        "(secret) (secret)",
		"a b":                   "a b",
		"line MIIEvQIBADANBg x": "line (secret) x",
		"the end":               "the end", // a short line of a long secret is no secret
	} {
		if got := scrub.scrub(text); got != want {
			t.Errorf("scrub(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestSecretValues(t *testing.T) {
	type inner struct {
		Key string `kelpie:"key,secret" renamed_from:"old_key"`
	}
	type config struct {
		Open   string            `kelpie:"open"`
		Keys   []string          `kelpie:"keys,secret"`
		Heads  map[string]string `kelpie:"heads,secret"`
		One    inner             `kelpie:"one"`
		Many   []inner           `kelpie:"many"`
		Routes map[string]inner  `kelpie:"routes"`
	}
	b, err := bodyOf(&config{})
	if err != nil {
		t.Fatal(err)
	}
	tree, complaint := parseObject([]byte(`{"open":"no","keys":["a","b"],"heads":{"h":"c"},"one":{"key":"d","open":"no"},
		"many":[{"key":"e"},{"old_key":"f"},1],"routes":{"east":{"key":"g"},"key":{"key":["h"]}}}`))
	if complaint != nil {
		t.Fatal(complaint)
	}
	got := b.secretValues(tree)
	slices.Sort(got)
	got = slices.Compact(got)
	if want := []string{"a", "b", "c", "d", "e", "f", "g", "h"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

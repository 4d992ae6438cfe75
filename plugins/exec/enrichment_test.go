package main

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/kelpie-sec/kelpie/sdk"
)

var at = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func questions(values ...string) []sdk.Question {
	var all []sdk.Question
	for _, v := range values {
		all = append(all, sdk.Question{Observable: sdk.Observable{Kind: sdk.IP, Value: v}, At: at})
	}
	return all
}

func TestEnrich(t *testing.T) {
	e, _ := opened(t, &enrichment{}, block{"program": script(t, `cat >given; cat <<'END'
	{"quota_left": 412, "answers": [
	  {"verdict": {"disposition": "malicious", "confidence": 80, "labels": ["c2"], "link": "https://x.example.org/"}, "details": {"a": 1}, "at": "2026-11-22T11:00:00Z", "ttl": "24h"},
	  {"asset": {"name": "ws-17", "ips": ["10.1.2.3"], "criticality": 50, "protection": {"running": false}}, "identity": {"name": "kim", "privileged": true},
	   "network": {"country": "AT", "asn": 64500}, "aliases": [{"kind": "host", "value": "ws-17"}], "found": [{"kind": "user", "value": "kim", "at": "2026-11-22T11:00:00Z"}]},
	  {"not_found": true},
	  {"error": "no such feed"},
	  {"error": "quota", "retry_after": "1h"},
	  {"verdict": {"disposition": "bad"}},
	  {"verdict": {"disposition": "benign", "score": 101}},
	  {"verdikt": {}},
	  {},
	  {"verdict": {"disposition": "suspicious"}, "not_found": true}
	]}
END
`)})
	replies, err := e.Enrich(t.Context(), questions("1.1.1.1", "2", "3", "4", "5", "6", "7", "8", "9", "10"))
	if err != nil {
		t.Fatal(err)
	}
	left, criticality, running, privileged := int64(412), 50, false, true
	earlier := at.Add(-time.Hour)
	want := []sdk.Reply{
		{TTL: 24 * time.Hour, Answers: []sdk.Answer{{
			Verdict: &sdk.Verdict{Disposition: sdk.Malicious, Score: 100, Confidence: 80, Labels: []string{"c2"}, Link: "https://x.example.org/"},
			Details: map[string]any{"a": 1.0}, At: earlier,
		}}},
		{
			Answers: []sdk.Answer{
				{Asset: &sdk.Asset{Name: "ws-17", IPs: []string{"10.1.2.3"}, Criticality: &criticality, Protection: &sdk.Protection{Running: &running}}},
				{Identity: &sdk.Identity{Name: "kim", Privileged: &privileged}},
				{Network: &sdk.Network{Country: "AT", ASN: 64500}},
			},
			Aliases: []sdk.Observable{{Kind: "host", Value: "ws-17"}},
			Found:   []sdk.Found{{Observable: sdk.Observable{Kind: "user", Value: "kim"}, At: earlier}},
		},
		{},
	}
	for i := range want {
		want[i].QuotaLeft = &left
	}
	if diff := cmp.Diff(want, replies[:3]); diff != "" {
		t.Errorf("replies (-want +got):\n%s", diff)
	}
	for i, text := range []string{
		"no such feed", "quota", `disposition is "bad"; there are unknown, benign, suspicious and malicious`, "score must be from 0 to 100",
		`unknown field "verdikt"`, "an answer says nothing", "is not_found and something else",
	} {
		if err := replies[3+i].Err; err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("reply %d: %v, want %q", 3+i, err, text)
		}
	}
	var told *sdk.Error
	if !errors.As(replies[4].Err, &told) || told.Reason != sdk.Retry || told.RetryAfter != time.Hour {
		t.Errorf("the quota's error is %+v", told)
	}
	given, _ := os.ReadFile(e.program.dir + "/given")
	if !strings.HasPrefix(string(given), `{"questions":[{"kind":"ip","value":"1.1.1.1","at":"2026-11-22T12:00:00Z"},{"kind"`) {
		t.Errorf("it was given %s", given)
	}
}

func TestEnrichFails(t *testing.T) {
	for name, test := range map[string]struct {
		text   string
		wrong  string
		reason sdk.Reason
		after  time.Duration
	}{
		"nothing":       {text: ``, wrong: "it was asked 1 questions and printed 0 answers"},
		"too many":      {text: `echo '{"answers":[{},{}]}'`, wrong: "printed 2 answers"},
		"no JSON":       {text: `echo 'loading …'`, wrong: `it printed what is no JSON object: "loading …": what is for people goes to the standard error`},
		"half of it":    {text: `printf '{"answers":[{'`, wrong: "it printed what is no JSON object"},
		"two objects":   {text: `echo '{"answers":[{}]}'; echo '{}'`, wrong: "it printed what is no JSON object"},
		"binary":        {text: `printf '\177ELF\0\377'`, wrong: `"⟨U+007F⟩ELF⟨U+0000⟩⟨FF⟩"`},
		"unknown names": {text: `echo '{"answer":[]}'`, wrong: `unknown field "answer"`},
		"wrong type":    {text: `echo '{"answers":{}}'`, wrong: `"answers" is of the wrong type: object`},
		"exit 1":        {text: `echo '{"answers":[{"not_found":true}]}'; echo "no feed" >&2; exit 1`, wrong: "the program ended with exit status 1: no feed"},
		"later":         {text: `echo '{"retry_after":"5m"}'; exit 75`, wrong: "wants to be asked later", reason: sdk.Retry, after: 5 * time.Minute},
		"much later":    {text: `echo '{"retry_after":"5d"}'; exit 75`, wrong: "wants to be asked later", reason: sdk.Retry, after: maxLater},
		"denied":        {text: `exit 77`, wrong: "is not let in", reason: sdk.Denied},
		"100 MB":        {text: `head -c 100000000 /dev/zero`, wrong: "it printed more than 16 MiB and was ended"},
		"too slow":      {text: `sleep 100`, wrong: "it took longer than 300ms and was ended"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := block{"program": script(t, test.text)}
			if name == "too slow" {
				b["time_limit"] = "300ms"
			}
			e, _ := opened(t, &enrichment{}, b)
			_, err := e.Enrich(t.Context(), questions("192.0.2.1"))
			if err == nil || !strings.Contains(err.Error(), test.wrong) {
				t.Fatalf("Enrich: %v, want %q", err, test.wrong)
			}
			var told *sdk.Error
			if errors.As(err, &told); told != nil && (told.Reason != test.reason || told.RetryAfter != test.after) || told == nil && test.reason != sdk.Failed {
				t.Errorf("Enrich: %+v, want %v after %s", told, test.reason, test.after)
			}
		})
	}
	e, _ := opened(t, &enrichment{}, block{"program": script(t, ``)})
	if err := os.Remove(string(e.config.Program)); err != nil {
		t.Fatal(err)
	}
	var told *sdk.Error
	if _, err := e.Enrich(t.Context(), questions("192.0.2.1")); !errors.As(err, &told) || told.Reason != sdk.Denied || e.Health(t.Context()) == nil {
		t.Errorf("without its program: %v", err)
	}
}

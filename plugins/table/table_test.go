package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/kelpie-sec/kelpie/sdk"
	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
	"github.com/kelpie-sec/kelpie/sdk/sdktest"
	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "write the golden files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, c config) (*table, error) {
	t.Helper()
	if c.Every == 0 {
		c.Every = time.Hour
	}
	if c.Confidence == 0 {
		c.Confidence = 100
	}
	instance := &table{config: c}
	if wrong := instance.Validate(); len(wrong) > 0 {
		return instance, wrong[0]
	}
	t.Cleanup(func() {
		if err := instance.Close(); err != nil {
			t.Error(err)
		}
	})
	return instance, instance.Open(t.Context(), sdk.Env{Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestAnswers asks each table in testdata for what its .ask file says and compares
// the replies with its .golden file. Its .config file is the block, as JSON.
func TestAnswers(t *testing.T) {
	asks, err := filepath.Glob("testdata/*.ask")
	if err != nil || len(asks) == 0 {
		t.Fatal("no cases: ", err)
	}
	for _, ask := range asks {
		base := strings.TrimSuffix(ask, ".ask")
		t.Run(filepath.Base(base), func(t *testing.T) {
			var c config
			if text, err := os.ReadFile(base + ".config"); err == nil {
				if err := json.Unmarshal(text, &c); err != nil {
					t.Fatal(err)
				}
			}
			c.Path = sdk.Path(filepath.Join("testdata", string(c.Path)))
			instance, err := open(t, c)
			if err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(ask)
			if err != nil {
				t.Fatal(err)
			}
			var questions []sdk.Question
			for line := range strings.Lines(string(text)) {
				kind, value, _ := strings.Cut(strings.TrimSpace(line), ":")
				questions = append(questions, sdk.Question{Observable: sdk.Observable{Kind: kind, Value: value}, At: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)})
			}
			replies, err := instance.Enrich(t.Context(), questions)
			if err != nil || len(replies) != len(questions) {
				t.Fatalf("%d replies to %d questions: %v", len(replies), len(questions), err)
			}
			var got strings.Builder
			for i, reply := range replies {
				fmt.Fprintf(&got, "== %s\n", questions[i].Observable.Key())
				if reply.Err != nil {
					fmt.Fprintf(&got, "error: %v\n", reply.Err)
				}
				for _, answer := range reply.Answers {
					encoded, err := json.MarshalIndent(answer, "", " ")
					if err != nil {
						t.Fatal(err)
					}
					fmt.Fprintf(&got, "%s\n", encoded)
				}
				for _, found := range reply.Found {
					fmt.Fprintf(&got, "found %s at %s\n", found.Observable.Key(), found.At.Format(time.RFC3339))
				}
				for _, alias := range reply.Aliases {
					fmt.Fprintf(&got, "alias %s\n", alias.Key())
				}
			}
			if *update {
				if err := os.WriteFile(base+".golden", []byte(got.String()), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(base + ".golden")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAnswerIsNothing(t *testing.T) {
	instance, err := open(t, config{Path: sdk.Path(write(t, "a.csv", "ip,name\n10.0.0.1,a\n")), Answer: asset})
	if err != nil {
		t.Fatal(err)
	}
	replies, err := instance.Enrich(t.Context(), []sdk.Question{{Observable: sdk.Observable{Kind: sdk.IP, Value: "10.0.0.2"}}, {Observable: sdk.Observable{Kind: sdk.Hash, Value: strings.Repeat("a", 32)}}})
	if err != nil || !cmp.Equal(replies, make([]sdk.Reply, 2)) {
		t.Errorf("Enrich = %+v, %v; want two empty replies", replies, err)
	}
	replies, err = instance.Enrich(t.Context(), []sdk.Question{{Observable: sdk.Observable{Kind: sdk.IP, Value: "nonsense"}}})
	var failure *sdk.Error
	if err != nil || !errors.As(replies[0].Err, &failure) || failure.Reason != sdk.Invalid {
		t.Errorf("Enrich of nonsense = %+v, %v; want an invalid question", replies, err)
	}
}

func TestComplaints(t *testing.T) {
	for _, test := range []struct {
		name string
		text string
		c    config
		want string
	}{
		{"no file", "", config{Path: "absent.csv"}, "the table cannot be read: "},
		{"no answer", "ip,x\n", config{}, "do not tell what a row is"},
		{"no key", "owner,team\n", config{Answer: asset}, "none of which is known to name an asset"},
		{"unknown key column", "ip,criticality\n", config{Keys: map[string][]string{"ip": {"address"}}}, `has no column "address"`},
		{"unknown kind", "ip\n", config{Keys: map[string][]string{"ipv4": {"ip"}}}, `"ipv4" is no kind of observable`},
		{"unknown field", "ip\n", config{Columns: map[string]string{"boss": "ip"}}, `"boss" is no field of an answer`},
		{"unknown column", "ip,criticality\n", config{Columns: map[string]string{"owner": "boss"}}, `has no column "boss" for owner`},
		{"criticality", "ips,criticality\n10.0.0.1,high\n", config{}, `a.csv:2: column "criticality": is "high"; it must be a whole number from 0 to 100`},
		{"managed", "ips,managed\n10.0.0.1,perhaps\n", config{}, `a.csv:2: column "managed": is "perhaps"`},
		{"seen_at", "ips,seen_at\n10.0.0.1,yesterday\n", config{}, `a.csv:2: column "seen_at": is "yesterday"`},
		{"patches", "ips,patches\n10.0.0.1,critical\n", config{Answer: asset}, `a.csv:2: column "patches": has "critical"`},
		{"asn", "ip,asn\n10.0.0.1,many\n", config{}, `a.csv:2: column "asn"`},
		{"disposition", "ip,disposition\n10.0.0.1,bad\n", config{}, `a.csv:2: column "disposition": is "bad"; there are unknown`},
		{"no disposition", "ip,disposition\n10.0.0.1,\n", config{}, `a.csv:2: column "disposition": is empty`},
		{"no disposition column", "ip,labels\n10.0.0.1,\n", config{Answer: verdict}, "has no column disposition"},
		{"link", "ip,disposition,link\n10.0.0.1,benign,javascript:alert(1)\n", config{}, `a.csv:2: column "link"`},
		{"key", "ips\n10.0.0\n", config{}, `a.csv:2: column "ips": ip "10.0.0": is not an IP address`},
		{"separator", "ips\n", config{Separator: ";;"}, "separator must be one character"},
		{"domain", "ips\n", config{Domains: []string{"a b"}}, "this is no domain"},
		{"confidence", "ips\n", config{Confidence: 101}, "confidence must be"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.c.Path == "" {
				test.c.Path = sdk.Path(write(t, "a.csv", test.text))
			}
			_, err := open(t, test.c)
			var diagnostic sdk.Diagnostic
			if !errors.As(err, &diagnostic) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error = %v, want a diagnostic with %q", err, test.want)
			}
		})
	}
}

// TestBrokenFileKeepsTheOlderTable replaces the file by a broken one and back.
func TestBrokenFileKeepsTheOlderTable(t *testing.T) {
	path := write(t, "a.csv", "ips,name\n10.0.0.1,one\n")
	old := time.Now().Add(-time.Hour)
	instance, err := open(t, config{Path: sdk.Path(path), Every: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	replace := func(text string) {
		t.Helper()
		next := path + ".new"
		old = old.Add(time.Minute)
		if err := errors.Join(os.WriteFile(next, []byte(text), 0o600), os.Chtimes(next, old, old), os.Rename(next, path)); err != nil {
			t.Fatal(err)
		}
	}
	name := func() string {
		replies, err := instance.Enrich(t.Context(), []sdk.Question{{Observable: sdk.Observable{Kind: sdk.IP, Value: "10.0.0.1"}}})
		if err != nil || len(replies[0].Answers) != 1 {
			t.Fatalf("Enrich = %+v, %v", replies, err)
		}
		return replies[0].Answers[0].Asset.Name
	}
	replace("ips,name\nnonsense,two\n")
	await(t, func() bool { return instance.Health(t.Context()) != nil })
	if got := name(); got != "one" {
		t.Errorf("name = %s while the file is broken, want one", got)
	}
	replace("ips,name\n10.0.0.1,three\n")
	await(t, func() bool { return instance.Health(t.Context()) == nil })
	if got := name(); got != "three" {
		t.Errorf("name = %s after the file was restored, want three", got)
	}
}

func await(t *testing.T, met func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !met() {
		select {
		case <-ctx.Done():
			t.Fatal("waited in vain")
		case <-tick.C:
		}
	}
}

func TestOverGRPC(t *testing.T) {
	client := sdktest.Serve(t, plugin())
	path := write(t, "a.csv", "ips,name,criticality\n10.0.0.1,ws-1,70\n")
	if wrong := client.Configure(t, "enrichment.assets", sdk.KindEnrichment, map[string]any{"path": path + ".gone"}); len(wrong) != 1 || wrong[0].GetPath()[0] != "path" {
		t.Errorf("Configure without a file complains %v", wrong)
	}
	if wrong := client.Configure(t, "enrichment.assets", sdk.KindEnrichment, map[string]any{"path": path, "answer": "assets"}); len(wrong) != 1 || wrong[0].GetPath()[0] != "answer" {
		t.Errorf("Configure with a wrong answer complains %v", wrong)
	}
	if wrong := client.Configure(t, "enrichment.assets", sdk.KindEnrichment, map[string]any{"path": path}); len(wrong) > 0 {
		t.Fatalf("Configure complains %v", wrong)
	}
	response, err := client.Enrich.Enrich(t.Context(), &pluginv1.EnrichRequest{Instance: "enrichment.assets", Questions: []*pluginv1.Question{
		{Observable: &pluginv1.Observable{Kind: "ip", Value: "10.0.0.1"}},
		{Observable: &pluginv1.Observable{Kind: "ip", Value: "10.0.0.2"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	first, second := response.GetAnswers()[0], response.GetAnswers()[1]
	if asset := first.GetAnswers()[0].GetAsset(); asset.GetName() != "ws-1" || asset.GetCriticality() != 70 || first.GetNotFound() {
		t.Errorf("answer = %v", first)
	}
	if found := first.GetObservables(); len(found) != 1 || found[0].GetObservable().GetValue() != "ws-1" {
		t.Errorf("found = %v", found)
	}
	if !second.GetNotFound() || second.GetFailure() != nil {
		t.Errorf("answer about an unknown address = %v, want not found", second)
	}
}

func BenchmarkEnrich(b *testing.B) {
	instance := &table{config: config{Path: "../../examples/quickstart/assets.csv", Every: time.Hour, Confidence: 100}}
	if err := instance.Open(b.Context(), sdk.Env{Log: slog.New(slog.DiscardHandler)}); err != nil {
		b.Fatal(err)
	}
	defer instance.Close()
	questions := []sdk.Question{{Observable: sdk.Observable{Kind: sdk.IP, Value: "203.0.113.10"}}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := instance.Enrich(b.Context(), questions); err != nil {
			b.Fatal(err)
		}
	}
}

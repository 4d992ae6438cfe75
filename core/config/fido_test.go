package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/score"
	"github.com/kelpie-sec/kelpie/sdk"
)

// fidoCase is a case as the files in testdata/fido tell it, in the words of the model.
type fidoCase struct {
	// Inputs of the preset, by "compat" and "intended".
	Inputs map[string]json.RawMessage `json:"inputs"`
	// Detectors that reported it: each a signal.
	Detectors  []string   `json:"detectors"`
	Severity   int        `json:"severity"`
	Subjects   []string   `json:"subjects"` // "host:ws-17"
	Indicators []string   `json:"indicators"`
	Answers    []fidoSaid `json:"answers"`
	History    []fidoPast `json:"history"`
	// Pending are enrichments that have not answered, by what they were asked about.
	Pending map[string]string `json:"pending"`
}

type fidoSaid struct {
	Source string `json:"source"` // without "enrichment."
	About  string `json:"about"`
	model.Answer
}

type fidoPast struct {
	Value string `json:"value"`
	Cases int    `json:"cases"`
	// Minutes before this case that it was last seen.
	Minutes float64 `json:"minutes"`
}

var fidoStart = time.Date(2015, 4, 22, 12, 0, 0, 0, time.UTC)

func fidoObservables(role sdk.Role, all []string) []sdk.Observable {
	list := make([]sdk.Observable, len(all))
	for i, text := range all {
		kind, value, _ := strings.Cut(text, ":")
		list[i] = sdk.Observable{Kind: kind, Value: value, Role: role}
	}
	return list
}

// stored is the case as its rows would have it, and the settings that say which
// enrichments there are.
func (f *fidoCase) stored(s *decide.Settings) decide.Stored {
	c := decide.Stored{Case: model.Case{
		ID: "c-1", Severity: f.Severity, FirstAt: fidoStart, LastAt: fidoStart,
		Subjects: fidoObservables(sdk.Subject, f.Subjects), Indicators: fidoObservables(sdk.Indicator, f.Indicators),
	}}
	for _, p := range f.History {
		c.Case.History = append(c.Case.History, model.Past{
			Value: p.Value, Cases: p.Cases, LastAt: fidoStart.Add(-time.Duration(p.Minutes * float64(time.Minute))), Case: "c-0",
			Subject: strings.HasPrefix(p.Value, "host:"), Severity: 50,
		})
	}
	for i, d := range f.Detectors {
		c.Signals = append(c.Signals, model.Signal{ID: fmt.Sprint("s-", i), Source: "detector." + d, Time: fidoStart})
	}
	for i, a := range f.Answers {
		source := "enrichment." + a.Source
		s.Sources = append(s.Sources, decide.Source{Address: source, Internal: a.Asset != nil || a.Identity != nil})
		c.Lookups = append(c.Lookups, decide.StoredLookup{
			Ask:   model.Ask{ID: fmt.Sprint("a-", i), Enrichment: source, Observable: fidoObservables("", []string{a.About})[0]},
			Reply: &model.Reply{State: model.Known, Answers: []model.Answer{a.Answer}, AnsweredAt: fidoStart.Add(time.Minute)},
		})
	}
	return c
}

// TestFido: each file is a worked example or an edge of FIDO's matrix. What it must come
// to stands in it, and so does every line of both presets.
func TestFido(t *testing.T) {
	files, err := filepath.Glob("testdata/fido/*.txt")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) { checkFido(t, path) })
	}
}

func checkFido(t *testing.T, path string) {
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file := txtar.Parse(text)
	parts := map[string]*txtar.File{}
	for i := range file.Files {
		parts[file.Files[i].Name] = &file.Files[i]
	}
	var f fidoCase
	d := json.NewDecoder(bytes.NewReader(parts["case.json"].Data))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		t.Fatal(err)
	}
	wants := map[string]string{}
	for line := range strings.Lines(string(parts["want"].Data)) {
		mode, totals, _ := strings.Cut(strings.TrimSpace(line), ": ")
		wants[mode] = totals
	}
	if wants["compat"] == "" {
		t.Error("the file does not say what it must come to")
	}
	for _, mode := range []string{"compat", "intended"} {
		got := fidoScore(t, &f, mode)
		if want := wants[mode]; want != "" && totals(got) != want {
			t.Errorf("%s is %s, must be %s", mode, totals(got), want)
		}
		out := parts[mode]
		if out == nil {
			file.Files = append(file.Files, txtar.File{Name: mode})
			out = &file.Files[len(file.Files)-1]
		}
		printed := printScore(got)
		if !*update {
			if diff := cmp.Diff(string(out.Data), printed); diff != "" {
				t.Errorf("%s: %s", mode, diff)
			}
		}
		out.Data = []byte(printed)
	}
	if *update {
		if err := os.WriteFile(path, txtar.Format(file), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func fidoScore(t *testing.T, f *fidoCase, mode string) model.Score {
	t.Helper()
	preset := map[string]string{"compat": "fido_compat", "intended": "fido"}[mode]
	text := "score {\n  preset = \"" + preset + "\"\n"
	if inputs := f.Inputs[mode]; inputs != nil {
		text += "  inputs = " + string(inputs) + "\n"
	}
	_, c, diags := parseText(t, text+"}\n", Options{})
	if len(diags) > 0 {
		t.Fatal(diags)
	}
	return scoreFido(t, c, f)
}

func scoreFido(t *testing.T, c *Config, f *fidoCase) model.Score {
	t.Helper()
	sc, err := score.New(c.Decide.Score)
	if err != nil {
		t.Fatal(err)
	}
	var unknown []string
	for about, source := range f.Pending {
		unknown = append(unknown, "enrichment."+source+" has not answered yet about "+about)
	}
	settings := &decide.Settings{}
	stored := f.stored(settings)
	return sc.Score(stored.Value(settings), unknown, len(unknown))
}

// totals are the three scores of FIDO, and what they add up to.
func totals(s model.Score) string {
	var b strings.Builder
	for _, f := range s.Factors {
		fmt.Fprintf(&b, "%s %s, ", f.Name, strings.TrimSuffix(f.Share.String(), ".00"))
	}
	fmt.Fprintf(&b, "total %s", strings.TrimSuffix(s.Total.String(), ".00"))
	return b.String()
}

func printScore(s model.Score) string {
	var b strings.Builder
	for _, f := range s.Factors {
		fmt.Fprintf(&b, "%s %s\n", f.Name, f.Share)
		for _, l := range f.Lines {
			fmt.Fprintf(&b, "  %8s  %s: %s\n", l.Counted, l.Evidence, l.Because)
		}
		if len(f.Lines) == 0 {
			continue
		}
		fmt.Fprintf(&b, "  %8s  %s\n", f.Sum, f.Combine)
		if f.Divide > 0 {
			fmt.Fprintf(&b, "  %8s  divided by %d\n", f.Divided, f.Divide)
		}
		fmt.Fprintf(&b, "  %8s  capped\n  %8s  to steps of %d\n", f.Capped, f.Rounded, f.Round)
	}
	fmt.Fprintf(&b, "total %s of %s, to steps of %d\n", s.Total, s.Sum, s.Round)
	if s.Upper > s.Total {
		fmt.Fprintf(&b, "could be %s: %s\n", s.Upper, strings.Join(s.Unknown, "; "))
	}
	return b.String()
}

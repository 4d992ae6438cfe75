package config

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
	"pgregory.net/rapid"
)

// fidoVerdict is an answer of a feed.
func fidoVerdict(about, details string, confidence int) fidoSaid {
	return fidoSaid{Source: "feed", About: about, Answer: model.Answer{
		Verdict: &model.Verdict{Disposition: sdk.Malicious, Confidence: confidence}, Details: json.RawMessage(details),
	}}
}

// TestFidoNeverLowers: as it was meant, more detections and an earlier alert never make
// the threat less.
func TestFidoNeverLowers(t *testing.T) {
	_, c, diags := parseText(t, "score {\n  preset = \"fido\"\n}\n", Options{})
	if len(diags) > 0 {
		t.Fatal(diags)
	}
	lists := []string{"detected_urls", "detected_communicating_samples", "detected_downloaded_samples"}
	threat := func(list string, positives, urls int, minutes float64) model.Hundredths {
		f := fidoCase{
			Detectors: []string{"eve"}, Subjects: []string{"host:ws-17"}, Indicators: []string{"ip:203.0.113.7"},
			Answers: []fidoSaid{
				fidoVerdict("ip:203.0.113.7", fmt.Sprintf(`{"%s": [{"positives": %d}]}`, list, positives), 100),
				fidoVerdict("url:http://bad.example/x", fmt.Sprintf(`{"positives": %d}`, urls), 100),
			},
		}
		if minutes > 0 {
			f.History = []fidoPast{{Value: "host:ws-17", Cases: 1, Minutes: minutes}}
		}
		return scoreFido(t, c, &f).Factors[0].Sum
	}
	for _, list := range lists {
		for n := range 100 {
			if less, more := threat(list, n, 0, 0), threat(list, n+1, 0, 0); more < less {
				t.Errorf("%s: %d detections give %s, one more gives %s", list, n, less, more)
			}
			if less, more := threat(list, 0, n, 0), threat(list, 0, n+1, 0); more < less {
				t.Errorf("%d detections of a URL give %s, one more gives %s", n, less, more)
			}
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SampledFrom(lists).Draw(t, "list")
		few, urls := rapid.IntRange(0, 70).Draw(t, "positives"), rapid.IntRange(0, 70).Draw(t, "urls")
		less := threat(list, few, urls, 0)
		if again := threat(list, few, urls, float64(rapid.IntRange(1, 2000).Draw(t, "minutes"))); again < less {
			t.Fatalf("a host that alerted before has %s, another %s", again, less)
		}
	})
}

// TestFidoConfidence: what a source is not sure of counts less.
func TestFidoConfidence(t *testing.T) {
	f := fidoCase{Detectors: []string{"panv1"}, Answers: []fidoSaid{fidoVerdict("ip:203.0.113.7", `{"scores": [95, 90, 60]}`, 40)}}
	if got := fidoScore(t, &f, "intended").Factors[0].Sum; got != 3267 {
		t.Errorf("intended is %s", got)
	}
	f.Inputs = map[string]json.RawMessage{"compat": json.RawMessage(`{ asset_score = false }`)}
	if got := fidoScore(t, &f, "compat").Factors[0].Sum; got != 81000 {
		t.Errorf("compat is %s", got)
	}
}

func fidoAsset(a model.Asset) fidoCase {
	return fidoCase{
		Detectors: []string{"ids"}, Subjects: []string{"host:ws-17"},
		Answers: []fidoSaid{{Source: "inventory", About: "host:ws-17", Answer: model.Answer{Asset: &a}}},
	}
}

// TestFidoThresholds: 0 is off, and not always reached.
func TestFidoThresholds(t *testing.T) {
	f := fidoAsset(model.Asset{Name: "ws-17", Patches: map[string]int{"critical": 0, "high": 0, "low": 50}})
	for inputs, want := range map[string]model.Hundredths{
		`{}`: 0,
		`{ critical_patches = 0, high_patches = 0, low_patches = 0 }`: 0,
		`{ low_patches = 10 }`: 100,
	} {
		f.Inputs = map[string]json.RawMessage{"intended": json.RawMessage(inputs)}
		if got := fidoScore(t, &f, "intended").Factors[1].Sum; got != want {
			t.Errorf("%s gives %s", inputs, got)
		}
	}
}

// TestFidoTags: a tag is compared whole.
func TestFidoTags(t *testing.T) {
	for tag, want := range map[string]model.Hundredths{"pci": 5000, "not-pci": 0, "pcix": 0} {
		f := fidoAsset(model.Asset{Name: "ws-17", Tags: []string{tag}})
		if got := fidoScore(t, &f, "intended").Factors[1].Sum; got != want {
			t.Errorf("the tag %s gives %s", tag, got)
		}
	}
}

// TestScorePage: what the page shows is a configuration, and what it names is there.
func TestScorePage(t *testing.T) {
	text, err := os.ReadFile("../../docs/score.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(text), "```hcl\n")
	example, _, _ = strings.Cut(example, "```")
	if _, _, diags := parseText(t, example, Options{}); len(diags) > 0 {
		t.Error(diags)
	}
	source, err := os.ReadFile("fido_faults_test.go")
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for line := range strings.Lines(string(text)) {
		for _, m := range regexp.MustCompile("`((?:example|edge|antivirus)_[a-z0-9_]+|TestFido[A-Za-z]+)`").FindAllStringSubmatch(line, -1) {
			named++
			_, err := os.Stat("testdata/fido/" + m[1] + ".txt")
			if err != nil && !strings.Contains(string(source), "func "+m[1]+"(") {
				t.Errorf("%s is not there", m[1])
			}
		}
	}
	if named < 20 {
		t.Errorf("only %d are named", named)
	}
	for _, preset := range []string{"fido", "fido_compat"} {
		_, c, _ := parseText(t, "score {\n  preset = \""+preset+"\"\n}\n", Options{})
		if c.Decide.Score.Round != 5 {
			t.Errorf("%s is rounded to %d", preset, c.Decide.Score.Round)
		}
		preset, _ := presetText(preset)
		inputs, _, _ := strings.Cut(preset, "\n}\n")
		for _, m := range regexp.MustCompile(`(?m)^  ([a-z_]+) +=`).FindAllStringSubmatch(inputs, -1) {
			if !strings.Contains(string(text), "`"+m[1]+"`") {
				t.Errorf("the page does not tell of the input %s", m[1])
			}
		}
	}
}

package conformance_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/kelpie-sec/kelpie/sdk"
	"github.com/kelpie-sec/kelpie/sdk/conformance"
	"github.com/kelpie-sec/kelpie/sdk/sdktest"
)

func TestMain(m *testing.M) {
	if mode := os.Getenv(modeEnv); mode != "" {
		servePlugin(mode)
		return
	}
	// The suites wait more than they work.
	_ = flag.Set("test.parallel", "6")
	goleak.VerifyTestMain(m)
}

// farEnd is the product that the fake plugin is for.
type farEnd struct {
	*httptest.Server
	sdktest.Trouble
	mu      sync.Mutex
	events  []json.RawMessage
	effects map[string]int // by key: how often it took effect
}

func newFarEnd(t *testing.T) *farEnd {
	t.Helper()
	f := &farEnd{effects: map[string]int{}}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

func (f *farEnd) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.Hold()
	if f.Limited() {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusTooManyRequests)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	query := r.URL.Query()
	key := query.Get("key")
	answer := map[string]any{"score": len(query.Get("value")) % 100, "before": f.effects[key] > 0}
	switch r.URL.Path {
	case "/events":
		after, _ := strconv.Atoi(query.Get("after"))
		rest := f.events[min(after, len(f.events)):]
		page := rest[:min(len(rest), 400)]
		answer["events"], answer["next"], answer["more"] = slices.Clone(page), after+len(page), len(page) < len(rest)
		if query.Get("take") != "" {
			f.events = nil
		}
	case "/act":
		if f.effects[key] == 0 || query.Get("again") != "" {
			f.effects[key]++
		}
	case "/undo":
		delete(f.effects, key)
	}
	answer["now"] = f.effects[key] > 0
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(answer)
}

func (f *farEnd) fill(payloads [][]byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.events = nil
	for _, p := range payloads {
		f.events = append(f.events, p)
	}
	return nil
}

func (f *farEnd) state() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []string
	for _, key := range slices.Sorted(maps.Keys(f.effects)) {
		all = append(all, fmt.Sprintf("%s %d times", key, f.effects[key]))
	}
	return strings.Join(all, ", ")
}

// settings run the test binary as the plugin, with everything that the suite can use.
func settings(t *testing.T, mode string) conformance.Settings {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	f := newFarEnd(t)
	values := func(label string) map[string]any {
		return map[string]any{"url": f.URL, "token": "token-of-" + label, "label": label}
	}
	secrets := []string{"token-of-red", "token-of-blue"}
	return conformance.Settings{
		Binary: exe, Env: []string{modeEnv + "=" + mode},
		Instances: []conformance.Instance{
			{Name: "detector.d", Kind: sdk.KindDetector, Config: values("red"), Secrets: secrets, Fill: f.fill, Limit: f.Limit},
			{Name: "enrichment.red", Kind: sdk.KindEnrichment, Config: values("red"), Limit: f.Limit, Stall: f.Stall},
			{Name: "enrichment.blue", Kind: sdk.KindEnrichment, Config: values("blue"), Limit: f.Limit, Stall: f.Stall},
			{Name: "action.a", Kind: sdk.KindAction, Config: values("red"), Limit: f.Limit, Stall: f.Stall, Acts: []conformance.Act{{
				Verb: "isolate_host", Target: sdk.Target{Kind: sdk.Host, Value: "ws-17.example.org"}, State: f.state,
			}}},
		},
	}
}

func run(t *testing.T, s conformance.Settings) *conformance.Report {
	t.Helper()
	report, err := conformance.Run(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// TestGood is a plugin that does all right, by hand and by the SDK: every check is made,
// and none is left out.
func TestGood(t *testing.T) {
	for _, mode := range []string{"good", "sdk"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			s := settings(t, mode)
			s.Record = filepath.Join(t.TempDir(), "ids.json")
			s.Update = true
			run(t, s)
			s.Update = false
			report := run(t, s)
			for _, r := range report.Results {
				if r.Outcome != conformance.Passed {
					t.Errorf("%s %s %s: %s", r.Check, r.Subject, r.Outcome, r.Seen)
				}
			}
			if report.Plugin != "fake" || report.Version != "1.0.0" || !report.Conforms() {
				t.Errorf("the report is of %s %s, conforms %v", report.Plugin, report.Version, report.Conforms())
			}
		})
	}
}

// TestMisbehaving holds that each fault is found by the check that is for it, and by no other.
func TestMisbehaving(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a suite for each fault")
	}
	for mode, want := range map[string]string{
		"greets":           "handshake",
		"crashes":          "handshake",
		"takes_anybody":    "client_certificate",
		"changes":          "describe",
		"takes_core_names": "schema",
		"wrong_default":    "schema",
		"takes_none":       "schema",
		"stays":            "input_end",
		"ignores_unknown":  "unknown_attribute",
		"no_path":          "missing_attribute",
		"any_type":         "wrong_type",
		"mixes":            "isolation",
		"closes_once":      "close",
		"dawdles":          "health",
		"breaks":           "hostile_calls",
		"small_messages":   "large_message",
		"deaf":             "cancellation",
		"never_stops":      "cancellation end",
		"fills_batches":    "batches",
		"generous":         "batches",
		"never_ends":       "end",
		"cleans":           "text",
		"drops_large":      "large_event",
		"cuts_large":       "large_event",
		"cursor_back":      "cursor",
		"cursor_ahead":     "cursor",
		"ids_of_process":   "cursor ack",
		"takes_early":      "ack",
		"lifeless":         "pulse",
		"answers_less":     "answers",
		"no_retry_time":    "rate_limit",
		"unsure":           "rate_limit",
		"never_dry":        "dry_run",
		"pretends":         "effect rate_limit",
		"repeats":          "one_effect",
		"forgets":          "one_effect",
		"undoes_nothing":   "undo",
		"late":             "not_after",
		"knows_all":        "check dry_run",
		"prints":           "stdout",
		"sdk_prints":       "stdout",
		"logs_secrets":     "secrets",
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			report := run(t, settings(t, mode))
			failed := map[string]bool{}
			for _, r := range report.Results {
				if r.Outcome != conformance.Failed {
					continue
				}
				failed[r.Check] = true
				t.Logf("%s %s: %s. %s", r.Check, r.Subject, r.Seen, r.Do)
				if r.Why == "" || r.Seen == "" {
					t.Errorf("%s fails and does not say why it matters, or what was seen", r.Check)
				}
				if strings.Contains(r.Seen, "token-of-") {
					t.Errorf("%s shows a secret: %s", r.Check, r.Seen)
				}
			}
			wanted := map[string]bool{}
			for _, name := range strings.Fields(want) {
				wanted[name] = true
			}
			if !maps.Equal(failed, wanted) {
				t.Errorf("these checks fail: %v, want %s", slices.Sorted(maps.Keys(failed)), want)
			}
			if report.Conforms() {
				t.Error("and it is said to conform")
			}
		})
	}
}

// TestNewIDs finds that a release makes other ids than the one before it.
func TestNewIDs(t *testing.T) {
	s := settings(t, "good")
	s.Record = filepath.Join(t.TempDir(), "ids.json")
	s.Update, s.Only = true, []string{"ids"}
	run(t, s)
	s.Update, s.Env = false, []string{modeEnv + "=new_ids"}
	report := run(t, s)
	if len(report.Results) != 1 || report.Results[0].Outcome != conformance.Failed {
		t.Errorf("%+v", report.Results)
	}
}

// TestLargeSource is read in part, where nobody knows how much there is.
func TestLargeSource(t *testing.T) {
	for mode, want := range map[string]conformance.Outcome{
		"good": conformance.Passed, "cursor_ahead": conformance.Failed, "ids_of_process": conformance.Failed,
	} {
		t.Run(mode, func(t *testing.T) {
			s := settings(t, mode)
			s.Instances = s.Instances[:1]
			var events [][]byte
			for n := range 3000 {
				events = append(events, fmt.Appendf(nil, `{"id":"event-%d"}`, n))
			}
			if err := s.Instances[0].Fill(events); err != nil {
				t.Fatal(err)
			}
			s.Instances[0].Fill = nil
			s.Only = []string{"isolation", "close", "batches", "end", "cursor"}
			for _, r := range run(t, s).Results {
				expected := conformance.Passed
				if r.Check == "cursor" {
					expected = want
				}
				if r.Outcome != expected {
					t.Errorf("%s %s, want %s: %s", r.Check, r.Outcome, expected, r.Seen)
				}
			}
		})
	}
}

// TestBinaryAlone skips what it was not given the means for, and says so.
func TestBinaryAlone(t *testing.T) {
	s := settings(t, "good")
	s.Instances = nil
	report := run(t, s)
	got := map[string]conformance.Outcome{}
	for _, r := range report.Results {
		got[r.Check] = r.Outcome
		if r.Outcome == conformance.Skipped && r.Seen == "" {
			t.Errorf("%s is skipped without a reason", r.Check)
		}
	}
	for check, want := range map[string]conformance.Outcome{
		"handshake": conformance.Passed, "schema": conformance.Passed, "unknown_attribute": conformance.Passed, "missing_attribute": conformance.Passed,
		"secrets": conformance.Passed, "isolation": conformance.Skipped, "cursor": conformance.Skipped, "dry_run": conformance.Skipped,
	} {
		if got[check] != want {
			t.Errorf("%s %s, want %s", check, got[check], want)
		}
	}
}

// TestEmptyDescription is of a plugin that says nothing of itself.
func TestEmptyDescription(t *testing.T) {
	s := settings(t, "empty")
	s.Instances = nil
	for _, r := range run(t, s).Results {
		if (r.Outcome == conformance.Failed) != (r.Check == "schema") {
			t.Errorf("%s %s: %s", r.Check, r.Outcome, r.Seen)
		}
	}
}

// TestUnwatched does not take an answer for an effect.
func TestUnwatched(t *testing.T) {
	s := settings(t, "pretends")
	s.Instances = s.Instances[3:]
	s.Instances[0].Acts[0].State = nil
	s.Only = []string{"effect", "one_effect", "undo", "not_after"}
	for _, r := range run(t, s).Results {
		if r.Outcome != conformance.Skipped || !strings.Contains(r.Seen, "look yourself") {
			t.Errorf("%s %s: %s", r.Check, r.Outcome, r.Seen)
		}
	}
}

func TestSettings(t *testing.T) {
	good := settings(t, "good")
	for name, change := range map[string]func(*conformance.Settings){
		"no check":     func(s *conformance.Settings) { s.Only = []string{"nonsense"} },
		"missing":      func(s *conformance.Settings) { s.Instances[0].Name = "" },
		"the plugin's": func(s *conformance.Settings) { s.Binary = filepath.Join(t.TempDir(), "none") },
	} {
		s := good
		s.Instances = slices.Clone(good.Instances)
		change(&s)
		if _, err := conformance.Run(t.Context(), s); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestBrokenOff takes nothing for a failure that was only broken off.
func TestBrokenOff(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := settings(t, "good")
	var seen []conformance.Result
	s.Each = func(r conformance.Result) {
		seen = append(seen, r)
		if len(seen) == 3 {
			cancel()
		}
	}
	if _, err := conformance.Run(ctx, s); !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v", err)
	}
	for _, r := range seen {
		if r.Outcome == conformance.Failed {
			t.Errorf("%s failed: %s", r.Check, r.Seen)
		}
	}
}

func TestReport(t *testing.T) {
	r := &conformance.Report{Results: []conformance.Result{{Outcome: conformance.Passed}, {Outcome: conformance.Skipped}}}
	if got, want := r.Badge(), "![Kelpie conformance: 1 passed, 1 skipped](https://img.shields.io/badge/Kelpie%20conformance-1%20passed%2C%201%20skipped-green)"; got != want {
		t.Errorf("Badge() = %s, want %s", got, want)
	}
	if !r.Conforms() {
		t.Error("what was skipped does not count as failed")
	}
	r.Results = r.Results[1:]
	if r.Conforms() {
		t.Error("what was skipped counts as passed")
	}
}

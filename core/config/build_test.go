package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kelpie-sec/kelpie/core/correlate"
	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/enrich"
	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/host"
	"github.com/kelpie-sec/kelpie/core/match"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/plan"
	"github.com/kelpie-sec/kelpie/core/respond"
	"github.com/kelpie-sec/kelpie/core/score"
	"github.com/kelpie-sec/kelpie/sdk"
)

// whole is testdata/right/whole.hcl.
func whole(t testing.TB) (*Source, *Config) {
	t.Helper()
	src, diags := Load("testdata/right/whole.hcl", Options{
		Schemas: testSchemas(t), LookupEnv: func(string) (string, bool) { return "", false },
	})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	c, diags := Parse(src)
	if len(diags) > 0 || len(c.NotBuilt) > 0 {
		t.Fatal(diags, c.NotBuilt)
	}
	return src, c
}

func TestKelpie(t *testing.T) {
	_, c := whole(t)
	want := Kelpie{
		DataDir: "state", PluginDir: "plugins", SecretsDir: "keys", Signatures: Optional, Actions: plan.On,
		Sync: "interval", SyncInterval: DefaultSyncInterval, Reserve: 2 << 30, RejectedBytes: 1 << 30, RejectedQuota: 10_000_000,
		Keep: 72 * time.Hour,
	}
	if diff := cmp.Diff(want, c.Kelpie); diff != "" {
		t.Error(diff)
	}
	wantCase := correlate.Settings{
		Window: 12 * time.Hour, Lateness: correlate.DefaultLateness,
		NeverJoin: []sdk.Observable{{Kind: "ip", Value: "10.0.0.1"}, {Kind: "domain", Value: "example.com"}},
		Lease:     correlate.DefaultLease, Common: correlate.DefaultCommon,
	}
	if diff := cmp.Diff(wantCase, c.Decide.Correlate); diff != "" {
		t.Error(diff)
	}
	if got := c.Decide.Networks; len(got) != 2 || got[1].String() != "fd00::/8" {
		t.Errorf("networks %v", got)
	}
	if diff := cmp.Diff([]string{"example.org"}, c.Decide.Domains); diff != "" {
		t.Error(diff)
	}
	wantLimits := []plan.Limit{{Verb: "isolate_host", PerHour: 10}, {Verb: "carbonblack.sweep", PerHour: 1}}
	if diff := cmp.Diff(wantLimits, c.Decide.Plan.Limits); diff != "" {
		t.Error(diff)
	}
	wantMemory := decide.Limits{Signals: 200_000, Intents: 1000, Answers: 64 << 20}
	if diff := cmp.Diff(wantMemory, c.Decide.Memory); diff != "" {
		t.Error(diff)
	}
}

// TestMemoryBounds: what memory may be set to, at its edges.
func TestMemoryBounds(t *testing.T) {
	for name, bounds := range map[string][2]string{
		"signals": {fmt.Sprint(decide.MinSignals), fmt.Sprint(decide.MaxSignals)},
		"values":  {fmt.Sprint(decide.MinValues), fmt.Sprint(decide.MaxValues)},
		"steps":   {fmt.Sprint(decide.MinIntents), fmt.Sprint(decide.MaxIntents)},
		"answers": {fmt.Sprintf("%q", fmt.Sprint(decide.MinAnswers)), `"16GiB"`},
	} {
		for _, value := range bounds {
			_, c, diags := parseText(t, "kelpie {\n  memory {\n    "+name+" = "+value+"\n  }\n}\n", Options{})
			if diags.HasErrors() || c.Decide.Memory == (decide.Limits{}) {
				t.Errorf("%s = %s gives %+v, %v", name, value, c.Decide.Memory, diags)
			}
		}
	}
}

// TestDefaults: what a configuration without kelpie, case and score blocks says.
func TestDefaults(t *testing.T) {
	_, c, diags := parseText(t, `
detector "file" "a" {
  path = "/a"
}
pipeline "a" {
  from = [detector.a]
}
rule "b" {
  state = "experimental"
  on    = [pipeline.a]
  when  = true
}`, Options{})
	if len(diags) > 0 {
		t.Fatal(diags)
	}
	want := Kelpie{DataDir: "data", PluginDir: "bin/plugins", SecretsDir: "secrets", Signatures: Optional, Actions: "dry_run", Sync: "always", SyncInterval: 2 * time.Second}
	if diff := cmp.Diff(want, c.Kelpie); diff != "" {
		t.Error(diff)
	}
	if c.Decide.Plan.Mode != plan.DryRun || c.Decide.Score.Preset != DefaultPreset || len(c.Decide.Score.Factors) == 0 {
		t.Errorf("mode %q, preset %q, %d factors", c.Decide.Plan.Mode, c.Decide.Score.Preset, len(c.Decide.Score.Factors))
	}
	if c.Decide.Correlate.Window != correlate.DefaultWindow {
		t.Errorf("window %v", c.Decide.Correlate.Window)
	}
}

func TestSources(t *testing.T) {
	_, c := whole(t)
	wantDetectors := []Detector{
		{Address: "detector.eve", Plugin: "file", Finite: true, CursorVersion: 1, Health: Health{Silence: 15 * time.Minute, Fields: []string{"timestamp"}, Runbook: "docs/suricata.md"}},
		{Address: "detector.edr", Plugin: "carbonblack", CursorVersion: 1},
	}
	if diff := cmp.Diff(wantDetectors, c.Detectors); diff != "" {
		t.Error(diff)
	}
	wantEnrich := []enrich.Source{
		{Address: "enrichment.assets", Takes: []string{"ip", "host"}, Internal: true, TTL: enrich.DefaultTTL, NegativeTTL: enrich.DefaultNegativeTTL, Patience: 2 * time.Second, Timeout: enrich.DefaultTimeout, BatchLimit: 256},
		{Address: "enrichment.reputation", Takes: []string{"hash", "domain", "url", "ip"}, TTL: 24 * time.Hour, NegativeTTL: enrich.DefaultNegativeTTL, Patience: enrich.DefaultPatience, Timeout: enrich.DefaultTimeout, BatchLimit: 1, PerMinute: 4, PerDay: 500},
	}
	got := slices.Clone(c.Enrich.Sources)
	for i := range got {
		if got[i].Key == "" {
			t.Errorf("%s has no key", got[i].Address)
		}
		got[i].Key = ""
	}
	if diff := cmp.Diff(wantEnrich, got); diff != "" {
		t.Error(diff)
	}
	wantDecide := []decide.Source{
		{Address: "enrichment.assets", Takes: []string{"ip", "host"}, Internal: true},
		{Address: "enrichment.reputation", Takes: []string{"hash", "domain", "url", "ip"}},
	}
	if diff := cmp.Diff(wantDecide, c.Decide.Sources); diff != "" {
		t.Error(diff)
	}
	wantActions := map[string]respond.Action{
		"action.edr": {Timeout: respond.DefaultTimeout, Verbs: map[string]respond.Verb{
			"isolate_host": {Check: true, Idempotent: true, Settle: time.Minute}, "release_host": {Check: true, Idempotent: true}, "carbonblack.sweep": {},
		}},
		"action.mail": {Timeout: respond.DefaultTimeout, Verbs: map[string]respond.Verb{"notify": {Check: true}}},
	}
	for address, a := range c.Respond.Actions {
		if a.Maker.Instance == "" || a.Maker.Config != c.Hash {
			t.Errorf("%s is made by %+v", address, a.Maker)
		}
		want := wantActions[address]
		want.Maker = a.Maker
		wantActions[address] = want
	}
	if diff := cmp.Diff(wantActions, c.Respond.Actions); diff != "" {
		t.Error(diff)
	}
}

// event evaluates a program over an event's payload.
func event(p *expr.Program, raw string) expr.Value {
	var s expr.Scope
	s.Set("event", expr.Object(map[string]expr.Value{"raw": expr.JSON([]byte(raw)), "title": expr.String("T"), "severity": expr.Int(90)}))
	return p.Eval(&s)
}

// TestMatch: templates lend what a pipeline does not say itself, all conditions hold,
// and a connector's own mapping is used where there is no map.
func TestMatch(t *testing.T) {
	_, c := whole(t)
	if got := len(c.Match.Sources); got != 2 {
		t.Fatalf("%d sources", got)
	}
	eve, edr := c.Match.Sources[0], c.Match.Sources[1]
	if eve.Detector != "detector.eve" || len(eve.Pipelines) != 1 || edr.Detector != "detector.edr" || len(edr.Pipelines) != 1 {
		t.Fatalf("sources %v", c.Match.Sources)
	}
	edge := eve.Pipelines[0]
	if edge.Address != "pipeline.edge" || !edge.Alerts || len(edge.When) != 3 {
		t.Errorf("%s: alerts %v, %d conditions", edge.Address, edge.Alerts, len(edge.When))
	}
	raw := `{"event_type":"alert","base":"wrong","src_ip":"192.0.2.1","dest_ip":"192.0.2.2","alert":{"signature":"ET SCAN"},"tls":{"sni":"evil.example"}}`
	for i, when := range edge.When {
		if event(when, raw).Truth() != expr.True {
			t.Errorf("condition %d does not hold", i)
		}
	}
	for _, check := range []struct {
		name string
		rule *expr.Program
		want string
	}{
		{"title", edge.Map.Title, `"ET SCAN"`},
		{"severity", edge.Map.Severity, `90`},
		{"subjects", edge.Map.Subjects, `{"ip":"192.0.2.1"}`},
		{"indicators", edge.Map.Indicators, `{"domain":"evil.example","ip":["192.0.2.2","192.0.2.1"]}`},
		{"edr title", edr.Pipelines[0].Map.Title, `null`},
	} {
		if got := event(check.rule, raw).String(); got != check.want {
			t.Errorf("%s is %s, want %s", check.name, got, check.want)
		}
	}
	if edge.Map.TimeZone == nil || edge.Map.TimeZone.String() != "Europe/Berlin" {
		t.Errorf("zone %v", edge.Map.TimeZone)
	}
	if got := event(edr.Pipelines[0].Map.Subjects, `{"hostname":"ws-17"}`).String(); got != `{"host":"ws-17"}` {
		t.Errorf("default mapping gives %s", got)
	}
	checkIgnoreAndRules(t, edge, edr.Pipelines[0])
	want := map[string][]string{
		"pipeline.edge": {"response.tell"},
		"rule.loud":     {"response.tell", "response.contain"},
	}
	if diff := cmp.Diff(want, c.Decide.Plan.Rules); diff != "" {
		t.Error(diff)
	}
}

func checkIgnoreAndRules(t *testing.T, edge, edr match.Pipeline) {
	t.Helper()
	if len(edge.Ignores) != 1 || len(edge.Rules) != 1 || len(edr.Rules) != 2 {
		t.Fatalf("%d ignores, %d and %d rules", len(edge.Ignores), len(edge.Rules), len(edr.Rules))
	}
	ignore := edge.Ignores[0]
	if ignore.Address != "ignore.vulnerability scanner" || !ignore.Expires.Equal(time.Date(2027, 3, 2, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("ignore %s until %v", ignore.Address, ignore.Expires)
	}
	if got := event(ignore.When, `{}`).Truth(); got != expr.Null {
		t.Errorf("ignore of an event without an address is %v", got)
	}
	loud := edge.Rules[0]
	if loud.Address != "rule.loud" || *loud.Severity != 85 || event(loud.Title, `{}`).String() != `"loud: T"` || event(loud.When, `{}`).Truth() != expr.True {
		t.Errorf("rule %+v", loud)
	}
	if edr.Rules[1].Title != nil || edr.Rules[1].Severity != nil {
		t.Errorf("rule %+v", edr.Rules[1])
	}
}

func TestScore(t *testing.T) {
	_, c := whole(t)
	s := c.Decide.Score
	var names []string
	for _, f := range s.Factors {
		names = append(names, f.Name)
	}
	last := s.Factors[len(s.Factors)-1]
	if last.Name != "threat" || last.Weight != "0.85" || last.Combine != "decay" || slices.Index(names, "threat") != len(names)-1 {
		t.Errorf("factors %v, the last %+v", names, last)
	}
	if _, err := score.New(s); err != nil {
		t.Error(err)
	}
}

// TestPresets: those that Kelpie brings can be used, and reach 100.
func TestPresets(t *testing.T) {
	for _, name := range Presets() {
		_, c, diags := parseText(t, `score {
  preset = "`+name+`"
}`, Options{})
		if len(diags) > 0 {
			t.Fatalf("%s: %v", name, diags)
		}
		if _, err := score.New(c.Decide.Score); err != nil {
			t.Error(err)
		}
		if most := mostPoints(&c.Decide.Score); most != 10_000 {
			t.Errorf("%s: at most %d", name, most)
		}
	}
}

func TestResponses(t *testing.T) {
	_, c := whole(t)
	p := c.Decide.Plan
	if p.Mode != plan.On || len(p.Responses) != 2 || len(p.Routes) != 1 || len(p.Protects) != 2 {
		t.Fatalf("%+v", p)
	}
	mail := p.Responses[0].Steps[0]
	if mail.Action != "action.mail" || mail.Verb != "notify" || mail.Route != "route.owner" || !mail.Notice || mail.Contains ||
		!cmp.Equal(mail.TargetKinds, []string{"address"}) || mail.Parameters["subject"] == nil || mail.Because == nil {
		t.Errorf("mail %+v", mail)
	}
	isolate, sweep := p.Responses[1].Steps[0], p.Responses[1].Steps[1]
	if !isolate.Holds || isolate.UndoAfter != 24*time.Hour || sweep.Holds || mail.Holds {
		t.Errorf("isolate holds %v for %v, sweep %v, mail %v", isolate.Holds, isolate.UndoAfter, sweep.Holds, mail.Holds)
	}
	if isolate.Verb != "isolate_host" || !isolate.Contains || isolate.Targets == nil || isolate.Notice || !cmp.Equal(isolate.TargetKinds, []string{"host"}) {
		t.Errorf("isolate %+v", isolate)
	}
	if sweep.Verb != "carbonblack.sweep" || sweep.When == nil || len(sweep.Parameters) != 2 {
		t.Errorf("sweep %+v", sweep)
	}
	if !p.Responses[0].Reads || p.Routes[0].Otherwise != "soc@example.org" || p.Routes[0].To == nil {
		t.Errorf("response %+v, route %+v", p.Responses[0], p.Routes[0])
	}
	if p.Protects[1].Verbs != nil || p.Protects[0].Name != "domain controllers" {
		t.Errorf("protects %+v", p.Protects)
	}
	// What is not known is protected.
	var s expr.Scope
	s.Set("target", expr.Object(nil))
	if got := p.Protects[0].When.Truth(&s); got != expr.Null {
		t.Errorf("protect without roles is %v", got)
	}
}

func TestResolve(t *testing.T) {
	_, c := whole(t)
	values := map[string]string{"cb-token": "s3cret-cb", "mail": "s3cret-mail", "vt": "s3cret-vt"}
	instances, diags := c.Resolve(func(name string) (string, error) { return values[name], nil })
	if len(diags) > 0 {
		t.Fatal(diags)
	}
	want := []host.Instance{
		{
			Address: "detector.eve", Kind: model.Detector, Plugin: "file", CursorVersion: 1, Env: []string{"LANG=C"}, Timeout: 5 * time.Second,
			Config: json.RawMessage(`{"field":{"user":{"index":1,"type":"text"}},"format":"json","path":"logs/eve.json","poll":"1s","skip":[{"prefix":"#"},{"prefix":";"}]}`),
		},
		{
			Address: "detector.edr", Kind: model.Detector, Plugin: "carbonblack", CursorVersion: 1, Config: json.RawMessage(`{"every":"30s"}`),
			Connection: json.RawMessage(`{"token":"s3cret-cb","url":"https://cb.example.org"}`), Secrets: []string{"s3cret-cb"},
		},
		{
			Address: "action.edr", Kind: model.Action, Plugin: "carbonblack", Own: true, Timeout: respond.DefaultTimeout, Config: json.RawMessage(`{}`),
			Connection: json.RawMessage(`{"token":"s3cret-cb","url":"https://cb.example.org"}`), Secrets: []string{"s3cret-cb"},
		},
		{
			Address: "action.mail", Kind: model.Action, Plugin: "email", Timeout: respond.DefaultTimeout,
			Config:  json.RawMessage(`{"from":"kelpie@example.org","headers":{"X-Key":"s3cret-cb"},"password":"s3cret-mail","server":"smtp://mail.example.org:587"}`),
			Secrets: []string{"s3cret-cb", "s3cret-mail"},
		},
		{Address: "enrichment.assets", Kind: model.Enrichment, Plugin: "table", Timeout: enrich.DefaultTimeout, Config: json.RawMessage(`{"path":"assets.csv"}`)},
		{
			Address: "enrichment.reputation", Kind: model.Enrichment, Plugin: "virustotal", Timeout: enrich.DefaultTimeout,
			Config: json.RawMessage(`{"api_key":"s3cret-vt","base_url":"https://www.virustotal.com/api/v3"}`), Secrets: []string{"s3cret-vt"},
		},
	}
	more, err := filepath.Abs("testdata/right/more")
	if err != nil {
		t.Fatal(err)
	}
	for n := range want {
		c := &want[n].Confinement
		c.Limits = host.DefaultLimits()
		switch want[n].Plugin {
		case "file":
			c.User, c.Limits.Memory = "kelpie-file", 256<<20
			c.Granted = host.Permissions{Read: []string{"/etc/app", more}, Network: []string{"tcp:8443", "listen:514"}}
			c.Declared = host.Permissions{Read: []string{"{path}/.."}}
		case "email":
			c.Off = true
		}
	}
	keys := map[string]string{}
	for i := range instances {
		if other := keys[instances[i].Key]; other != "" || instances[i].Key == "" {
			t.Errorf("%s and %s have the key %q", other, instances[i].Address, instances[i].Key)
		}
		keys[instances[i].Key] = instances[i].Address
		want[i].Key = instances[i].Key
	}
	if diff := cmp.Diff(want, instances); diff != "" {
		t.Error(diff)
	}
}

// TestSecretNotFound: the complaint is at the attribute, and shows nothing of it.
func TestSecretNotFound(t *testing.T) {
	src, c := whole(t)
	_, diags := c.Resolve(func(string) (string, error) { return "", errors.New("it is not there") })
	if len(diags) == 0 {
		t.Fatal("nothing is said")
	}
	for _, m := range Messages(diags, src.Listing()) {
		if m.Snippet != "" || m.Line == 0 || !strings.Contains(m.Detail, "it is not there") {
			t.Errorf("%+v", m)
		}
	}
}

func TestSecrets(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"a-b": "from a file\n", "empty": "\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	read := Secrets(dir)
	if got, err := read("a-b"); got != "from a file" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	t.Setenv("KELPIE_SECRET_A_B", "from the environment")
	if got, err := read("a-b"); got != "from the environment" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	for _, name := range []string{"empty", "none"} {
		if got, err := read(name); err == nil {
			t.Errorf("%s is %q", name, got)
		}
	}
}

// TestPaths: a relative path begins at the configuration's folder.
func TestPaths(t *testing.T) {
	schemas := testSchemas(t)
	plugin := schemas["file"]
	path := model.Type{Kind: "path"}
	plugin.Connectors = []model.Connector{{Kind: model.Detector, Schema: model.Schema{Attributes: []model.Attribute{
		{Name: "one", Type: path}, {Name: "many", Type: model.Type{Kind: "list", Element: &path}}, {Name: "named", Type: model.Type{Kind: "map", Element: &path}},
	}}}}
	schemas["file"] = plugin
	src, c, diags := parseText(t, `
detector "file" "a" {
  one   = "logs/*.json"
  many  = ["a", "/b"]
  named = { x = "../c" }
}
pipeline "a" {
  from    = [detector.a]
}
rule "b" {
  state = "experimental"
  on    = [pipeline.a]
  when  = true
}`, Options{Schemas: schemas})
	if len(diags) > 0 {
		t.Fatal(diags)
	}
	instances, _ := c.Resolve(Secrets(""))
	var got struct {
		One   string
		Many  []string
		Named map[string]string
	}
	if err := json.Unmarshal(instances[0].Config, &got); err != nil {
		t.Fatal(err)
	}
	if got.One != filepath.Join(src.Dir, "logs/*.json") || got.Many[0] != filepath.Join(src.Dir, "a") || got.Many[1] != "/b" || got.Named["x"] != filepath.Join(filepath.Dir(src.Dir), "c") {
		t.Errorf("%+v", got)
	}
}

// TestDocumentedDefaults: what the grammar says is the default is what holds where
// nothing is written.
func TestDocumentedDefaults(t *testing.T) {
	var text strings.Builder
	write := func(b bodyType) {
		for _, a := range b.attributes {
			if len(a.Default) > 0 && a.Name != "sync_interval" {
				text.WriteString("  " + a.Name + " = " + string(a.Default) + "\n")
			}
		}
	}
	for _, block := range []blockType{kelpieBlock(), caseBlock()} {
		text.WriteString(block.name + " {\n")
		write(block.body)
		if memory, ok := block.body.block("memory"); ok {
			text.WriteString("memory {\n")
			write(memory.body)
			text.WriteString("}\n")
		}
		text.WriteString("}\n")
	}
	_, written, diags := parseText(t, text.String(), Options{})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	_, silent, _ := parseText(t, "case {\n}\n", Options{})
	want := silent.Kelpie
	want.Keep = 7 * 24 * time.Hour // the log's own default, which is 0 here
	if diff := cmp.Diff(want, written.Kelpie); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(silent.Decide.Correlate, written.Decide.Correlate); diff != "" {
		t.Error(diff)
	}
	wantMemory := decide.Limits{
		Signals: decide.DefaultSignals, Values: decide.DefaultValues, Intents: decide.DefaultIntents, Answers: decide.DefaultAnswers,
	}
	if diff := cmp.Diff(wantMemory, written.Decide.Memory); diff != "" {
		t.Error(diff)
	}
}

// TestOneOfSeveralConnectors is named by its plugin's name and its own.
func TestOneOfSeveralConnectors(t *testing.T) {
	_, c, diags := parseText(t, `
connection "aws" "here" {}
detector "aws/guardduty" "prod" {
  connection = connection.here
}
pipeline "a" {
  from = [detector.prod]
}
rule "b" {
  state = "experimental"
  on    = [pipeline.a]
  when  = true
}`, Options{})
	if len(diags) > 0 {
		t.Fatal(diags)
	}
	want := []Detector{{Address: "detector.prod", Plugin: "aws", Connector: "guardduty", CursorVersion: 1}}
	if diff := cmp.Diff(want, c.Detectors); diff != "" {
		t.Error(diff)
	}
}

package config

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2"
)

// packed is a configuration with a pack, by the names of its files.
func packed() map[string]string {
	return map[string]string{
		"config.hcl": `
locals {
  least = 3
}
detector "file" "eve" {
  path = "eve.json"
}
pipeline "ids" {
  from = [detector.eve]
}
response "tell" {
  when = case.score.total >= 60

  step "mail" {
    do = action.mail.notify
    to = ["soc@example.org"]
  }
}
action "email" "mail" {
  server = "smtp://mail.example.org:587"
  from   = "kelpie@example.org"
}
pack "web" {
  source    = "packs/web"
  pipelines = { access = pipeline.ids }
  responses = { tell = response.tell }
  detectors = { log = detector.eve }
  variables = { least = local.least }
}
`,
		"packs/web/rules.hcl": `
input "pipeline" "access" {
  description = "Requests, with event.raw.src_ip."
}
input "response" "tell" {
}
input "detector" "log" {
}
variable "least" {
  type = "number"
}
variable "word" {
  default = "sqli"
}
locals {
  why = "${var.word} in ${file("what.txt")}"
}
rule "sqli" {
  on       = [pipeline.access]
  when     = event.raw.kind == var.word && event.raw.n >= var.least && table.skip[event.raw.src_ip].owner == null
  title    = local.why
  respond  = [response.tell]

  test "fires" {
    given "detector.log" {
      events = [{ kind = "sqli" }]
    }
    want {
      steps = ["response.tell.mail"]
    }
  }
}
`,
		"packs/web/tables.hcl": `
table "skip" {
  path = "skip.csv"
  key  = "ip"
}
`,
		"packs/web/skip.csv": "ip,owner\n10.0.0.1,kim\n",
		"packs/web/what.txt": "a request",
	}
}

func TestPack(t *testing.T) {
	dir := folder(t, packed())
	src, c, diags := readFolder(t, dir)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	rules := c.Match.Sources[0].Pipelines[0].Rules
	if len(rules) != 1 || rules[0].Address != "rule.web_sqli" {
		t.Fatalf("rules %+v", rules)
	}
	for event, want := range map[string]bool{
		`{"kind":"sqli","n":3}`:                       true,
		`{"kind":"sqli","n":2}`:                       false,
		`{"kind":"sqli","n":3,"src_ip":"10.0.0.1"}`:   false,
		`{"kind":"sqli","n":3,"src_ip":"10.0.0.111"}`: true,
	} {
		if fires, title := ruleOf(t, c, event); fires != want || title != "sqli in a request" {
			t.Errorf("%s: %v, %q", event, fires, title)
		}
	}
	if len(c.Tables) != 1 || c.Tables[0].Address != "table.web_skip" || c.Tables[0].Path != filepath.Join(dir, "packs/web/skip.csv") {
		t.Errorf("tables %+v", c.Tables)
	}

	// What INPUTS carries needs no folder.
	version, err := src.Version()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "packs")); err != nil {
		t.Fatal(err)
	}
	again, err := Read(version, Kept{Read: func(hash string) ([]byte, error) { return src.Contents[hash], nil }})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(shapeOf(c), shapeOf(again)); diff != "" || again.Hash != c.Hash {
		t.Error(diff)
	}
}

// TestPackTwice: one folder may be taken in twice, under two names.
func TestPackTwice(t *testing.T) {
	files := packed()
	files["config.hcl"] += `
pack "shop" {
  source    = "./packs/web"
  pipelines = { access = pipeline.ids }
  responses = { tell = response.tell }
  detectors = { log = detector.eve }
  variables = { least = 5, word = "xss" }
}
`
	_, c, diags := readFolder(t, folder(t, files))
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	var names []string
	for _, r := range c.Match.Sources[0].Pipelines[0].Rules {
		names = append(names, r.Address)
	}
	if strings.Join(names, " ") != "rule.web_sqli rule.shop_sqli" {
		t.Errorf("rules %v", names)
	}
}

// TestPackLinks: a pack reads nothing outside of its folder through symbolic links.
func TestPackLinks(t *testing.T) {
	for name, rule := range map[string]string{
		"text.txt": `rule "stolen" {
  on    = [pipeline.access]
  when  = true
  title = file("text.txt")
}`,
		"rows.csv": `table "stolen" {
  path = "rows.csv"
  key  = "ip"
}`,
		"more.hcl": "",
	} {
		files := packed()
		files["packs/web/stolen.hcl"] = rule
		files["outside"] = "ip,word\n10.0.0.1,hidden\n"
		dir := folder(t, files)
		if err := os.Symlink("../../outside", filepath.Join(dir, "packs/web", name)); err != nil {
			t.Fatal(err)
		}
		src, _, diags := readFolder(t, dir)
		text, err := src.Encode()
		if err != nil {
			t.Fatal(err)
		}
		refused := slices.ContainsFunc(diags, func(d *hcl.Diagnostic) bool { return strings.Contains(d.Detail, "is not in ") })
		if !refused || bytes.Contains(text, []byte("hidden")) || len(src.Contents) > 1 {
			t.Errorf("%s: %v", name, diags)
		}
	}
}

// TestPackComplaints changes one file of a good pack.
func TestPackComplaints(t *testing.T) {
	var out, got bytes.Buffer
	for _, change := range [][3]string{
		{"config.hcl", `"packs/web"`, `"packs/wbe"`},
		{"config.hcl", `"packs/web"`, `"packs/${local.least}"`},
		{"config.hcl", `{ access = pipeline.ids }`, `{ acess = pipeline.ids }`},
		{"config.hcl", `{ access = pipeline.ids }`, `{ access = pipeline.idss }`},
		{"config.hcl", `{ access = pipeline.ids }`, `{ access = detector.eve }`},
		{"config.hcl", `{ access = pipeline.ids }`, `[pipeline.ids]`},
		{"config.hcl", `{ least = local.least }`, `{ least = "three" }`},
		{"config.hcl", `{ least = local.least }`, `{ last = 3 }`},
		{"config.hcl", `  variables = { least = local.least }`, ``},
		{"packs/web/rules.hcl", `[pipeline.access]`, `[pipeline.acces]`},
		{"packs/web/rules.hcl", `[pipeline.access]`, `[pipeline.ids]`},
		{"packs/web/rules.hcl", `var.word &&`, `var.wrod &&`},
		{"packs/web/rules.hcl", `file("what.txt")`, `file("../../config.hcl")`},
		{"packs/web/rules.hcl", `file("what.txt")`, `file(var.word)`},
		{"packs/web/rules.hcl", `file("what.txt")`, `env("HOME")`},
		{"packs/web/rules.hcl", `local.why`, `"${secret("a")}"`},
		{"packs/web/rules.hcl", `input "detector" "log"`, `input "kelpie" "log"`},
		{"packs/web/rules.hcl", `rule "sqli" {`, `rule "sqli" }`},
		{"packs/web/rules.hcl", `"detector.log"`, `"detector.log2"`},
		{"packs/web/tables.hcl", `"skip.csv"`, `"/etc/passwd"`},
		{"packs/web/skip.csv", `10.0.0.1`, `10.0.0.1.1`},
		{"packs/web/tables.hcl", `table "skip"`, "kelpie {\n}\naction \"email\" \"a\" {\n}\nprotect \"a\" {\n}\nresponse \"a\" {\n}\npack \"a\" {\n}\ntable \"skip\""},
		{"config.hcl", `pack "web"`, "input \"pipeline\" \"a\" {\n}\nmodule \"web\" {\n  source = \"packs/web\"\n}\npack \"web\""},
	} {
		files := packed()
		name, before, after := change[0], change[1], change[2]
		if !strings.Contains(files[name], before) {
			t.Fatalf("%s has no %s", name, before)
		}
		files[name] = strings.Replace(files[name], before, after, 1)
		dir := folder(t, files)
		src, _, diags := readFolder(t, dir)
		out.WriteString("== " + name + ": " + before + " → " + strings.ReplaceAll(after, "\n", " ") + "\n")
		if err := WriteText(&out, diags, src.Listing(), false); err != nil {
			t.Fatal(err)
		}
		out.WriteString("\n")
		got.Write(bytes.ReplaceAll(out.Bytes(), []byte(dir), []byte("DIR")))
		out.Reset()
	}
	golden(t, "testdata/pack.txt", got.Bytes())
}

// teamed is a configuration with a module.
func teamed() map[string]string {
	return map[string]string{
		"config.hcl": `
detector "file" "eve" {
  path = "eve.json"
}
detector "file" "other" {
  path = "other.json"
}
pipeline "ids" {
  from = [detector.eve]
}
pipeline "secret" {
  from = [detector.other]
}
table "staff" {
  path = "staff.csv"
  key  = "user"
}
rule "staff_only" {
  state = "experimental"
  on    = [pipeline.secret]
  when  = has(table.staff[event.raw.user])
}
route "oncall" {
  to        = ["oncall@example.org"]
  otherwise = "soc@example.org"
}
action "carbonblack" "edr" {
  connection = connection.edr
}
connection "carbonblack" "edr" {
  url   = "https://cb.example.org"
  token = secret("cb-token")
}
action "email" "mail" {
  server = "smtp://mail.example.org:587"
  from   = "kelpie@example.org"
}
response "contain" {
  when = case.score.total >= 60

  step "isolate" {
    do         = action.edr.isolate_host
    targets    = case.hosts
    undo_after = "4h"
  }
}
response "tell" {
  when = case.score.total >= 60

  step "mail" {
    do = action.mail.notify
    to = route.oncall
  }
}
pipeline "loud" {
  from    = [detector.eve]
  alerts  = true
  respond = [response.contain, response.tell]
}
module "shop" {
  source    = "shop"
  variables = { least = 3 }

  grants {
    detectors = [detector.eve]
    pipelines = [pipeline.ids]
    tables    = [table.staff]
    verbs     = ["notify"]
    routes    = [route.oncall]
  }
}
`,
		"staff.csv": "user,owner\nkim,kim\n",
		"shop/shop.hcl": `
variable "least" {
  type = "number"
}
pipeline "orders" {
  from = [detector.eve]
  when = event.raw.shop == true
}
ignore "tests" {
  on      = [pipeline.orders]
  when    = event.raw.test == true
  owner   = "shop"
  reason  = "our tests"
  expires = "2099-01-01"
}
rule "many" {
  on      = [pipeline.orders, pipeline.ids]
  when    = event.raw.n > var.least && has(table.staff[event.raw.user])
  respond = [response.tell]
}
rule "own" {
  on      = [pipeline.orders]
  when    = event.raw.n > 1000
  respond = [response.page]
}
response "page" {
  when = case.score.total >= 60

  step "mail" {
    do = action.mail.notify
    to = route.oncall
  }
}
`,
	}
}

func TestModule(t *testing.T) {
	_, c, diags := readFolder(t, folder(t, teamed()))
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	var names []string
	for _, p := range c.Match.Sources[0].Pipelines {
		names = append(names, p.Address)
		for _, r := range p.Rules {
			names = append(names, r.Address)
		}
	}
	if got := strings.Join(names, " "); got != "pipeline.ids rule.shop_many pipeline.loud pipeline.shop_orders rule.shop_many rule.shop_own" {
		t.Errorf("pipelines and rules %s", got)
	}
}

// TestModuleComplaints changes one file of a good module's configuration.
func TestModuleComplaints(t *testing.T) {
	var out bytes.Buffer
	for _, change := range [][3]string{
		{"config.hcl", "    detectors = [detector.eve]\n", ""},
		{"config.hcl", "    pipelines = [pipeline.ids]\n", ""},
		{"config.hcl", "    tables    = [table.staff]\n", ""},
		{"config.hcl", `["notify"]`, `["isolate_host"]`},
		{"config.hcl", `["notify"]`, `["notfy"]`},
		{"config.hcl", "    routes    = [route.oncall]\n", ""},
		{"config.hcl", "[pipeline.ids]\n    tables", "[pipeline.idss]\n    tables"},
		{"shop/shop.hcl", `[pipeline.orders, pipeline.ids]`, `[pipeline.orders, pipeline.secret]`},
		{"shop/shop.hcl", `[response.tell]`, `[response.contain]`},
		{"shop/shop.hcl", `on      = [pipeline.orders]`, `on      = [pipeline.ids]`},
		{"shop/shop.hcl", `to = route.oncall`, `to = [route.oncall, "me@example.org"]`},
		{"shop/shop.hcl", `action.mail.notify`, `action.edr.isolate_host`},
		{"shop/shop.hcl", `rule "own"`, "route \"a\" {\n}\nprotect \"a\" {\n}\nscore {\n}\nrule \"own\""},
	} {
		files := teamed()
		name, before, after := change[0], change[1], change[2]
		if !strings.Contains(files[name], before) {
			t.Fatalf("%s has no %s", name, before)
		}
		files[name] = strings.Replace(files[name], before, after, 1)
		src, _, diags := readFolder(t, folder(t, files))
		out.WriteString("== " + name + ": " + strings.TrimSpace(before) + " → " + strings.ReplaceAll(after, "\n", " ") + "\n")
		if err := WriteText(&out, diags, src.Listing(), false); err != nil {
			t.Fatal(err)
		}
		out.WriteString("\n")
	}
	golden(t, "testdata/module.txt", out.Bytes())
}

package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/kelpie-sec/kelpie/sdk"
	tables "github.com/kelpie-sec/kelpie/sdk/table"
)

// config is an enrichment block.
type config struct {
	Path      sdk.Path            `kelpie:"path,required" doc:"The file: CSV with a header, or one JSON object a line. It is read again when it changes." example:"assets.csv"`
	Format    string              `kelpie:"format" doc:"Notation of the file. Without it the name tells: .csv, .tsv, .ndjson, .jsonl." oneof:"csv,ndjson"`
	Separator string              `kelpie:"separator" doc:"What stands between CSV cells, if not a comma." example:";"`
	Answer    string              `kelpie:"answer" doc:"What a row is. Without it the columns tell." oneof:"asset,identity,verdict,network"`
	Keys      map[string][]string `kelpie:"keys" doc:"Columns by which a row is found, for each kind of observable. Without it the columns' names tell." example:"{\"ip\": [\"ips\", \"vpn_ip\"]}"`
	Columns   map[string]string   `kelpie:"columns" doc:"For a field of the answer, the column that holds it, where their names differ." example:"{\"owner\": \"responsible\"}"`
	Domains   []string            `kelpie:"domains" doc:"A host below one of these domains that is not in the file is also looked up by its first label." example:"[\"corp.example.org\"]"`

	Disposition string `kelpie:"disposition" doc:"Disposition of a verdict whose row has none." oneof:"unknown,benign,suspicious,malicious"`
	Score       *int   `kelpie:"score" doc:"Score, 0 to 100, of a verdict whose row has none. Without it: malicious 100, suspicious 50, others 0."`
	Confidence  int    `kelpie:"confidence" doc:"Confidence, 0 to 100, of a verdict whose row has none." default:"100"`

	Every time.Duration `kelpie:"every" doc:"How often the file is looked at for changes." default:"5s"`
}

const (
	asset    = "asset"
	identity = "identity"
	verdict  = "verdict"
	network  = "network"
)

// fields of each answer, which columns of these names fill.
var fields = map[string][]string{
	asset: {
		"name", "fqdn", "ips", "macs", "os", "os_version", "roles", "owner", "team", "criticality", "tags", "patches",
		"protection_installed", "protection_running", "protection_current", "managed", "seen_at",
	},
	identity: {
		"name", "upn", "mail", "sid", "title", "department", "manager", "groups", "privileged", "state", "last_logon", "password_set",
	},
	verdict: {"disposition", "score", "confidence", "labels", "link"},
	network: {"country", "city", "asn", "organisation", "kind"},
}

// telling are columns that only one answer has, the most telling first.
var telling = []struct {
	answer  string
	columns []string
}{
	{verdict, []string{"disposition"}},
	{identity, []string{"upn", "sid", "mail", "manager", "department", "groups", "privileged"}},
	{asset, []string{"fqdn", "hostname", "host", "ips", "macs", "os", "criticality", "roles", "managed"}},
	{network, []string{"country", "asn", "organisation"}},
}

// synonyms are other names under which columns hold a field.
var synonyms = map[string][]string{
	"name": {"hostname", "host", "user", "username", "login"},
	"ips":  {"ip", "address", "addresses", "cidr", "network", "networks"},
	"macs": {"mac"},
	"mail": {"email"},
	"upn":  {"user_principal_name"},
}

// keyColumns are the columns by which rows of an answer are found if they are there.
var keyColumns = map[string][]tables.Key{
	asset: keysOf(map[string][]string{
		sdk.IP:   {"ips", "ip", "address", "addresses", "cidr", "network", "networks"},
		sdk.Host: {"name", "fqdn", "host", "hostname"},
		sdk.MAC:  {"macs", "mac"},
	}),
	identity: keysOf(map[string][]string{
		sdk.User:    {"name", "user", "username", "login", "upn", "user_principal_name", "sid"},
		sdk.Account: {"name", "user", "username", "login", "upn", "user_principal_name", "sid", "account"},
		sdk.Email:   {"mail", "email"},
	}),
	verdict: keysOf(map[string][]string{
		tables.KindOfCell: {"observable"},
		sdk.IP:            {"ip", "ips", "address", "addresses", "cidr", "network", "networks"},
		sdk.Host:          {"host", "hostname"},
		sdk.User:          {"user", "username"},
		sdk.Account:       {"account"},
		sdk.MAC:           {"mac", "macs"},
		sdk.Domain:        {"domain", "domains"},
		sdk.URL:           {"url", "urls"},
		sdk.Email:         {"mail", "email"},
		sdk.Hash:          {"hash", "hashes", "md5", "sha1", "sha256", "sha512"},
		sdk.Process:       {"process"},
		sdk.File:          {"file"},
		sdk.Resource:      {"resource"},
	}),
	network: keysOf(map[string][]string{
		sdk.IP:     {"ip", "ips", "address", "addresses", "cidr", "network", "networks"},
		sdk.Domain: {"domain"},
	}),
}

func keysOf(kinds map[string][]string) []tables.Key {
	var keys []tables.Key
	for _, kind := range append(sdk.Kinds(), tables.KindOfCell) {
		for _, column := range kinds[kind] {
			keys = append(keys, tables.Key{Column: column, Kind: kind})
		}
	}
	return keys
}

// Validate complains about what no schema can say.
func (t *table) Validate() []sdk.Diagnostic {
	var wrong []sdk.Diagnostic
	complain := func(summary, detail string, path ...string) {
		wrong = append(wrong, sdk.Diagnostic{Path: path, Summary: summary, Detail: detail})
	}
	c := &t.config
	if c.Separator != "" {
		if r, size := utf8.DecodeRuneInString(c.Separator); size != len(c.Separator) || r == utf8.RuneError || strings.ContainsRune("\"\r\n#", r) {
			complain("separator must be one character", `Write separator = ";", or "\t" for tabs.`, "separator")
		}
	}
	for kind := range c.Keys {
		if kind != tables.KindOfCell && !slices.Contains(sdk.Kinds(), kind) {
			complain(fmt.Sprintf("%q is no kind of observable", kind), "There are "+strings.Join(sdk.Kinds(), ", ")+`, and "observable" for a column whose cells are written kind:value.`, "keys", kind)
		}
	}
	for field := range c.Columns {
		known := fields[c.Answer]
		for _, answer := range []string{asset, identity, verdict, network} {
			if c.Answer == "" {
				known = append(known[:len(known):len(known)], fields[answer]...)
			}
		}
		if !slices.Contains(known, field) {
			complain(fmt.Sprintf("%q is no field of an answer", field), "There are "+strings.Join(known, ", ")+".", "columns", field)
		}
	}
	for i, domain := range c.Domains {
		if _, err := sdk.Canonical(sdk.Domain, domain); err != nil {
			complain("this is no domain", err.Error(), "domains", fmt.Sprint(i))
		}
	}
	if c.Score != nil && (*c.Score < 0 || *c.Score > 100) {
		complain("score must be between 0 and 100", "", "score")
	}
	if c.Confidence < 0 || c.Confidence > 100 {
		complain("confidence must be between 0 and 100", "", "confidence")
	}
	if c.Every < 100*time.Millisecond {
		complain("every must be 100ms or more", "", "every")
	}
	return wrong
}

// shape is how the rows of a table are read.
type shape struct {
	answer string
	// columns that hold each field, where there is one.
	columns map[string]string
	// details are the columns that are no field.
	details []string
	keys    []tables.Key
}

// shapeOf finds out what the columns mean.
func (c *config) shapeOf(columns []string) (*shape, error) {
	s := &shape{answer: c.Answer, columns: map[string]string{}}
	for _, sign := range telling {
		if s.answer == "" && slices.ContainsFunc(sign.columns, func(name string) bool { return slices.Contains(columns, name) }) {
			s.answer = sign.answer
		}
	}
	if s.answer == "" {
		return nil, fmt.Errorf("has the columns %s, which do not tell what a row is; set answer to asset, identity, verdict or network", strings.Join(columns, ", "))
	}
	taken := map[string]bool{}
	for _, field := range fields[s.answer] {
		names := append([]string{field}, synonyms[field]...)
		if named, ok := c.Columns[field]; ok {
			if names = []string{named}; !slices.Contains(columns, named) {
				return nil, fmt.Errorf("has no column %q for %s, only %s", named, field, strings.Join(columns, ", "))
			}
		}
		for _, name := range names {
			if slices.Contains(columns, name) && !taken[name] {
				s.columns[field], taken[name] = name, true
				break
			}
		}
	}
	if s.answer == verdict && s.columns["disposition"] == "" && c.Disposition == "" {
		return nil, fmt.Errorf("has no column disposition; set disposition for all rows")
	}
	var err error
	if s.keys, err = c.keysIn(s.answer, columns); err != nil {
		return nil, err
	}
	for _, column := range columns {
		if !taken[column] {
			s.details = append(s.details, column)
		}
	}
	return s, nil
}

func (c *config) keysIn(answer string, columns []string) ([]tables.Key, error) {
	var keys []tables.Key
	if c.Keys != nil {
		keys = keysOf(c.Keys)
		return tables.Columns(keys...)(columns)
	}
	for _, key := range keyColumns[answer] {
		if slices.Contains(columns, key.Column) {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("has the columns %s, none of which is known to name %s; set keys", strings.Join(columns, ", "), withArticle(answer))
	}
	return keys, nil
}

func withArticle(answer string) string {
	if answer == asset || answer == identity {
		return "an " + answer
	}
	return "a " + answer
}

package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
	tables "github.com/kelpie-sec/kelpie/sdk/table"
)

// cells reads typed values from a row and keeps the first complaint.
type cells struct {
	shape *shape
	row   tables.Row
	err   error
}

// answer reads a row. An error is a *tables.Error that names the column.
func (c *config) answer(s *shape, row tables.Row) (sdk.Answer, error) {
	in := &cells{shape: s, row: row}
	var answer sdk.Answer
	switch s.answer {
	case asset:
		answer.Asset = in.asset()
	case identity:
		answer.Identity = in.identity()
	case verdict:
		answer.Verdict = in.verdict(c)
	case network:
		answer.Network = &sdk.Network{
			Country: in.text("country"), City: in.text("city"), ASN: in.asn(),
			Organisation: in.text("organisation"), Kind: in.text("kind"),
		}
	}
	for _, column := range s.details {
		if value := row.Value(column); value != "" {
			if answer.Details == nil {
				answer.Details = make(map[string]any, len(s.details))
			}
			answer.Details[column] = value
		}
	}
	return answer, in.err
}

func (in *cells) asset() *sdk.Asset {
	return &sdk.Asset{
		Name: in.text("name"), FQDN: in.text("fqdn"),
		IPs: in.list("ips"), MACs: in.list("macs"),
		OS: in.text("os"), OSVersion: in.text("os_version"),
		Roles: in.list("roles"), Owner: in.text("owner"), Team: in.text("team"),
		Criticality: in.percent("criticality"), Tags: in.list("tags"),
		Patches: in.patches(), Protection: in.protection(),
		Managed: in.truth("managed"), SeenAt: in.time("seen_at"),
	}
}

func (in *cells) identity() *sdk.Identity {
	return &sdk.Identity{
		Name: in.text("name"), UPN: in.text("upn"), Mail: in.text("mail"), SID: in.text("sid"),
		Title: in.text("title"), Department: in.text("department"), Manager: in.text("manager"),
		Groups: in.list("groups"), Privileged: in.truth("privileged"), State: in.text("state"),
		LastLogon: in.time("last_logon"), PasswordSet: in.time("password_set"),
	}
}

func (in *cells) verdict(c *config) *sdk.Verdict {
	v := &sdk.Verdict{Disposition: sdk.Disposition(strings.ToLower(in.text("disposition"))), Confidence: c.Confidence, Labels: in.list("labels"), Link: in.link()}
	switch v.Disposition {
	case "":
		if v.Disposition = sdk.Disposition(c.Disposition); v.Disposition == "" {
			in.complain("disposition", "is empty; fill it or set disposition for all such rows")
		}
	case sdk.Unknown, sdk.Benign, sdk.Suspicious, sdk.Malicious:
	default:
		in.complain("disposition", "is %q; there are unknown, benign, suspicious and malicious", v.Disposition)
	}
	switch score := in.percent("score"); {
	case score != nil:
		v.Score = *score
	case c.Score != nil:
		v.Score = *c.Score
	case v.Disposition == sdk.Malicious:
		v.Score = 100
	case v.Disposition == sdk.Suspicious:
		v.Score = 50
	}
	if confidence := in.percent("confidence"); confidence != nil {
		v.Confidence = *confidence
	}
	return v
}

func (in *cells) complain(field, format string, args ...any) {
	if in.err == nil {
		in.err = &tables.Error{Column: in.shape.columns[field], Reason: fmt.Sprintf(format, args...)}
	}
}

func (in *cells) text(field string) string {
	column, ok := in.shape.columns[field]
	if !ok {
		return ""
	}
	return in.row.Text(column)
}

func (in *cells) list(field string) []string {
	column, ok := in.shape.columns[field]
	if !ok {
		return nil
	}
	return in.row.List(column)
}

func (in *cells) percent(field string) *int {
	text := in.text(field)
	if text == "" {
		return nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > 100 {
		in.complain(field, "is %q; it must be a whole number from 0 to 100", text)
		return nil
	}
	return &n
}

func (in *cells) asn() int64 {
	text := in.text("asn")
	if text == "" {
		return 0
	}
	n, err := strconv.ParseUint(strings.TrimPrefix(strings.ToUpper(text), "AS"), 10, 32)
	if err != nil {
		in.complain("asn", "is %q; it must be a number such as 64500", text)
	}
	return int64(n)
}

func (in *cells) truth(field string) *bool {
	var truth bool
	switch text := strings.ToLower(in.text(field)); text {
	case "":
		return nil
	case "true", "yes", "y", "1", "t":
		truth = true
	case "false", "no", "n", "0", "f":
	default:
		in.complain(field, "is %q; it must be true or false", text)
		return nil
	}
	return &truth
}

func (in *cells) time(field string) time.Time {
	text := in.text(field)
	if text == "" {
		return time.Time{}
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", time.DateTime, time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			return at.UTC()
		}
	}
	in.complain(field, "is %q; write a time as 2026-01-31T12:00:00Z or 2026-01-31", text)
	return time.Time{}
}

// patches reads "critical=3;high=10" or a JSON object.
func (in *cells) patches() map[string]int {
	column, ok := in.shape.columns["patches"]
	if !ok || in.row.Text(column) == "" {
		return nil
	}
	counts := map[string]int{}
	if text := in.row.Text(column); strings.HasPrefix(text, "{") {
		if json.Unmarshal([]byte(text), &counts) != nil {
			in.complain("patches", "must give a whole number for each severity")
		}
		return counts
	}
	for _, entry := range in.row.List(column) {
		severity, count, _ := strings.Cut(entry, "=")
		n, err := strconv.Atoi(strings.TrimSpace(count))
		if err != nil || n < 0 {
			in.complain("patches", "has %q; write critical=3;high=10", entry)
			break
		}
		counts[strings.TrimSpace(severity)] = n
	}
	return counts
}

func (in *cells) protection() *sdk.Protection {
	p := sdk.Protection{
		Installed: in.truth("protection_installed"), Running: in.truth("protection_running"), Current: in.truth("protection_current"),
	}
	if p == (sdk.Protection{}) {
		return nil
	}
	return &p
}

func (in *cells) link() string {
	text := in.text("link")
	if u, err := url.Parse(text); text != "" && (err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http") {
		in.complain("link", "is %q; it must be an https address", text)
		return ""
	}
	return text
}

// related gives the other names and addresses of an asset or a person. A table has no
// history: what it says is taken to be true at the time asked about.
func related(s *shape, row tables.Row, asked sdk.Observable, at time.Time) (found []sdk.Found, aliases []sdk.Observable) {
	in := &cells{shape: s, row: row}
	names := map[string][]string{}
	switch s.answer {
	case asset:
		names[sdk.Host] = []string{in.text("name"), in.text("fqdn")}
		names[sdk.IP] = in.list("ips")
		names[sdk.MAC] = in.list("macs")
	case identity:
		// The mailbox is left out: that of a service account is often a person's.
		kind := sdk.User
		if asked.Kind == sdk.Account {
			kind = sdk.Account
		}
		names[kind] = []string{in.text("name"), in.text("upn"), in.text("sid")}
	}
	seen := map[sdk.Observable]bool{asked: true}
	for _, kind := range slices.Sorted(maps.Keys(names)) {
		for _, name := range names[kind] {
			other, err := sdk.Canonical(kind, name)
			if err != nil || seen[other] { // a display name, a network, an empty cell
				continue
			}
			seen[other] = true
			if kind == asked.Kind && (kind == sdk.Host || kind == sdk.User || kind == sdk.Account) {
				aliases = append(aliases, other)
				continue
			}
			if kind != asked.Kind {
				found = append(found, sdk.Found{Observable: other, At: at})
			}
		}
	}
	return found, aliases
}

// Package quickstart checks that the committed recording is what its README says it is: other tests and the example
// configuration rely on those counts and expressions.
package quickstart

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// count is what the recording holds of one source address: one row of the README's table.
type count struct {
	Requests, Messages, Blocked int // web server
	Accepted, Failed, Invalid   int // bastion
}

// patterns are the README's expressions for the lines of auth.log that matter.
var patterns = map[string]string{
	"line":     `^(?P<time>\S+) (?P<host>\S+) (?P<program>[^\s\[:]+)(?:\[(?P<pid>\d+)\])?: (?:(?:(?P<outcome>Accepted|Failed) (?P<method>\S+) for(?P<unknown_user> invalid user)?|Invalid user) (?P<user>.*) from (?P<src_ip>\S+) port (?P<src_port>\d+)(?: ssh2)?(?:: (?P<key_type>\S+) (?P<key>\S+))?|(?P<message>.*))$`,
	"accepted": `^(?P<time>\S+) (?P<host>\S+) sshd(?:-session)?\[(?P<pid>\d+)\]: Accepted (?P<method>\S+) for (?P<user>.*) from (?P<src_ip>\S+) port (?P<src_port>\d+) ssh2(?:: (?P<key_type>\S+) (?P<key>\S+))?$`,
	"failed":   `^(?P<time>\S+) (?P<host>\S+) sshd(?:-session)?\[(?P<pid>\d+)\]: Failed (?P<method>\S+) for (?P<unknown_user>invalid user )?(?P<user>.*) from (?P<src_ip>\S+) port (?P<src_port>\d+) ssh2$`,
	"invalid":  `^(?P<time>\S+) (?P<host>\S+) sshd(?:-session)?\[(?P<pid>\d+)\]: Invalid user (?P<user>.*) from (?P<src_ip>\S+) port (?P<src_port>\d+)$`,
	"exceeded": `^(?P<time>\S+) (?P<host>\S+) sshd(?:-session)?\[(?P<pid>\d+)\]: error: maximum authentication attempts exceeded for (?P<unknown_user>invalid user )?(?P<user>.*) from (?P<src_ip>\S+) port (?P<src_port>\d+) ssh2 \[preauth\]$`,
	"su":       `^(?P<time>\S+) (?P<host>\S+) su\[(?P<pid>\d+)\]: FAILED SU \(to (?P<target>.*)\) (?P<user>\S+) on (?P<tty>\S+)$`,
}

// transaction is the part of a ModSecurity audit line that a pipeline reads.
type transaction struct {
	Transaction struct {
		ClientIP  string `json:"client_ip"`
		TimeStamp string `json:"time_stamp"`
		Response  struct {
			HTTPCode int `json:"http_code"`
		} `json:"response"`
		Messages []struct {
			Message string `json:"message"`
			Details struct {
				RuleID   string `json:"ruleId"`
				Severity string `json:"severity"`
			} `json:"details"`
		} `json:"messages"`
	} `json:"transaction"`
}

func TestCounts(t *testing.T) {
	got := map[string]count{}
	readAudit(t, got)
	readAuth(t, got)
	if diff := cmp.Diff(readmeCounts(t), got); diff != "" {
		t.Errorf("counts (-README +recording):\n%s", diff)
	}
}

func TestReadmeShowsThePatterns(t *testing.T) {
	readme := read(t, "README.md")
	for name, pattern := range patterns {
		if !bytes.Contains(readme, []byte(pattern)) {
			t.Errorf("README.md lacks the expression for %q: %s", name, pattern)
		}
	}
}

// A user name that pretends to be the rest of the line must not move the address.
func TestForgedUserNames(t *testing.T) {
	tests := []struct{ pattern, line, user, ip string }{
		{"failed", "T bastion sshd[1]: Failed password for invalid user root from 10.20.9.5 port 22 ssh2 from 198.51.100.66 port 5 ssh2", "root from 10.20.9.5 port 22 ssh2", "198.51.100.66"},
		{"invalid", "T bastion sshd[1]: Invalid user root from 10.20.9.5 port 22 from 198.51.100.66 port 5", "root from 10.20.9.5 port 22", "198.51.100.66"},
		{"accepted", "T bastion sshd[1]: Accepted password for kim from fd00:20:1::11 port 5 ssh2", "kim", "fd00:20:1::11"},
		{"line", "T bastion sshd[1]: Failed none for invalid user x from 10.20.9.5 port 22 ssh2 from 2001:db8:bad::22 port 5 ssh2", "x from 10.20.9.5 port 22 ssh2", "2001:db8:bad::22"},
		{"line", "T bastion sshd[1]: Invalid user for from from 198.51.100.66 port 5", "for from", "198.51.100.66"},
		{"line", "T bastion sshd[1]: Connection closed by invalid user kim 198.51.100.66 port 5 [preauth]", "", ""},
		{"accepted", "T bastion sshd[1]: Failed password for Accepted password for kim from 10.20.9.5 port 5 ssh2", "", ""},
	}
	for _, test := range tests {
		group := match(regexp.MustCompile(patterns[test.pattern]), test.line)
		if group["user"] != test.user || group["src_ip"] != test.ip {
			t.Errorf("%s\n got %q from %q, want %q from %q", test.line, group["user"], group["src_ip"], test.user, test.ip)
		}
	}
}

// The story that the example is about: alerts at the web server, then failures for four people, then a log-in.
func TestStory(t *testing.T) {
	const intruder = "198.51.100.23"
	var lastAlert, loggedIn, firstFailure time.Time
	for _, tx := range audit(t) {
		if tx.Transaction.ClientIP == intruder && len(tx.Transaction.Messages) > 0 {
			lastAlert = parse(t, time.ANSIC, tx.Transaction.TimeStamp)
		}
	}
	users := map[string]bool{}
	failed, accepted := regexp.MustCompile(patterns["failed"]), regexp.MustCompile(patterns["accepted"])
	for line := range strings.Lines(string(read(t, "recording/auth.log"))) {
		line = strings.TrimSuffix(line, "\n")
		if group := match(failed, line); group["src_ip"] == intruder {
			users[group["user"]] = true
			if firstFailure.IsZero() {
				firstFailure = parse(t, time.RFC3339Nano, group["time"])
			}
		}
		if group := match(accepted, line); group["src_ip"] == intruder {
			if group["user"] != "mara" || group["method"] != "password" {
				t.Errorf("intruder logged in as %q by %q", group["user"], group["method"])
			}
			loggedIn = parse(t, time.RFC3339Nano, group["time"])
		}
	}
	if len(users) != 6 {
		t.Errorf("intruder tried %v, want 6 names", users)
	}
	if !(lastAlert.Before(firstFailure) && firstFailure.Before(loggedIn)) {
		t.Errorf("order: alert %s, failure %s, log-in %s", lastAlert, firstFailure, loggedIn)
	}
}

func TestRecordingIsNeutral(t *testing.T) {
	for _, name := range []string{"recording/modsec_audit.json", "recording/auth.log"} {
		data := read(t, name)
		for _, word := range []string{"/work", "/root", "/home/", "/tmp/", "kelpie", "localhost", "127.0.0.1"} {
			if bytes.Contains(data, []byte(word)) {
				t.Errorf("%s contains %q", name, word)
			}
		}
	}
}

// What a strict JSON reader must complain about: two lines that are no UTF-8, one object with a name twice.
func TestHostileLines(t *testing.T) {
	var invalid, duplicate int
	for line := range bytes.Lines(read(t, "recording/modsec_audit.json")) {
		if !bytes.Equal(bytes.ToValidUTF8(line, nil), line) {
			invalid++
		}
		if bytes.Count(line, []byte(`"X-Forwarded-For":`)) == 2 {
			duplicate++
		}
	}
	if invalid != 2 || duplicate != 1 {
		t.Errorf("got %d lines of invalid UTF-8 and %d with a name twice, want 2 and 1", invalid, duplicate)
	}
}

func TestTables(t *testing.T) {
	tests := []struct {
		file, addresses, numbers, flags string // names of columns, separated by commas
		rows                            int
	}{
		{"assets.csv", "ips", "criticality", "managed", 8},
		{"people.csv", "", "", "privileged", 6},
		{"watchlist.csv", "cidr", "score,confidence", "", 4},
	}
	for _, test := range tests {
		rows, err := csv.NewReader(bytes.NewReader(read(t, test.file))).ReadAll()
		if err != nil {
			t.Fatalf("%s: %v", test.file, err)
		}
		if len(rows)-1 != test.rows {
			t.Errorf("%s: %d rows, want %d", test.file, len(rows)-1, test.rows)
		}
		for _, row := range rows[1:] {
			for i, column := range rows[0] {
				checkCell(t, test.file, column, row[i],
					slices.Contains(strings.Split(test.addresses, ","), column),
					slices.Contains(strings.Split(test.numbers, ","), column),
					slices.Contains(strings.Split(test.flags, ","), column))
			}
		}
	}
}

func checkCell(t *testing.T, file, column, cell string, address, number, flag bool) {
	t.Helper()
	var err error
	switch {
	case address:
		for part := range strings.SplitSeq(cell, ";") {
			if _, err = netip.ParsePrefix(part); err != nil {
				_, err = netip.ParseAddr(part)
			}
			if err != nil {
				break
			}
		}
	case number:
		_, err = strconv.ParseUint(cell, 10, 7)
	case flag:
		_, err = strconv.ParseBool(cell)
	}
	if err != nil {
		t.Errorf("%s: column %s: %v", file, column, err)
	}
}

func readAudit(t *testing.T, into map[string]count) {
	t.Helper()
	for _, tx := range audit(t) {
		parse(t, time.ANSIC, tx.Transaction.TimeStamp)
		c := into[tx.Transaction.ClientIP]
		c.Requests++
		if len(tx.Transaction.Messages) > 0 {
			c.Messages++
		}
		if tx.Transaction.Response.HTTPCode == 403 {
			c.Blocked++
		}
		into[tx.Transaction.ClientIP] = c
	}
}

func audit(t *testing.T) []transaction {
	t.Helper()
	var all []transaction
	for line := range bytes.Lines(read(t, "recording/modsec_audit.json")) {
		var tx transaction
		if err := json.Unmarshal(line, &tx); err != nil {
			t.Fatalf("line %d: %v", len(all)+1, err)
		}
		all = append(all, tx)
	}
	return all
}

func readAuth(t *testing.T, into map[string]count) {
	t.Helper()
	compiled := map[string]*regexp.Regexp{}
	for name, pattern := range patterns {
		compiled[name] = regexp.MustCompile(pattern)
	}
	for line := range strings.Lines(string(read(t, "recording/auth.log"))) {
		line = strings.TrimSuffix(line, "\n")
		group := match(compiled["line"], line)
		if group == nil {
			t.Errorf("no expression matches %q", line)
			continue
		}
		parse(t, time.RFC3339Nano, group["time"])
		kinds := 0
		for name, field := range map[string]func(*count) *int{
			"accepted": func(c *count) *int { return &c.Accepted },
			"failed":   func(c *count) *int { return &c.Failed },
			"invalid":  func(c *count) *int { return &c.Invalid },
		} {
			if kind := match(compiled[name], line); kind != nil {
				kinds++
				c := into[kind["src_ip"]]
				*field(&c)++
				into[kind["src_ip"]] = c
				if kind["user"] != group["user"] || kind["src_ip"] != group["src_ip"] {
					t.Errorf("expressions %q and \"line\" disagree on %q", name, line)
				}
			}
		}
		if wanted := group["src_ip"] != ""; wanted != (kinds == 1) {
			t.Errorf("%d expressions match %q", kinds, line)
		}
	}
}

// readmeCounts reads the rows "| `address` | who | requests | … |" of README.md.
func readmeCounts(t *testing.T) map[string]count {
	t.Helper()
	row := regexp.MustCompile("^\\| `([0-9a-f.:]+)` \\|[^|]*\\| (\\d+) \\| (\\d+) \\| (\\d+) \\| (\\d+) \\| (\\d+) \\| (\\d+) \\|$")
	counts := map[string]count{}
	scanner := bufio.NewScanner(bytes.NewReader(read(t, "README.md")))
	for scanner.Scan() {
		cells := row.FindStringSubmatch(scanner.Text())
		if cells == nil {
			continue
		}
		var n [6]int
		for i := range n {
			n[i], _ = strconv.Atoi(cells[i+2])
		}
		counts[cells[1]] = count{n[0], n[1], n[2], n[3], n[4], n[5]}
	}
	return counts
}

func match(pattern *regexp.Regexp, line string) map[string]string {
	values := pattern.FindStringSubmatch(line)
	if values == nil {
		return nil
	}
	groups := map[string]string{}
	for i, name := range pattern.SubexpNames() {
		if name != "" {
			groups[name] = values[i]
		}
	}
	return groups
}

func parse(t *testing.T, layout, text string) time.Time {
	t.Helper()
	at, err := time.Parse(layout, text)
	if err != nil {
		t.Error(err)
	}
	return at
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

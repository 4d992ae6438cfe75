package table

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/kelpie-sec/kelpie/sdk"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const assets = "\xef\xbb\xbf# exported from the inventory\n" +
	`Name,FQDN,IP,Roles,OS Version
ws-17,ws-17.corp.example.org,10.1.2.3;2001:DB8::17,workstation; laptop,"11, 24H2"
dc-1,DC-1.corp.example.org,10.1.0.10,domain_controller,
scanner,,10.9.0.0/24,scanner,
lab,*.lab.example.org,10.0.0.0/8,,
lab-deep,*.deep.lab.example.org,n/a,,
`

func assetKeys(columns []string) ([]Key, error) {
	return Columns(Key{Column: "ip", Kind: sdk.IP}, Key{Column: "name", Kind: sdk.Host}, Key{Column: "fqdn", Kind: sdk.Host})(columns)
}

func parse(t *testing.T, format Format, text string, keys ...Key) *Table {
	t.Helper()
	table, err := Parse(strings.NewReader(text), "t", Options{Format: format, Keys: Columns(keys...)})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestLookup(t *testing.T) {
	table, err := Parse(strings.NewReader(assets), "assets.csv", Options{Format: CSV, Keys: assetKeys})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		kind, value string
		want        string // "row's name key exact"
	}{
		{sdk.IP, "10.1.2.3", "ws-17 10.1.2.3 true"},
		{sdk.IP, "2001:db8::17", "ws-17 2001:db8::17 true"},
		{sdk.IP, "10.9.0.7", "scanner 10.9.0.0/24 false"},
		{sdk.IP, "10.9.1.7", "lab 10.0.0.0/8 false"},
		{sdk.IP, "192.0.2.1", ""},
		{sdk.IP, "2001:db8::18", ""},
		{sdk.Host, "ws-17", "ws-17 ws-17 true"},
		{sdk.Host, "dc-1.corp.example.org", "dc-1 dc-1.corp.example.org true"},
		{sdk.Host, "a.lab.example.org", "lab *.lab.example.org false"},
		{sdk.Host, "a.b.deep.lab.example.org", "lab-deep *.deep.lab.example.org false"},
		{sdk.Host, "lab.example.org", ""},
		{sdk.Host, "xlab.example.org", ""},
		{sdk.MAC, "00:00:5e:00:53:01", ""},
		{sdk.IP, "nonsense", ""},
	} {
		match, ok := table.Lookup(test.kind, test.value)
		got := ""
		if ok {
			got = fmt.Sprint(match.Rows[0].Text("name"), " ", match.Key, " ", match.Exact)
		}
		if got != test.want {
			t.Errorf("Lookup(%s, %s) = %q, want %q", test.kind, test.value, got, test.want)
		}
	}
	match, _ := table.Lookup(sdk.Host, "ws-17")
	row := match.Rows[0]
	if got, want := fmt.Sprintf("%q %s %d %q", row.List("roles"), row.Text("os_version"), row.Line(), row.Text("absent")), `["workstation" "laptop"] 11, 24H2 3 ""`; got != want {
		t.Errorf("row = %s, want %s", got, want)
	}
	if table.Len() != 5 || len(table.Version()) != 64 || fmt.Sprint(table.Kinds()) != "[host ip]" {
		t.Errorf("table has %d rows, version %q, kinds %v", table.Len(), table.Version(), table.Kinds())
	}
}

func TestLookupReturnsAllRowsOfAKey(t *testing.T) {
	table := parse(t, CSV, "value,why\nevil.example.org,botnet\ngood.example.org,x\nEVIL.example.org.,phishing\n", Key{"value", sdk.Domain})
	match, _ := table.Lookup(sdk.Domain, "evil.example.org")
	if len(match.Rows) != 2 || match.Rows[0].Text("why") != "botnet" || match.Rows[1].Text("why") != "phishing" {
		t.Errorf("Lookup found %d rows: %v", len(match.Rows), match)
	}
}

func TestNDJSON(t *testing.T) {
	table := parse(t, NDJSON, `
{"user": "CORP\\Kim", "groups": ["a;b", "c"], "uid": 12345678901234567890, "admin": true, "extra": {"x": "<1>"}, "none": null}
{"user": "*@x", "Uid": 1.50}
`, Key{"user", ""})
	match, ok := table.Lookup("", `CORP\Kim`)
	if !ok {
		t.Fatal("row not found")
	}
	row := match.Rows[0]
	got := fmt.Sprintf("%s|%q|%s|%s|%s|%s|%s", row.Text("user"), row.List("groups"), row.Text("groups"), row.Text("uid"), row.Text("admin"), row.Text("extra"), row.Text("none"))
	if want := `CORP\Kim|["a;b" "c"]|a;b; c|12345678901234567890|true|{"x":"<1>"}|`; got != want {
		t.Errorf("row = %s, want %s", got, want)
	}
	if match, ok = table.Lookup("", "*@x"); !ok || match.Rows[0].Text("uid") != "1.50" || match.Rows[0].Text("admin") != "" {
		t.Errorf("text keys are not taken as they are: %v %v", match, ok)
	}
}

func TestKindOfCell(t *testing.T) {
	table := parse(t, CSV, "observable,n\nip:10.0.0.0/8;domain:*.example.org,1\nhash:"+strings.Repeat("AB", 16)+",2\n", Key{"observable", KindOfCell})
	for kind, value := range map[string]string{sdk.IP: "10.1.1.1", sdk.Domain: "a.example.org", sdk.Hash: strings.Repeat("ab", 16)} {
		if _, ok := table.Lookup(kind, value); !ok {
			t.Errorf("Lookup(%s, %s) found nothing", kind, value)
		}
	}
	_, err := Parse(strings.NewReader("observable\n10.0.0.1\n"), "t", Options{Format: CSV, Keys: Columns(Key{"observable", KindOfCell})})
	if err == nil || !strings.Contains(err.Error(), "t:2: column \"observable\": \"10.0.0.1\" is not written kind:value") {
		t.Errorf("error = %v", err)
	}
}

func TestCheck(t *testing.T) {
	_, err := Parse(strings.NewReader("ip,n\n10.0.0.1,1\n\n10.0.0.2,x\n"), "t", Options{Format: CSV, Check: func(row Row) error {
		if row.Text("n") != "1" {
			return &Error{Column: "n", Reason: "is not one"}
		}
		return nil
	}})
	if err == nil || err.Error() != `t:4: column "n": is not one` {
		t.Errorf("error = %v", err)
	}
}

func TestWildcardAddresses(t *testing.T) {
	table := parse(t, CSV, "mail,n\n*@example.org,1\nkim@example.org,2\n", Key{"mail", sdk.Email})
	for value, want := range map[string]string{"a@example.org": "1", "kim@example.org": "2", "a@b.example.org": ""} {
		got := ""
		if match, ok := table.Lookup(sdk.Email, value); ok {
			got = match.Rows[0].Text("n")
		}
		if got != want {
			t.Errorf("Lookup(%s) = %q, want %q", value, got, want)
		}
	}
}

func TestParseComplaints(t *testing.T) {
	ip := Columns(Key{"ip", sdk.IP})
	for _, test := range []struct {
		name   string
		format Format
		text   string
		want   string
	}{
		{"empty", CSV, "", "t: is empty"},
		{"format", "xml", "", `t: the format "xml" is not known`},
		{"no column", CSV, "name\nx\n", `t: has no column "ip", only name`},
		{"address", CSV, "ip,n\n10.0.0.1,1\n10.0.0.300,2\n", `t:3: column "ip": ip "10.0.0.300": is not an IP address`},
		{"network", CSV, "ip\n10.0.0.1/8\n", `t:2: column "ip": "10.0.0.1/8" has bits after its length; write 10.0.0.0/8`},
		{"wildcard", CSV, "ip\n*.10\n", `t:2: column "ip": "*.10" is a wildcard`},
		{"cells", CSV, "ip,n\n10.0.0.1\n", "t:2: has not as many cells as the header has columns (2)"},
		{"quote", CSV, "ip,n\n10.0.0.1,\"a\n", "t:2:"},
		{"bare quote", CSV, "ip,n\n10.0.0.1,a\"b\n", "t:2:11: a quotation mark stands inside"},
		{"nul", CSV, "ip,n\n10.0.0.1,a\x00\n", `t:2:10: column "n": holds a control character`},
		{"utf8", CSV, "ip,n\n10.0.0.1,\xff\n", `t:2:10: column "n": is not UTF-8`},
		{"large cell", CSV, "ip,n\n10.0.0.1," + strings.Repeat("x", MaxCell+1), `t:2:10: column "n": is longer than 65536 bytes`},
		{"twice", CSV, "ip,IP \n", `t:1:4: two columns are named "ip"`},
		{"nameless", CSV, "ip,\n", "t:1:4: a column has no name"},
		{"columns", CSV, columns(MaxColumns+1) + "\n", "has more than 256 columns"},
		{"many rows", CSV, "ip\n" + strings.Repeat("10.0.0.1\n", MaxRowsPerKey+1), "t:66: column \"ip\": the key is in more than 64 rows"},
		{"not json", NDJSON, "{\"ip\": 10.0.0.1}\n", "t:1:12: is not JSON"},
		{"early end", NDJSON, "{\"ip\": \"10.0.0.1\"}\n{\"ip\": \"10.0.0.1\"", "t:2:17: is not JSON: unexpected end"},
		{"no object", NDJSON, "[1]\n", "t:1:1: is not a JSON object"},
		{"two objects", NDJSON, `{"ip":"10.0.0.1"} {}`, "t:1:19: is not JSON: invalid character"},
		{"double", NDJSON, `{"ip":"10.0.0.1","IP":"10.0.0.2"}`, `t:1:21: column "ip": stands twice in one row`},
		{"long line", NDJSON, `{"ip":"` + strings.Repeat("x", MaxLine) + `"}`, "t:1: the line is longer than 1048576 bytes"},
		{"bad utf8", NDJSON, "{\"ip\":\"\xff\"}", "t:1: is not UTF-8"},
	} {
		t.Run(test.name, func(t *testing.T) {
			table, err := Parse(strings.NewReader(test.text), "t", Options{Format: test.format, Keys: ip})
			if err == nil || table != nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error = %v, want %q", err, test.want)
			}
		})
	}
}

func columns(n int) string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprint("c", i)
	}
	return strings.Join(names, ",")
}

// TestLongestNetworkWins compares the index with a search through all networks.
func TestLongestNetworkWins(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		address := rapid.Custom(func(t *rapid.T) netip.Addr {
			if rapid.Bool().Draw(t, "v6") {
				a := netip.MustParseAddr("2001:db8::").As16()
				a[15], a[8] = rapid.Byte().Draw(t, "last"), rapid.Byte().Draw(t, "middle")
				return netip.AddrFrom16(a)
			}
			return netip.AddrFrom4([4]byte{10, rapid.Byte().Draw(t, "b"), 0, rapid.Byte().Draw(t, "d")})
		})
		var text strings.Builder
		text.WriteString("ip\n")
		var networks []netip.Prefix
		for range rapid.IntRange(0, 12).Draw(t, "networks") {
			addr := address.Draw(t, "network")
			prefix, _ := addr.Prefix(rapid.IntRange(0, addr.BitLen()).Draw(t, "bits"))
			networks = append(networks, prefix)
			fmt.Fprintln(&text, prefix)
		}
		table, err := Parse(strings.NewReader(text.String()), "t", Options{Format: CSV, Keys: Columns(Key{"ip", sdk.IP})})
		if err != nil {
			t.Fatal(err)
		}
		addr := address.Draw(t, "address")
		best := netip.Prefix{}
		for _, network := range networks {
			if network.Contains(addr) && (!best.IsValid() || network.Bits() > best.Bits()) {
				best = network
			}
		}
		match, ok := table.Lookup(sdk.IP, addr.String())
		want := ""
		if best.IsValid() {
			want = best.String()
			if best.IsSingleIP() {
				want = addr.String()
			}
		}
		if ok != best.IsValid() || match.Key != want || ok && match.Exact != best.IsSingleIP() {
			t.Fatalf("Lookup(%s) in %v = %q, %v; want %q", addr, networks, match.Key, ok, want)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add("csv", assets)
	f.Add("csv", "ip,name\n\"10.0.0.1\",\"a\nb\"\n10.0.0.0/8,*.x\n")
	f.Add("ndjson", `{"ip":["10.0.0.1","::/0"],"name":{"a":[1,null]}}`)
	f.Add("ndjson", `{"ip":1e3,"name":"*.example.org"}`+"\n{}\n")
	f.Fuzz(func(t *testing.T, format, text string) {
		keys := func(columns []string) (keys []Key, err error) {
			for _, column := range columns {
				keys = append(keys, Key{column, sdk.IP}, Key{column, sdk.Host}, Key{column, ""})
				break
			}
			return keys, nil
		}
		for _, keys := range []func([]string) ([]Key, error){nil, keys} {
			table, err := Parse(strings.NewReader(text), "t", Options{Format: Format(format), Keys: keys})
			if err != nil {
				continue
			}
			for number := range table.rows {
				row := Row{table: table, number: int32(number)}
				for _, column := range table.Columns() {
					_ = row.Text(column)
					for _, element := range row.List(column) {
						if match, ok := table.Lookup("", element); ok && len(match.Rows) == 0 {
							t.Fatal("a match without rows")
						}
					}
				}
			}
		}
	})
}

func BenchmarkLookup(b *testing.B) {
	var text strings.Builder
	text.WriteString("ip,name,owner\n")
	const rows = 1_000_000
	for i := range rows {
		fmt.Fprintf(&text, "10.%d.%d.%d,host-%d.example.org,kim\n", i>>16, i>>8&255, i&255, i)
	}
	text.WriteString("192.0.2.0/24,*.lab.example.org,lab\n10.0.0.0/8,*.example.net,other\n2001:db8::/32,six,x\n")
	table, err := Parse(strings.NewReader(text.String()), "t", Options{Format: CSV, Keys: Columns(Key{"ip", sdk.IP}, Key{"name", sdk.Host})})
	if err != nil {
		b.Fatal(err)
	}
	source := rand.New(rand.NewPCG(1, 2))
	values := func(value func(int) string) []string {
		list := make([]string, 4096)
		for i := range list {
			list[i] = value(source.IntN(rows))
		}
		return list
	}
	for _, bench := range []struct {
		name, kind string
		values     []string
	}{
		{"address", sdk.IP, values(func(i int) string { return fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255) })},
		{"network", sdk.IP, values(func(i int) string { return fmt.Sprintf("192.0.2.%d", i&255) })},
		{"host", sdk.Host, values(func(i int) string { return fmt.Sprintf("host-%d.example.org", i) })},
		{"wildcard", sdk.Host, values(func(i int) string { return fmt.Sprintf("host-%d.lab.example.org", i) })},
		{"absent", sdk.IP, values(func(i int) string { return fmt.Sprintf("203.0.113.%d", i&255) })},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if _, ok := table.Lookup(bench.kind, bench.values[i%4096]); ok == (bench.name == "absent") {
					b.Fatal("the wrong answer")
				}
				i++
			}
		})
	}
}

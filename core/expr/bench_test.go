package expr

import (
	"testing"
)

// eve is an alert as Suricata writes it, 1.3 KB.
const eve = `{"timestamp":"2026-08-14T10:12:01.123456+0000","flow_id":1834769204112211,"in_iface":"eth0","event_type":"alert","src_ip":"93.184.12.77","src_port":51514,"dest_ip":"10.20.30.40","dest_port":80,"proto":"TCP","tx_id":3,"community_id":"1:aGVsbG8gd29ybGQgaGVsbG8gd29ybGQ=","alert":{"action":"allowed","gid":1,"signature_id":2024301,"rev":4,"signature":"ET MALWARE Win32/Family.Ab12 CnC Beacon M2","category":"A Network Trojan was detected","severity":2,"metadata":{"affected_product":["Windows_XP_Vista_7_8_10_Server_32_64_Bit"],"attack_target":["Client_Endpoint"],"created_at":["2021_06_21"],"deployment":["Perimeter"],"former_category":["MALWARE"],"signature_severity":["Major"],"updated_at":["2023_02_02"]}},"http":{"hostname":"c12.example-7.net","url":"/gate/login.php?id=77","http_user_agent":"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/118.0 Safari/537.36","http_content_type":"text/html","http_method":"GET","protocol":"HTTP/1.1","status":200,"length":512},"app_proto":"http","flow":{"pkts_toserver":10,"pkts_toclient":9,"bytes_toserver":1200,"bytes_toclient":9000,"start":"2026-08-14T00:00:00.000000+0000"},"payload":"R0VUIC9nYXRlL2xvZ2luLnBocD9pZD03NyBIVFRQLzEuMQ0KSG9zdDogYzEyLmV4YW1wbGUtNy5uZXQNClVzZXItQWdlbnQ6IE1vemlsbGEvNS4wDQpBY2NlcHQ6ICovKg0KDQo=","stream":1,"host":"sensor-07"}`

func indexedEnv() Env { return Env{Roots: eventRoots(), Index: NewIndex("event", "raw")} }

// benchCondition evaluates on an event that is read already; readEach reads it each time.
func benchCondition(b *testing.B, want Truth, readEach bool, sources ...string) {
	env := indexedEnv()
	programs := make([]*Program, len(sources))
	for i, source := range sources {
		programs[i] = mustCompile(b, source, env)
	}
	plan := NewPlan(programs...)
	payload := []byte(eve)
	e := &testEvent{}
	s := &Scope{}
	s.Set("event", Record(e))
	s.SetDocument(&e.document)
	if err := e.document.Read(payload, plan); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if readEach {
			if err := e.document.Read(payload, plan); err != nil {
				b.Fatal(err)
			}
		}
		for _, p := range programs {
			if got := p.Truth(s); got != want {
				b.Fatalf("%s, want %s", got, want)
			}
		}
	}
}

func BenchmarkCondition(b *testing.B) {
	benchCondition(b, True, false, `event.raw.alert.severity <= 2 && event.raw.event_type == "alert"`)
}

func BenchmarkCondition_false(b *testing.B) {
	benchCondition(b, False, false, `event.raw.event_type == "dns" && event.raw.alert.severity <= 2`)
}

func BenchmarkCondition_absentPath(b *testing.B) {
	benchCondition(b, True, false, `event.raw.nothing.here == null`)
}

func BenchmarkCondition_functions(b *testing.B) {
	benchCondition(b, True, false, `starts_with(event.raw.alert.signature, "ET MALWARE") && cidr_contains("10.0.0.0/8", event.raw.dest_ip) && contains(["GET", "POST"], event.raw.http.http_method)`)
}

// BenchmarkIndex is the one pass over an event that checks it and finds what the conditions read.
func BenchmarkIndex(b *testing.B) {
	env := indexedEnv()
	p := mustCompile(b, `event.raw.alert.severity <= 2 && event.raw.event_type == "alert"`, env)
	q := mustCompile(b, `event.raw.http.status == 200 && event.raw.alert.category != "Misc activity" && event.raw.src_ip != event.raw.dest_ip`, env)
	var d Document
	payload, plan := []byte(eve), NewPlan(p, q)
	b.SetBytes(int64(len(payload)))
	b.ReportAllocs()
	for b.Loop() {
		if err := d.Read(payload, plan); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkIndexAndCondition is both, as match does it.
func BenchmarkIndexAndCondition(b *testing.B) {
	benchCondition(b, True, true, `event.raw.alert.severity <= 2 && event.raw.event_type == "alert"`)
}

// Twenty conditions over one event cost much less than twenty times one.
func BenchmarkCondition_twenty(b *testing.B) {
	var sources []string
	for range 10 {
		sources = append(sources,
			`event.raw.alert.severity <= 2 && event.raw.event_type == "alert"`,
			`event.raw.http.status == 200 && event.raw.alert.category != "Misc activity"`)
	}
	benchCondition(b, True, false, sources...)
}

func BenchmarkCondition_regex(b *testing.B) {
	benchCondition(b, True, false, `regex("(?i)cnc beacon", event.raw.alert.signature)`)
}

func BenchmarkMap(b *testing.B) {
	p := mustCompile(b, `{
		title      = event.raw.alert.signature
		severity   = lookup({ "1" = 90, "2" = 60, "3" = 30 }, event.raw.alert.severity, 10)
		subjects   = { ip = event.raw.src_ip }
		indicators = { ip = event.raw.dest_ip, domain = [event.raw.http.hostname] }
	}`, indexedEnv())
	e := &testEvent{}
	s := &Scope{}
	s.Set("event", Record(e))
	s.SetDocument(&e.document)
	payload, plan := []byte(eve), NewPlan(p)
	b.ReportAllocs()
	for b.Loop() {
		if err := e.document.Read(payload, plan); err != nil {
			b.Fatal(err)
		}
		if p.Eval(s).IsNull() {
			b.Fatal("null")
		}
	}
}

func BenchmarkPoints(b *testing.B) {
	p := mustCompile(b, `each.value.score * each.value.confidence / 100`, Env{Roots: map[string]*Shape{"each": nil}})
	s := &Scope{}
	s.Set("each", From(map[string]any{"value": map[string]any{"score": 85, "confidence": 75, "source": "vt"}}))
	b.ReportAllocs()
	for b.Loop() {
		if n, ok := p.Eval(s).Fixed(2); !ok || n != 6375 {
			b.Fatal(n)
		}
	}
}

func BenchmarkReference(b *testing.B) {
	e := mustParse(b, `event.raw.alert.severity <= 2 && event.raw.event_type == "alert"`)
	s := eventScope(eve)
	for b.Loop() {
		Reference(e, Env{Roots: eventRoots()}, s)
	}
}

func BenchmarkCheckJSON(b *testing.B) {
	payload := []byte(eve)
	b.SetBytes(int64(len(payload)))
	b.ReportAllocs()
	for b.Loop() {
		if err := CheckJSON(payload); err != nil {
			b.Fatal(err)
		}
	}
}

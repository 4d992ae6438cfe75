package rehearsal_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/core/config"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/rehearsal"
)

// BenchmarkTests is a whole run of "kelpie test", but for the start of the process: a
// hundred rules with three hundred tests are read, compiled and run.
func BenchmarkTests(b *testing.B) {
	path := filepath.Join(b.TempDir(), "config.hcl")
	if err := os.WriteFile(path, []byte(hundredRules()), 0o600); err != nil {
		b.Fatal(err)
	}
	var parsing, running time.Duration
	for b.Loop() {
		began := time.Now()
		src, diags := config.Load(path, config.Options{Schemas: map[string]model.Plugin{}, Tests: true})
		if diags.HasErrors() {
			b.Fatal(diags)
		}
		r, diags := config.ParseTests(src)
		if diags.HasErrors() {
			b.Fatal(diags)
		}
		parsing += time.Since(began)
		began = time.Now()
		runner := rehearsal.New(r.Settings)
		if n := len(r.Settings.Tests); n != 300 {
			b.Fatalf("%d tests", n)
		}
		for i := range r.Settings.Tests {
			if res := runner.Run(&r.Settings.Tests[i]); len(res.Failures) > 0 {
				b.Fatalf("%s: %v", res.Test.Name, res.Failures)
			}
		}
		running += time.Since(began)
	}
	b.ReportMetric(float64(parsing.Milliseconds())/float64(b.N), "ms-reading/op")
	b.ReportMetric(float64(running.Milliseconds())/float64(b.N), "ms-running/op")
}

// hundredRules is a configuration of four feeds and a hundred rules, each with a test
// that fires, one that does not, and one about the score and the steps.
func hundredRules() string {
	var b strings.Builder
	b.WriteString(`
kelpie {
  actions = "on"
  organisation { networks = ["10.0.0.0/8"] }
}
enrichment "table" "assets" {
  internal = true
  takes    = ["ip", "host"]
}
enrichment "virustotal" "reputation" {
  takes = ["ip", "domain"]
}
action "email" "mail" {
}
response "tell" {
  when = case.score.total >= 30
  step "mail" {
    do = action.mail.notify
    to = ["soc@example.org"]
  }
}
`)
	for n := range 4 {
		fmt.Fprintf(&b, `
detector "file" "feed%[1]d" {
}
pipeline "feed%[1]d" {
  from = [detector.feed%[1]d]
  when = event.raw.event_type == "alert"
  map {
    title      = event.raw.alert.signature
    time       = event.raw.timestamp
    severity   = lookup({ "1" = 90, "2" = 60, "3" = 30 }, event.raw.alert.severity, 10)
    subjects   = { ip = event.raw.src_ip, host = event.raw.host }
    indicators = { ip = event.raw.dest_ip, domain = event.raw.tls.sni }
  }
}
`, n)
	}
	for n := range 100 {
		fmt.Fprintf(&b, `
rule "rule%[1]d" {
  on       = [pipeline.feed%[2]d]
  when     = event.raw.alert.category == "category %[1]d" && (event.raw.dest_port == 443 || contains(["http", "tls"], event.raw.app_proto)) && !cidr_contains("192.0.2.0/24", event.raw.dest_ip)
  severity = 70
  respond  = [response.tell]

  test "fires" {
    given "detector.feed%[2]d" {
      events = [
        { event_type = "alert", timestamp = "2026-03-01T12:00:00Z", src_ip = "10.1.2.3", dest_ip = "198.51.100.7", dest_port = 443, host = "ws-17", app_proto = "tls", alert = { signature = "Beacon", severity = 1, category = "category %[1]d" }, tls = { sni = "bad.example.com" } },
        { event_type = "alert", timestamp = "2026-03-01T12:01:00Z", src_ip = "10.1.2.3", dest_ip = "198.51.100.7", dest_port = 443, host = "ws-17", app_proto = "tls", alert = { signature = "Beacon", severity = 1, category = "category %[1]d" }, tls = { sni = "bad.example.com" } },
      ]
    }
    want {
      signals = 2
      cases   = 1
    }
  }
  test "not inside of the test network" {
    given "detector.feed%[2]d" {
      events = [{ event_type = "alert", timestamp = "2026-03-01T12:00:00Z", src_ip = "10.1.2.3", dest_ip = "192.0.2.7", dest_port = 443, alert = { category = "category %[1]d" } }]
    }
    want {
      signals = 0
    }
  }
  test "tells somebody" {
    given "detector.feed%[2]d" {
      events = [{ event_type = "alert", timestamp = "2026-03-01T12:00:00Z", src_ip = "10.1.2.3", dest_ip = "198.51.100.7", dest_port = 443, host = "ws-17", alert = { signature = "Beacon", severity = 1, category = "category %[1]d" } }]
    }
    answer "enrichment.assets" "ip" "10.1.2.3" {
      asset = { name = "ws-17", owner = "kim", criticality = 90 }
    }
    answer "enrichment.reputation" "ip" "198.51.100.7" {
      verdict = { disposition = "malicious", score = 90, confidence = 80 }
    }
    want {
      signals = 1
      score   = "50..100"
      steps   = ["response.tell.mail"]
    }
  }
}
`, n, n%4)
	}
	return b.String()
}

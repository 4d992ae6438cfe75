package api

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/detect"
	"github.com/kelpie-sec/kelpie/core/enrich"
	"github.com/kelpie-sec/kelpie/core/host"
	"github.com/kelpie-sec/kelpie/core/respond"
)

// threeCalls took 1 ms, 4 ms and two minutes.
func threeCalls() []uint64 {
	counts := make([]uint64, len(host.LatencyBounds())+1)
	counts[2], counts[4], counts[len(counts)-1] = 1, 1, 1
	return counts
}

// pluginsRunning is a Kelpie with two processes of one plugin, one of which has an
// instance that is leaving.
func pluginsRunning() Status {
	ending := &host.Ending{Reason: "it ended by itself: exit status 2", At: noon, Tail: []string{"panic: no"}}
	feed := host.InstanceStatus{
		Address: "enrichment.feed", State: host.Running, Since: noon, Restarts: 2, Ending: ending, InFlight: 1,
		Calls: []host.Calls{{Method: "enrich", Calls: 5, Plugin: 1, Vendor: 2, Input: 1, Nobody: 1, Took: threeCalls(), Sum: 3 * time.Second}},
		Quota: &host.Quota{Left: 17, Told: noon},
	}
	leaving := feed
	leaving.Leaving, leaving.State = true, host.Stopped
	return Status{
		Plugins: []host.Status{
			{Plugin: "vendor", Version: "1.2.3", PID: 7, State: host.Running, Since: noon, Restarts: 2, Instances: []host.InstanceStatus{leaving, feed}},
			{Plugin: "vendor", State: host.Failed, Since: noon, Instances: []host.InstanceStatus{
				{Address: "action.block", State: host.Failed, Since: noon, InFlight: 1},
				{Address: "detector.alerts", State: host.Failed, Since: noon, Waiting: 1},
			}},
		},
		Detectors:   []detect.Report{{Instance: "detector.alerts", State: detect.NoRoom, Message: "no room on the disk"}},
		Enrichments: []enrich.Stat{{Enrichment: "enrichment.feed", Asking: 4, HeldBecause: "its limit is used up", Minute: enrich.Room{Limit: 4}}},
		Acting:      []respond.Stat{{Action: "action.block", LastError: "the firewall is away"}},
		Pending:     map[string]int{"enrichment.feed": 35, "action.block": 3},
	}
}

func TestPluginStatus(t *testing.T) {
	w := newWorld(t)
	w.engine.status = pluginsRunning()
	var got []PluginStatus
	w.get("/v1/plugins/status", &got)
	ending := pluginsRunning().Plugins[0].Instances[0].Ending
	calls := []Calls{{Calls: host.Calls{Method: "enrich", Calls: 5, Plugin: 1, Vendor: 2, Input: 1, Nobody: 1}, P50: 0.003, P99: 129}}
	feed := InstanceStatus{
		Instance: "enrichment.feed", State: host.Running, Since: noon, Restarts: 2, Ending: ending, Calls: calls, InFlight: 1,
		HeldBack: 31, HeldBecause: "its limit is used up", Quota: &host.Quota{Left: 17, Told: noon}, Minute: enrich.Room{Limit: 4},
	}
	leaving := InstanceStatus{
		Instance: "enrichment.feed", State: host.Stopped, Since: noon, Leaving: true, Restarts: 2, Ending: ending, Calls: calls, InFlight: 1,
		Quota: &host.Quota{Left: 17, Told: noon},
	}
	want := []PluginStatus{
		{Plugin: "vendor", Version: "1.2.3", PID: 7, State: host.Running, Since: noon, Instances: []InstanceStatus{leaving, feed}},
		{Plugin: "vendor", State: host.Failed, Since: noon, Instances: []InstanceStatus{
			{Instance: "action.block", State: host.Failed, Since: noon, Calls: []Calls{}, InFlight: 1, HeldBack: 2, HeldBecause: "the firewall is away"},
			{Instance: "detector.alerts", State: host.Failed, Since: noon, Calls: []Calls{}, HeldBack: 1, HeldBecause: "no room on the disk"},
		}},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateApprox(0, 2)); diff != "" {
		t.Error(diff)
	}

	w.engine.status.Paused = &decide.Flags{Paused: true, PausedBy: "kim"}
	w.get("/v1/plugins/status", &got)
	if in := got[1].Instances[0]; in.HeldBecause != "actions are paused by kim" {
		t.Errorf("while actions are paused: %+v", in)
	}
	w.engine.status = Status{}
	w.get("/v1/plugins/status", &got)
	if got == nil || len(got) != 0 {
		t.Errorf("of none: %v", got)
	}
}

// TestPluginMetrics: what two processes and a leaving instance share is told once.
func TestPluginMetrics(t *testing.T) {
	w := newWorld(t)
	w.engine.status = pluginsRunning()
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	body := rec.Body.String()
	if rec.Code != http.StatusOK {
		t.Fatalf("%d %s", rec.Code, body)
	}
	for _, want := range []string{
		`kelpie_plugin_state{plugin="vendor",state="running"} 1`,
		`kelpie_plugin_state{plugin="vendor",state="failed"} 1`,
		`kelpie_plugin_state{plugin="vendor",state="starting"} 0`,
		`kelpie_plugin_restarts_total{plugin="vendor"} 2`,
		`kelpie_instance_state{instance="enrichment.feed",state="running"} 1`,
		`kelpie_instance_state{instance="enrichment.feed",state="stopped"} 0`,
		`kelpie_instance_state{instance="action.block",state="failed"} 1`,
		`kelpie_instance_restarts_total{instance="enrichment.feed"} 2`,
		`kelpie_instance_calls_total{instance="enrichment.feed",method="enrich"} 5`,
		`kelpie_instance_errors_total{fault="plugin",instance="enrichment.feed",method="enrich"} 1`,
		`kelpie_instance_errors_total{fault="vendor",instance="enrichment.feed",method="enrich"} 2`,
		`kelpie_instance_errors_total{fault="input",instance="enrichment.feed",method="enrich"} 1`,
		`kelpie_instance_errors_total{fault="none",instance="enrichment.feed",method="enrich"} 1`,
		`kelpie_instance_call_seconds_bucket{instance="enrichment.feed",method="enrich",le="0.0005"} 0`,
		`kelpie_instance_call_seconds_bucket{instance="enrichment.feed",method="enrich",le="0.001"} 1`,
		`kelpie_instance_call_seconds_bucket{instance="enrichment.feed",method="enrich",le="65.536"} 2`,
		`kelpie_instance_call_seconds_bucket{instance="enrichment.feed",method="enrich",le="+Inf"} 3`,
		`kelpie_instance_call_seconds_sum{instance="enrichment.feed",method="enrich"} 3`,
		`kelpie_instance_in_flight{instance="enrichment.feed"} 1`,
		`kelpie_instance_held_back{instance="enrichment.feed"} 31`,
		`kelpie_instance_quota_left{instance="enrichment.feed"} 17`,
	} {
		if !slices.Contains(strings.Split(body, "\n"), want) {
			t.Errorf("there is no %s", want)
		}
	}
	if t.Failed() {
		t.Log(body)
	}
}

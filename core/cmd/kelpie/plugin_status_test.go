package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/enrich"
	"github.com/kelpie-sec/kelpie/core/host"
)

const wantPluginStatus = `vendor 1.2.3: running since 2026-03-01 12:00:00 UTC (2h ago), process 4711
  started again: 3 times
  last ended: 2026-03-01 12:00:00 UTC (2h ago): it ended by itself: exit status
              2
  it last said:
    | panic: runtime error: index out of range \x1b[31m
    | goroutine 1 [running]:
  wants all processors: it comes after everything else since 2026-03-01 13:00:00
                        UTC (1h ago)
  prints too much: 12 lines not logged
  INSTANCE                       STATE         CALLS ERRORS  HELD   P50   P99
  enrichment.feed                running         120      9    31  45ms  1.2s
    trouble: the vendor is away, since 2026-03-01 12:00:00 UTC
    enrich: 120 calls; failed: 2 by the plugin's fault, 6 by the vendor's fault,
            1 by the input's fault; 4 cancelled; half within 45ms, 99 of 100
            within 1.2s
    last failed: 2026-03-01 13:00:00 UTC (1h ago): plugin "vendor" answered for
                 another instance, "x"
    in flight: 2
    held back: its limit is used up until 2026-03-01 14:01:00 UTC
    quota left: 17 by the vendor's word at 2026-03-01 12:00:00 UTC, until
                2026-03-02 00:00:00 UTC; 0 of the 4 that the block allows a
                minute; 480 of the 500 that the block allows a day
  action.block_at_the_firewall_… leaving           0      0     0     -     -
`

// TestPluginStatusText: it fits, and nothing in it does anything to a terminal.
func TestPluginStatusText(t *testing.T) {
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var out bytes.Buffer
	printPluginStatus(&out, api.PluginStatus{
		Plugin: "vendor", Version: "1.2.3", PID: 4711, DroppedLogs: 12, Behind: noon.Add(time.Hour), State: host.Running, Since: noon,
		Instances: []api.InstanceStatus{
			{
				Instance: "enrichment.feed", State: host.Running, Since: noon, Trouble: "the vendor is away", Restarts: 3,
				Ending: &host.Ending{Reason: "it ended by itself: exit status 2", At: noon, Tail: []string{
					"panic: runtime error: index out of range \x1b[31m", "goroutine 1 [running]:",
				}},
				Calls:    []api.Calls{{Calls: host.Calls{Method: "enrich", Calls: 120, Plugin: 2, Vendor: 6, Input: 1, Nobody: 4}, P50: 0.045, P99: 1.2}},
				Failure:  &host.Failure{Reason: `plugin "vendor" answered for another instance, "x"`, Fault: "plugin", At: noon.Add(time.Hour)},
				InFlight: 2, HeldBack: 31, HeldBecause: "its limit is used up until 2026-03-01 14:01:00 UTC",
				Quota:  &host.Quota{Left: 17, Told: noon, Resets: noon.Add(12 * time.Hour)},
				Minute: enrich.Room{Limit: 4}, Day: enrich.Room{Limit: 500, Left: 480},
			},
			{Instance: "action.block_at_the_firewall_of_the_branch", State: host.Running, Since: noon, Leaving: true},
		},
	}, noon.Add(2*time.Hour))
	if diff := cmp.Diff(wantPluginStatus, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s\n%s", diff, out.String())
	}
	for l := range strings.Lines(out.String()) {
		if n := columns(strings.TrimSuffix(l, "\n")); n > width {
			t.Errorf("%d columns: %s", n, l)
		}
	}
}

func TestBrief(t *testing.T) {
	for seconds, want := range map[float64]string{0.0004: "<1ms", 0.001: "1ms", 0.9996: "999ms", 1: "1.0s", 9.94: "9.9s", 9.99: "10.0s", 65: "65s", 131: "131s"} {
		if got := brief(seconds); got != want {
			t.Errorf("%v is %q, not %q", seconds, got, want)
		}
	}
}

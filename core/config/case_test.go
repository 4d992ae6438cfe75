package config

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kelpie-sec/kelpie/core/correlate"
	"github.com/kelpie-sec/kelpie/core/plan"
	"github.com/kelpie-sec/kelpie/sdk"
)

func TestCase(t *testing.T) {
	_, c, diags := parseText(t, `
case {
  window     = "1h"
  lease      = "4h"
  common     = 50
  most       = 1000
  repeat     = "fido"
  never_join = ["ip:10.0.0.1", "ip:10.1.0.0/16", "domain:*.CDN.example", "mac:*", "user:s-1-5-*"]
}
detector "file" "f" {
  path = "eve.json"
}
pipeline "all" {
  from = [detector.f]
}
rule "everything" {
  state = "experimental"
  on    = [pipeline.all]
  when  = true
}
`, Options{})
	if len(diags) > 0 {
		t.Fatal(diags)
	}
	want := correlate.Settings{
		Window: time.Hour, Lateness: correlate.DefaultLateness, Lease: 4 * time.Hour, Common: 50, Most: 1000,
		NeverJoin: []sdk.Observable{{Kind: "ip", Value: "10.0.0.1"}},
		NeverLike: []correlate.Pattern{
			{Kind: "ip", Network: netip.MustParsePrefix("10.1.0.0/16")},
			{Kind: "domain", Like: "*.cdn.example"},
			{Kind: "mac", Like: "*"},
			{Kind: "user", Like: "S-1-5-*"},
		},
	}
	if diff := cmp.Diff(want, c.Decide.Correlate, cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(plan.RepeatOf("fido"), c.Decide.Plan.Repeat); diff != "" {
		t.Error(diff)
	}
}

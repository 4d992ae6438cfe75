package plan

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/zone"
)

// TestRoute: who is found by which way, each once, in the order in which they are asked.
func TestRoute(t *testing.T) {
	onCall := func(text string) *expr.Program {
		return compile(text, false)
	}
	users := []User{
		{Name: "kim", Mail: []string{"kim@example.org", "k@example.org"}, Team: "netsec"},
		{Name: "ann", Mail: []string{"ann@example.org"}, Team: "netsec"},
		{Name: "mute", Team: "netsec"},
	}
	for name, c := range map[string]struct {
		route Route
		want  []string
		why   string
	}{
		"by to": {
			Route{To: onCall(`["kim", null, " lee@example.org ", "kim@example.org", "#soc"]`), Otherwise: "soc@example.org"},
			[]string{"0s kim@example.org lee@example.org #soc", "last soc@example.org"},
			"",
		},
		"who is nobody": {
			Route{To: onCall(`["nobody", "mute", "kim"]`), Otherwise: "soc@example.org"},
			[]string{"0s kim@example.org", "last soc@example.org"},
			"neither an address nor a user: nobody, mute",
		},
		"two lines": {
			Route{To: onCall(`["kim@example.org\nBcc: eve@example.org", "ann"]`), Otherwise: "soc@example.org"},
			[]string{"0s ann@example.org", "last soc@example.org"},
			"neither an address nor a user: kim@example.org\nBcc: eve@example.org",
		},
		"by the team": {
			Route{To: onCall("null"), Team: onCall(`"netsec"`), Author: true, Otherwise: "ann"},
			[]string{"0s kim@example.org ann@example.org", "last author@example.org"},
			"",
		},
		"by the author": {
			Route{To: onCall("case.nothing"), Team: onCall("null"), Author: true, Otherwise: "soc"},
			[]string{"0s author@example.org", "last soc"},
			"",
		},
		"otherwise": {Route{To: onCall("null"), Otherwise: "kim"}, []string{"0s kim@example.org"}, ""},
		"nobody":    {Route{To: onCall("null")}, nil, "the route finds nobody"},
		"by time": {
			Route{
				To: onCall(`"kim"`), Team: onCall(`"netsec"`), Otherwise: "soc@example.org",
				Escalate: []Escalate{{10 * time.Minute, onCall(`["kim", "lead@example.org"]`)}, {time.Hour, onCall(`"kim"`)}, {2 * time.Hour, onCall(`"soc@example.org"`)}},
			},
			[]string{"0s kim@example.org", "10m0s lead@example.org", "2h0m0s soc@example.org", "last ann@example.org"},
			"",
		},
	} {
		t.Run(name, func(t *testing.T) {
			c.route.Address = "route.owner"
			s := settings(tell())
			s.Users, s.Authors = users, map[string]string{"rule.a": "author@example.org"}
			r := &run{Planner: New(s), c: testCase(nil), now: now}
			r.scope.Set("case", r.c.Value)
			levels, why := r.routed(c.route)
			var got []string
			for _, l := range levels {
				after := l.After.String()
				if l.After == NotByTime {
					after = "last"
				}
				got = append(got, fmt.Sprint(after, " ", strings.Join(l.To, " ")))
				if l.Why == "" {
					t.Errorf("nothing says why %v", l.To)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if why != c.why {
				t.Errorf("why %q, want %q", why, c.why)
			}
		})
	}
}

func TestQuietHours(t *testing.T) {
	berlin, err := zone.Load("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	night := Quiet{From: 22 * time.Hour, To: 7 * time.Hour, Zone: berlin, Below: 80_00}
	for at, want := range map[string]string{
		"2026-03-01T20:59:59Z": "", "2026-03-01T21:00:00Z": "2026-03-02T06:00:00Z", "2026-03-02T05:59:59Z": "2026-03-02T06:00:00Z",
		"2026-03-02T06:00:00Z": "", "2026-03-28T23:00:00Z": "2026-03-29T05:00:00Z", // the clocks are changed
		"2026-10-25T05:30:00Z": "2026-10-25T06:00:00Z",
	} {
		now, _ := time.Parse(time.RFC3339, at)
		got := ""
		if over, quiet := night.over(now); quiet {
			got = over.Format(time.RFC3339)
		}
		if got != want {
			t.Errorf("at %s they are over at %q, want %q", at, got, want)
		}
	}
}

// TestWhatATellingWaitsFor: by the route and the score.
func TestWhatATellingWaitsFor(t *testing.T) {
	s := settings(tell())
	s.Responses[0].Steps[0].Notice = true
	s.Routes[0].Gather = DefaultGather
	s.Routes[0].Digest = &Digest{Below: 90_00, Every: time.Hour}
	s.Routes[0].Quiet = []Quiet{{From: 11 * time.Hour, To: 13 * time.Hour, Zone: time.UTC, Below: 80_00}, {From: 11 * time.Hour, To: 14 * time.Hour, Zone: time.UTC, Below: 80_01}}
	plan := New(s).Plan(testCase(nil), now, func(string) int { return 0 })
	want := &model.Gather{For: DefaultGather, Every: time.Hour, Below: 90_00, Until: now.Add(2 * time.Hour), QuietBelow: 80_01}
	if diff := cmp.Diff(want, plan.Intents[0].Gather); diff != "" {
		t.Error(diff)
	}
	plan = New(s.AtOnce()).Plan(testCase(nil), now, func(string) int { return 0 })
	if g := plan.Intents[0].Gather; g != nil {
		t.Errorf("at once it waits for %+v", g)
	}
}

package api

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/detect"
	"github.com/kelpie-sec/kelpie/core/eventlog"
	"github.com/kelpie-sec/kelpie/core/store"
)

// sound is evidence that adds up: 100 events of one source in ten messages, of which 90
// are decided and ten wait.
func sound() *evidence {
	tally := decide.Tally{
		Received: 90, Matched: 10, Passed: 20, Repeat: 5, Lost: 5,
		Ignored: map[string]int{"ignore.scan": 30}, Rejected: map[string]int{"too large": 20},
	}
	return &evidence{
		status: Status{At: noon},
		Account: store.Account{
			Position: decide.Position{Seq: 9}, Checkpoint: 5,
			Flags: decide.Flags{Events: decide.Spans{Low: 8, Above: []decide.Span{{From: 10, To: 10}}}},
			Sources: []decide.SourceState{{
				Source: "detector.a", Total: 100, Counted: 90, LastSeq: 10, Sum: tally,
				Events: decide.Spans{Low: 80, Above: []decide.Span{{From: 91, To: 100}}},
			}},
			Hours: []decide.Ledger{{Source: "detector.a", Hour: noon, Tally: tally}},
		},
		log: logged{
			stats: eventlog.Stats{
				Events: eventlog.StreamStats{First: 1, Last: 10}, Inputs: eventlog.StreamStats{First: 1, Last: 9},
			},
			totals: map[string]uint64{"detector.a": 100},
		},
	}
}

func TestLedgerAddsUp(t *testing.T) {
	l := sound().ledger()
	if !l.AddsUp || len(l.Faults) != 0 || len(l.Sources) != 1 {
		t.Fatalf("ledger %+v", l)
	}
	if s := l.Sources[0]; s.Received != 100 || s.Pending != 10 || s.Missing != 0 || s.all() != 100 {
		t.Errorf("source %+v", s)
	}
	// Only an hour in which 30 were decided: what waits has come as well.
	e := sound()
	e.since = noon
	e.Hours[0].Tally = decide.Tally{Received: 30, Passed: 30}
	l = e.ledger()
	if s := l.Sources[0]; !l.AddsUp || s.Received != 40 || s.Passed != 30 || s.Pending != 10 {
		t.Errorf("since noon: %+v, %v", s, l.Faults)
	}
}

func TestLedgerNamesWhatDoesNotAddUp(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*evidence)
		want   []string
	}{
		"an event counted in no class": {
			func(e *evidence) { e.Sources[0].Sum.Passed--; e.Hours[0].Passed-- },
			[]string{"detector.a: 90 events are decided, and 89 are accounted for", "detector.a: 100 events were received, and 99 are accounted for"},
		},
		"events counted twice": {
			func(e *evidence) { e.Sources[0].Events.Above = nil },
			[]string{"detector.a: 90 events are counted, and 80 were there to count", "detector.a: 100 events were received, and 110 are accounted for"},
		},
		"hours and sum differ": {
			func(e *evidence) { e.Hours = nil },
			[]string{"detector.a: its hours hold 0 events, and their sum is 90"},
		},
		"the log counts less": {
			func(e *evidence) { e.log.totals["detector.a"] = 60 },
			[]string{"detector.a: the log counts 60 events, and 100 are decided: its last messages are gone"},
		},
		"what waits is nowhere": {
			func(e *evidence) { e.Flags.Events = decide.Spans{Low: 10} },
			[]string{"detector.a: 10 events are not decided, and no message waits that holds them"},
		},
		"notes": {
			func(e *evidence) { e.Sources[0].Notes, e.Sources[0].Unnoted = []string{"EVENTS 3: odd"}, 7 },
			[]string{"detector.a: EVENTS 3: odd", "detector.a: and 7 more like these"},
		},
		"a log that is older": {
			func(e *evidence) { e.log.stats.Inputs.Last, e.log.stats.Events.Last = 7, 9 },
			[]string{
				"INPUTS ends at 7, and 9 is decided: the log is older than the database",
				"EVENTS ends at 9, and 10 is decided: the log is older than the database",
			},
		},
		"messages of EVENTS": {
			func(e *evidence) {
				e.log.events = eventlog.Missing{Messages: 4, Runs: []eventlog.Run{{From: 8, To: 10}}}
			},
			[]string{
				"EVENTS 9 is missing, with events 81 to 90 of detector.a, and was not decided; nothing after it can be trimmed",
				"EVENTS 8 is missing; what became of them is known",
				"EVENTS 10 is missing; what became of them is known",
				"EVENTS: 1 more messages are missing",
			},
		},
		"messages of INPUTS": {
			func(e *evidence) {
				e.log.stats.Inputs.Last = 12
				e.log.inputs = eventlog.Missing{Messages: 6, Runs: []eventlog.Run{{From: 2, To: 3}, {From: 7, To: 7}, {From: 9, To: 11}}}
			},
			[]string{
				"INPUTS 2 to 3 are missing; it is decided, and only a replay would need it",
				"INPUTS 7 is missing; it is decided, but no checkpoint has it: the next start needs it",
				"INPUTS 9 is missing; it is decided, but no checkpoint has it: the next start needs it",
				"INPUTS 10 to 11 are missing, and was not decided: what it held is not known",
			},
		},
		"accepted": {
			func(e *evidence) {
				e.log.inputs = eventlog.Missing{Messages: 1, Runs: []eventlog.Run{{From: 2, To: 2}}, Accepted: 4}
			},
			[]string{},
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := sound()
			c.change(e)
			for _, m := range e.runs() {
				if m.Stream == "EVENTS" && m.Seqs.From == 9 {
					m.Events = []MissingEvents{{"detector.a", decide.Span{From: 81, To: 90}}}
				}
				e.missing = append(e.missing, m)
			}
			l := e.ledger()
			if diff := cmp.Diff(c.want, l.Faults); diff != "" || l.AddsUp != (len(c.want) == 0) {
				t.Errorf("adds up: %v, faults: %s", l.AddsUp, diff)
			}
			if name == "messages of EVENTS" && (l.Sources[0].Missing != 10 || l.Sources[0].Pending != 0) {
				t.Errorf("source %+v", l.Sources[0])
			}
		})
	}
}

// TestAQuietFeedIsNoBlindOne, though nothing comes of either.
func TestAQuietFeedIsNoBlindOne(t *testing.T) {
	long := noon.Add(-QuietAfter - time.Second)
	s := decide.SourceState{Source: "detector.a", LastAt: long}
	for name, c := range map[string]struct {
		report  detect.Report
		running bool
		want    FeedState
	}{
		"live":         {detect.Report{State: detect.Running, LastBatch: noon}, true, FeedLive},
		"quiet":        {detect.Report{State: detect.Running, Contact: noon}, true, FeedQuiet},
		"at the edge":  {detect.Report{State: detect.Running, LastBatch: noon.Add(-QuietAfter)}, true, FeedLive},
		"troubled":     {detect.Report{State: detect.Troubled, Message: "no route", LastBatch: noon}, true, FeedBlind},
		"starting":     {detect.Report{State: detect.Starting}, true, FeedBlind},
		"no room":      {detect.Report{State: detect.NoRoom}, true, FeedHeld},
		"ended":        {detect.Report{State: detect.Ended}, true, FeedEnded},
		"another's":    {detect.Report{Instance: "detector.b", State: detect.Running}, true, FeedGone},
		"without life": {detect.Report{State: detect.Running}, false, FeedUnseen},
	} {
		if c.report.Instance == "" {
			c.report.Instance = "detector.a"
		}
		f := feedOf(s, Status{At: noon, Running: c.running, Detectors: []detect.Report{c.report}})
		if f.State != c.want || f.Event.Before(long) {
			t.Errorf("%s: %+v, want %s", name, f, c.want)
		}
	}
}

// ledgered publishes ten events of a source, of which some are decided.
func ledgered(w *world, counted uint64) {
	source, err := w.log.Source(w.t.Context(), "detector.a")
	if err != nil {
		w.t.Fatal(err)
	}
	w.publish(source, "detector.a", []string{"1", "2", "3", "4", "5"})
	w.publish(source, "detector.a", []string{"6", "7", "8", "9", "10"})
	tally := decide.Tally{
		Received: counted, Passed: counted - 3, Ignored: map[string]int{"ignore.scan": 1},
		Rejected: map[string]int{"not an event": 1, "<script> & \"x\"\n": 1},
	}
	w.commit(decide.Changes{
		At: noon, Flags: &decide.Flags{Events: decide.Spans{Low: counted / 5}},
		Ledger: []decide.Ledger{{Source: "detector.a", Hour: noon, Tally: tally}},
		Sources: []decide.SourceState{{
			Source: "detector.a", Total: counted, Counted: counted, Events: decide.Spans{Low: counted}, Sum: tally, LastAt: noon,
		}},
	})
}

func TestLedgerOfAFolder(t *testing.T) {
	w := newWorld(t)
	ledgered(w, 5)
	var l Ledger
	w.get("/v1/ledger?source=detector.a&since=2026-03-01T12:34:56Z", &l)
	s := l.Sources[0]
	if !l.AddsUp || s.Received != 10 || s.Pending != 5 || s.PendingSince.IsZero() || s.Feed.State != FeedUnseen || !l.Since.Equal(noon) {
		t.Errorf("ledger %+v", l)
	}
	for path, code := range map[string]int{"/v1/ledger?since=x": 400, "/v1/ledger?source=detector.zz": 404} {
		if got, body := w.do(http.MethodGet, path, nil); got != code {
			t.Errorf("%s: %d %s", path, got, body)
		}
	}
}

// TestLedgerWhileItRuns: what comes and is decided while the ledger is drawn up is no fault.
func TestLedgerWhileItRuns(t *testing.T) {
	w := newWorld(t)
	source, err := w.log.Source(t.Context(), "detector.a")
	if err != nil {
		t.Fatal(err)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for n := uint64(1); ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			w.publish(source, "detector.a", []string{strconv.FormatUint(n, 10)})
			tally := decide.Tally{Received: n, Passed: n}
			w.commit(decide.Changes{
				At: noon, Flags: &decide.Flags{Events: decide.Spans{Low: n}},
				Ledger: []decide.Ledger{{Source: "detector.a", Hour: noon, Tally: tally}},
				Sources: []decide.SourceState{{
					Source: "detector.a", Total: n, Counted: n, Events: decide.Spans{Low: n}, Sum: tally, LastAt: noon,
				}},
			})
		}
	}()
	for range 300 {
		var l Ledger
		if w.get("/v1/ledger", &l); !l.AddsUp {
			t.Errorf("faults %q", l.Faults)
			break
		}
	}
	close(stop)
	<-stopped
}

func TestMetrics(t *testing.T) {
	w := newWorld(t)
	ledgered(w, 5)
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	body := rec.Body.String()
	if rec.Code != http.StatusOK {
		t.Fatalf("%d %s", rec.Code, body)
	}
	for _, want := range []string{
		`kelpie_events_received_total{source="detector.a"} 10`,
		`kelpie_events_total{class="passed",source="detector.a"} 2`,
		`kelpie_events_ignored_total{ignore="ignore.scan",source="detector.a"} 1`,
		`kelpie_events_rejected_total{reason="not an event",source="detector.a"} 1`,
		`kelpie_events_rejected_total{reason="other",source="detector.a"} 1`,
		`kelpie_events_pending{source="detector.a"} 5`,
		`kelpie_feed_state{source="detector.a",state="not running"} 1`,
		`kelpie_feed_state{source="detector.a",state="blind"} 0`,
		`kelpie_intents{state="unknown"} 0`,
		`kelpie_log_last_sequence{stream="EVENTS"} 2`,
		`kelpie_decided_events_low_mark 1`,
		`kelpie_ledger_adds_up 1`,
		`kelpie_running 0`,
	} {
		if !slices.Contains(strings.Split(body, "\n"), want) {
			t.Errorf("there is no %s in\n%s", want, body)
		}
	}
	if strings.Contains(body, "script") {
		t.Error("a reason that is none of ours is a label")
	}
}

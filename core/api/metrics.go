package api

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/host"
	"github.com/kelpie-sec/kelpie/core/model"
)

// metricsTimeout bounds the gathering of one scrape.
const metricsTimeout = 10 * time.Second

// reasons are why events are rejected, as they may stand in a label; any other counts as
// otherReason.
var reasons = []string{
	"can't be written", "damaged in the log", "ends the process", "not an event", "not matched", "not processed", "not read",
	"time in the future", "too large", "too much work",
}

const otherReason = "other"

// metrics serves the ledger's numbers, and how the parts are, in the text format of
// Prometheus. Labels are names of the configuration, and words of ours.
func (s *Server) metrics() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector{s})
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 2})
}

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("kelpie_"+name, help, labels, nil)
}

var (
	received   = describe("events_received_total", "Events that a source has sent, by the running total in the log.", "source")
	classes    = describe("events_total", "Events by what became of them: matched, fact, passed, repeat, lost, shadow (only compared).", "source", "class")
	ignored    = describe("events_ignored_total", "Events that an ignore block has taken out.", "source", "ignore")
	setAsides  = describe("events_rejected_total", "Events that could not be processed.", "source", "reason")
	waitingOf  = describe("events_pending", "Events in the log that are not decided.", "source")
	missingOf  = describe("events_missing", "Events whose message went from the log before they were decided.", "source")
	feeds      = describe("feed_state", "1 for the state that a source's feed is in: live, quiet, blind, held back, ended, not in use, not running.", "source", "state")
	lastEvent  = describe("feed_last_event_timestamp_seconds", "When an event last came of a source.", "source")
	contact    = describe("feed_last_contact_timestamp_seconds", "When a source's plugin last said anything.", "source")
	signals    = describe("signals", "Signals: scored, or waiting for a lookup.", "state")
	cases      = describe("cases", "Cases.")
	intents    = describe("intents", "Steps by what became of them.", "state")
	asks       = describe("asks_pending", "Answers that have been asked for and have not come.")
	questions  = describe("enrichment_waiting", "Questions that wait for an enrichment.", "enrichment")
	calls      = describe("enrichment_calls_total", "Calls of an enrichment since the start.", "enrichment")
	failures   = describe("enrichment_failures_total", "Calls of an enrichment that failed since the start.", "enrichment")
	plugins    = describe("plugin_state", "1 for the state that a plugin is in.", "plugin", "state")
	restarts   = describe("plugin_restarts_total", "Starts of a plugin after its first.", "plugin")
	states     = describe("instance_state", "1 for the state that an instance is in.", "instance", "state")
	since      = describe("instance_state_since_timestamp_seconds", "Since when an instance is in its state.", "instance")
	again      = describe("instance_restarts_total", "Starts of an instance's process after its first.", "instance")
	called     = describe("instance_calls_total", "Calls of an instance that have ended, and sessions of a detector that have begun.", "instance", "method")
	faulty     = describe("instance_errors_total", "Calls that failed, in whole or in part, by whose fault: plugin, vendor, input, none (cancelled).", "instance", "method", "fault")
	took       = describe("instance_call_seconds", "How long calls were with the plugin.", "instance", "method")
	inFlight   = describe("instance_in_flight", "Calls that the plugin has not answered yet, and open sessions.", "instance")
	heldBack   = describe("instance_held_back", "Questions and steps that wait: for a limit, their turn, the process, or actions to be resumed.", "instance")
	quotaLeft  = describe("instance_quota_left", "What is left of a quota, as the vendor told it last.", "instance")
	logBytes   = describe("log_bytes", "What a stream of the log holds.", "stream")
	logLast    = describe("log_last_sequence", "Last message of a stream.", "stream")
	logMissing = describe("log_missing_messages", "Messages of a stream that are not there any more.", "stream")
	decided    = describe("decided_sequence", "Last message of INPUTS that is decided.")
	lowMark    = describe("decided_events_low_mark", "All messages of EVENTS up to this one are decided.")
	addsUp     = describe("ledger_adds_up", "1 if every event is accounted for and no message of the log is missing.")
	groupsOf   = describe("rule_groups", "Groups of which a rule over several keeps facts.", "rule")
	factsOf    = describe("rule_facts", "Facts that a rule over several keeps.", "rule")
	bytesOf    = describe("rule_bytes", "About how much memory the facts of a rule over several take.", "rule")
	evictedOf  = describe("rule_evicted_total", "What a rule over several has let go for want of room: groups, or facts of one.", "rule", "what")
	lateOf     = describe("rule_late_total", "Facts that came too late for a rule over several.", "rule")
	running    = describe("running", "1 while Kelpie runs.")
	troubles   = describe("troubles", "How many things status calls broken.")
)

// collector gathers the numbers anew for each scrape.
type collector struct{ server *Server }

// Describe says nothing beforehand: which sources there are changes.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect is called by one scrape at a time or by several.
func (c collector) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), metricsTimeout)
	defer cancel()
	l, e, err := c.server.account(ctx, c.server.Now())
	if err != nil {
		to <- prometheus.NewInvalidMetric(addsUp, errInternal)
		c.server.Logger.Error("metrics can't be gathered", "error", err)
		return
	}
	renamed, err := c.server.Engine.Names(ctx)
	if err != nil {
		c.server.Logger.Error("it is not known what was renamed", "error", err)
	}
	out := sender{to, renamed}
	for i := range e.Sources {
		s := &e.Sources[i]
		sum := &s.Sum
		for class, n := range map[string]uint64{
			"matched": sum.Matched, "fact": sum.Fact, "passed": sum.Passed, "repeat": sum.Repeat, "lost": sum.Lost,
			"shadow": decide.Total(sum.Shadow),
		} {
			out.total(classes, n, s.Source, class)
		}
		for name, n := range sum.Ignored {
			out.total(ignored, uint64(n), s.Source, name)
		}
		for reason, n := range byReason(sum.Rejected) {
			out.total(setAsides, n, s.Source, reason)
		}
	}
	for i := range l.Sources {
		out.source(&l.Sources[i], max(e.log.totals[l.Sources[i].Source], total(e, l.Sources[i].Source)))
	}
	out.state(l, e)
	out.parts(e.status)
}

// total is a source's running total as far as it is decided.
func total(e *evidence, source string) uint64 {
	for i := range e.Sources {
		if e.Sources[i].Source == source {
			return e.Sources[i].Total
		}
	}
	return 0
}

func byReason(rejected map[string]int) map[string]uint64 {
	by := map[string]uint64{}
	for reason, n := range rejected {
		if !slices.Contains(reasons, reason) {
			reason = otherReason
		}
		by[reason] += uint64(n)
	}
	return by
}

// sender sends metrics.
type sender struct {
	to    chan<- prometheus.Metric
	names names
}

// shown are labels with the addresses of now.
func (s sender) shown(labels []string) []string {
	for i, label := range labels {
		if now := s.names[label]; now != "" {
			labels[i] = now
		}
	}
	return labels
}

func (s sender) total(d *prometheus.Desc, n uint64, labels ...string) {
	s.to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), s.shown(labels)...)
}

func (s sender) value(d *prometheus.Desc, v float64, labels ...string) {
	s.to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, s.shown(labels)...)
}

func (s sender) when(d *prometheus.Desc, t time.Time, labels ...string) {
	if !t.IsZero() {
		s.value(d, float64(t.UnixMilli())/1000, labels...)
	}
}

func (s sender) one(d *prometheus.Desc, is bool, labels ...string) {
	v := 0.0
	if is {
		v = 1
	}
	s.value(d, v, labels...)
}

func (s sender) source(l *SourceLedger, sent uint64) {
	s.total(received, sent, l.Source)
	s.value(waitingOf, float64(l.Pending), l.Source)
	s.value(missingOf, float64(l.Missing), l.Source)
	for _, state := range []FeedState{FeedLive, FeedQuiet, FeedBlind, FeedHeld, FeedEnded, FeedGone, FeedUnseen} {
		s.one(feeds, l.Feed.State == state, l.Source, string(state))
	}
	s.when(lastEvent, l.Feed.Event, l.Source)
	s.when(contact, l.Feed.Contact, l.Source)
}

func (s sender) state(l Ledger, e *evidence) {
	s.value(signals, float64(l.Signals.Scored), "scored")
	s.value(signals, float64(l.Signals.Waiting), "waiting")
	s.value(cases, float64(e.Counts.Cases))
	s.value(asks, float64(e.Counts.AsksPending))
	for _, state := range []model.IntentState{
		model.IntentDone, model.IntentAlready, model.IntentUndone, model.IntentRefused, model.IntentFailed,
		model.IntentUnknown, model.IntentPending, model.IntentGathered,
	} {
		s.value(intents, float64(l.Intents[state]), string(state))
	}
	st := e.log.stats
	s.value(logBytes, float64(st.Events.Bytes), "EVENTS")
	s.value(logBytes, float64(st.Inputs.Bytes), "INPUTS")
	s.value(logBytes, float64(st.Rejected.Bytes), "REJECTED")
	s.value(logLast, float64(st.Events.Last), "EVENTS")
	s.value(logLast, float64(st.Inputs.Last), "INPUTS")
	s.value(logMissing, float64(e.log.events.Messages), "EVENTS")
	s.value(logMissing, float64(e.log.inputs.Messages), "INPUTS")
	s.value(decided, float64(e.Position.Seq))
	s.value(lowMark, float64(e.Flags.Events.Low))
	s.one(addsUp, l.AddsUp)
}

func (s sender) parts(st Status) {
	s.one(running, st.Running)
	s.value(troubles, float64(len(st.Troubles)))
	for _, e := range st.Enrichments {
		s.value(questions, float64(e.Waiting), e.Enrichment)
		s.total(calls, uint64(e.Calls), e.Enrichment)
		s.total(failures, uint64(e.Failures), e.Enrichment)
	}
	for _, r := range st.Rules {
		s.value(groupsOf, float64(r.Groups), r.Rule)
		s.value(factsOf, float64(r.Facts), r.Rule)
		s.value(bytesOf, float64(r.Bytes), r.Rule)
		s.total(evictedOf, r.Evicted, r.Rule, "group")
		s.total(evictedOf, r.Crowded, r.Rule, "fact")
		s.total(lateOf, r.Late, r.Rule)
	}
	s.processes(st)
	s.instances(st)
}

var hostStates = []host.State{host.Starting, host.Running, host.Restarting, host.Failed, host.Stopped}

// processes of one plugin are one to who watches them: in each state that one of them
// is in.
func (s sender) processes(st Status) {
	in, starts := map[string]map[host.State]bool{}, map[string]int{}
	for _, p := range st.Plugins {
		if in[p.Plugin] == nil {
			in[p.Plugin] = map[host.State]bool{}
		}
		in[p.Plugin][p.State] = true
		starts[p.Plugin] += p.Restarts
	}
	for plugin, is := range in {
		for _, state := range hostStates {
			s.one(plugins, is[state], plugin, string(state))
		}
		s.total(restarts, uint64(starts[plugin]), plugin)
	}
}

// instances by address. One that is leaving shares its counts with who has its address.
func (s sender) instances(st Status) {
	sent := map[string]bool{}
	for _, leaving := range []bool{false, true} {
		for _, p := range st.pluginStatus() {
			for i := range p.Instances {
				if in := &p.Instances[i]; in.Leaving == leaving && !sent[in.Instance] {
					sent[in.Instance] = true
					s.instance(in)
				}
			}
		}
	}
}

func (s sender) instance(in *InstanceStatus) {
	for _, state := range hostStates {
		s.one(states, in.State == state, in.Instance, string(state))
	}
	s.when(since, in.Since, in.Instance)
	s.total(again, uint64(in.Restarts), in.Instance)
	s.value(inFlight, float64(in.InFlight), in.Instance)
	s.value(heldBack, float64(in.HeldBack), in.Instance)
	if in.Quota != nil {
		s.value(quotaLeft, float64(in.Quota.Left), in.Instance)
	}
	for i := range in.Calls {
		c := &in.Calls[i]
		s.total(called, c.Calls.Calls, in.Instance, c.Method)
		for fault, n := range map[string]uint64{"plugin": c.Plugin, "vendor": c.Vendor, "input": c.Input, "none": c.Nobody} {
			s.total(faulty, n, in.Instance, c.Method, fault)
		}
		if c.Took != nil {
			s.histogram(took, c.Took, c.Sum, in.Instance, c.Method)
		}
	}
}

// histogram of counts by host.LatencyBounds.
func (s sender) histogram(d *prometheus.Desc, counts []uint64, sum time.Duration, labels ...string) {
	total, buckets := uint64(0), map[float64]uint64{}
	for i, bound := range host.LatencyBounds() {
		total += counts[i]
		buckets[bound] = total
	}
	total += counts[len(counts)-1]
	s.to <- prometheus.MustNewConstHistogram(d, total, sum.Seconds(), buckets, labels...)
}

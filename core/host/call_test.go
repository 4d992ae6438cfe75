//go:build linux

package host

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// doing gives an enrichment for each thing that the fake can do, all in one process.
func doing(t *testing.T, things ...string) (*Host, func(string) *Enricher) {
	t.Helper()
	var instances []Instance
	address := func(do string) string { return "enrichment." + strings.ReplaceAll(do, " ", "_") }
	for _, do := range things {
		instances = append(instances, enrichment(address(do), "well", do))
	}
	h := started(t, settings(t, quick(), instances...), quiet())
	return h, func(do string) *Enricher { return enricher(t, h, address(do)) }
}

func TestEnrichErrors(t *testing.T) {
	h, do := doing(t, "miscount", "misname", "retry", "denied", "bad utf8", "well")
	for _, c := range []struct {
		do   string
		want Error
		text string
	}{
		{"miscount", Error{Fault: sdk.FaultPlugin, Err: ErrContract}, `plugin "fake" answered 1 questions of 2`},
		{"misname", Error{Fault: sdk.FaultPlugin, Err: ErrContract}, `plugin "fake" answered for another instance, "enrichment.other"`},
		{"retry", Error{Reason: sdk.Retry, Fault: sdk.FaultVendor, RetryAfter: 90 * time.Second}, "quota of key (secret) is used up"},
		{"denied", Error{Reason: sdk.Denied, Fault: sdk.FaultVendor}, "401 for [31m(secret)"},
		{"bad utf8", Error{Fault: sdk.FaultPlugin, Err: ErrContract}, "answered with text that is not valid UTF-8"},
	} {
		t.Run(c.do, func(t *testing.T) {
			_, err := do(c.do).Enrich(t.Context(), ask(2))
			checkError(t, err, c.want, c.text)
			if strings.ContainsRune(err.Error(), 0x1b) {
				t.Errorf("message can do something to a terminal: %q", err)
			}
		})
	}
	bad := ask(1)
	bad[0].Observable.Value = "\xff"
	_, err := do("well").Enrich(t.Context(), bad)
	checkError(t, err, Error{Reason: sdk.Invalid, Fault: sdk.FaultInput, NotSent: true, Err: ErrContract}, "not valid UTF-8")
	if got, err := do("well").Enrich(t.Context(), nil); err != nil || len(got.Replies) != 0 {
		t.Errorf("no questions: %v, %v", got, err)
	}
	if got := h.Status()[0]; got.Restarts != 0 {
		t.Errorf("restarts: %d", got.Restarts)
	}
}

func TestEnrichEnds(t *testing.T) {
	hang := enrichment("enrichment.hang", "well", "hang")
	hang.Timeout = 50 * time.Millisecond
	killed := enrichment("enrichment.kill", "well", "hang")
	crash := enrichment("enrichment.crash", "well", "crash")
	h := started(t, settings(t, quick(), hang, killed, crash), quiet())
	_, err := enricher(t, h, "enrichment.hang").Enrich(t.Context(), ask(1))
	checkError(t, err, Error{Fault: sdk.FaultPlugin, Err: context.DeadlineExceeded}, `plugin "fake" did not answer in time`)

	p := current(h.supervisors[0])
	stop := make(chan struct{})
	go func() {
		defer close(stop)
		for p.calls.count() == 0 {
			time.Sleep(time.Millisecond)
		}
		p.runner.signal(signalKill)
	}()
	defer func() { <-stop }()
	_, err = enricher(t, h, "enrichment.kill").Enrich(t.Context(), ask(1))
	checkError(t, err, Error{Reason: sdk.Retry, Fault: sdk.FaultPlugin, Err: ErrCrashed}, "ended during the call: signal: killed")

	_, err = enricher(t, h, "enrichment.crash").Enrich(t.Context(), ask(1))
	checkError(t, err, Error{Reason: sdk.Retry, Fault: sdk.FaultPlugin, Err: ErrCrashed}, "ended during the call: exit status 2")
	eventually(t, 10*time.Second, "its last words are kept", func() bool {
		tail := h.Status()[0].Tail
		return len(tail) > 0 && tail[len(tail)-1] == "panic: the secret is (secret)"
	})
}

func TestEnrichAnswers(t *testing.T) {
	_, do := doing(t, "answers")
	answers := fakeAnswers(token)
	got, err := do("answers").Enrich(t.Context(), ask(len(answers)))
	if err != nil {
		t.Fatal(err)
	}
	yes, seventy := true, 70
	want := []model.Reply{
		{State: model.Known, Answers: []model.Answer{{Verdict: &model.Verdict{Disposition: sdk.Malicious, Score: 90, Confidence: 50}}}},
		{State: model.Clean, Answers: []model.Answer{{Verdict: &model.Verdict{Disposition: sdk.Benign, Confidence: 50}}}},
		{State: model.Unknown},
		{State: model.Unknown},
		{State: model.Failed, Reason: "quota of (secret)"},
		{State: model.Failed, Reason: `plugin "fake" gave a verdict with score 1000 and confidence 50, which are from 0 to 100`},
		{State: model.Known, Answers: []model.Answer{{
			Asset: &model.Asset{
				Name: "ws-17", Owner: "kim (secret)", Criticality: &seventy, Managed: &yes,
				Patches: map[string]int{"high": 3}, Protection: &model.Protection{Running: &yes},
			}, Details: json.RawMessage(`{"key":"(secret)","n":1}`),
		}}},
		{State: model.Known, Answers: []model.Answer{{Identity: &model.Identity{Name: "Kim", Groups: []string{"admins"}, Privileged: &yes}}}},
		{State: model.Known, Answers: []model.Answer{{Network: &model.Network{Country: "NZ", ASN: 64500}}}},
		{
			State:   model.Known,
			Aliases: []sdk.Observable{{Kind: sdk.Host, Value: "ws-17.example.org"}},
			Found:   []model.Found{{Observable: sdk.Observable{Kind: sdk.IP, Value: "10.0.0.9"}}},
		},
		{State: model.Failed, Reason: `plugin "fake" gave details that are not a JSON object`},
		{State: model.Failed, Reason: `plugin "fake" gave an answer that is no verdict, asset, identity or network`},
	}
	for n, reply := range got.Replies {
		if reply.Ask != ask(n + 1)[n].ID || reply.AnsweredAt.IsZero() || reply.AnsweredAt.Location() != time.UTC {
			t.Errorf("reply %d: ask %q, answered at %s", n, reply.Ask, reply.AnsweredAt)
		}
		if (reply.Err != nil) != (reply.State == model.Failed) {
			t.Errorf("reply %d is %s with error %v", n, reply.State, reply.Err)
		}
		reply.Ask, reply.AnsweredAt = "", time.Time{}
		if diff := cmp.Diff(want[n], reply.Reply); diff != "" {
			t.Errorf("reply %d (-want +got):\n%s", n, diff)
		}
	}
	if e := got.Replies[4].Err; e.Reason != sdk.Retry || e.Fault != sdk.FaultVendor || e.RetryAfter != time.Minute {
		t.Errorf("failure: %+v", e)
	}
	if got.Replies[9].TTL != time.Hour || got.QuotaLeft == nil || *got.QuotaLeft != 17 {
		t.Errorf("ttl %s, quota %v", got.Replies[9].TTL, got.QuotaLeft)
	}
}

func TestActions(t *testing.T) {
	var instances []Instance
	for _, do := range []string{"well", "misname", "leak", "leak_token", "crash", "hang"} {
		instances = append(instances, fakeInstance(model.Action, "action."+do, "well", strings.ReplaceAll(do, "_", " ")))
	}
	h := started(t, settings(t, quick(), instances...), quiet())
	action := func(do string) *Action {
		a, err := h.Action("action." + do)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	call := ActionCall{
		Verb: "notify", Target: model.Target{Kind: "address", Value: "kim@example.org", Known: json.RawMessage(`{}`)},
		Parameters: json.RawMessage(`{"a":1}`), Key: "i-0", NotAfter: time.Now().Add(time.Minute), DryRun: true, Attempt: 2,
	}
	got, err := action("well").Execute(t.Context(), call)
	want := sdk.Result{
		Outcome: sdk.OutcomeDone, Reference: "ticket-7", UndoToken: []byte("undo"),
		Message: `notify kim@example.org {"a":1} i-0 2 true`,
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	got, err = action("leak").Execute(t.Context(), call)
	if err != nil || got.Message != "used (secret)" {
		t.Errorf("a message with a secret: %+v, %v", got, err)
	}
	_, err = action("leak_token").Execute(t.Context(), call)
	checkError(t, err, Error{Fault: sdk.FaultPlugin, Err: ErrContract}, "an undo token that holds a secret")
	_, err = action("misname").Execute(t.Context(), call)
	checkError(t, err, Error{Fault: sdk.FaultPlugin, Err: ErrContract}, `answered for another instance, "action.other"`)

	late := call
	late.NotAfter = time.Now().Add(-time.Second)
	_, err = action("well").Execute(t.Context(), late)
	checkError(t, err, Error{Fault: sdk.FaultPlugin, NotSent: true, Err: context.DeadlineExceeded}, "")
	late.NotAfter = time.Now().Add(50 * time.Millisecond)
	_, err = action("hang").Execute(t.Context(), late)
	checkError(t, err, Error{Fault: sdk.FaultPlugin, Err: context.DeadlineExceeded}, "did not answer in time")

	_, err = action("crash").Execute(t.Context(), call)
	checkError(t, err, Error{Reason: sdk.Retry, Fault: sdk.FaultPlugin, Err: ErrCrashed}, "ended during the call")
	_, err = action("well").Undo(t.Context(), ActionUndo{Verb: "notify", Key: "i-0"})
	checkError(t, err, Error{Reason: sdk.Invalid, Fault: sdk.FaultPlugin, NotSent: true, Err: ErrUnsupported}, `plugin "fake" has no action that can do this`)
	_, err = action("well").Check(t.Context(), ActionCheck{Verb: "notify", Key: "i-0"})
	checkError(t, err, Error{Reason: sdk.Invalid, Fault: sdk.FaultPlugin, NotSent: true, Err: ErrUnsupported}, `plugin "fake" has no action that can do this`)
}

// A plugin that lacks a service altogether says so through gRPC itself.
func TestPluginWithoutTheService(t *testing.T) {
	h := started(t, settings(t, quick(), enrichment("enrichment.a", "plain", "well")), quiet())
	_, err := enricher(t, h, "enrichment.a").Enrich(t.Context(), ask(1))
	checkError(t, err, Error{Reason: sdk.Invalid, Fault: sdk.FaultPlugin, NotSent: true, Err: ErrUnsupported}, `plugin "fake" has no enrichment that can do this`)
}

// Each code means one thing to the caller.
func TestCodes(t *testing.T) {
	i := &instance{Instance: Instance{Address: "action.a", Kind: model.Action, Plugin: "fake"}, scrub: newScrubber(nil)}
	alive := &process{runner: &runner{done: make(chan struct{})}}
	for code, want := range map[codes.Code]sdk.Reason{
		codes.Aborted: sdk.Retry, codes.Unauthenticated: sdk.Denied, codes.PermissionDenied: sdk.Denied,
		codes.InvalidArgument: sdk.Invalid, codes.OutOfRange: sdk.Invalid, codes.NotFound: sdk.Failed,
		codes.Internal: sdk.Failed, codes.Unknown: sdk.Failed, codes.ResourceExhausted: sdk.Retry,
	} {
		err := i.explain(t.Context(), alive, status.Error(code, "why"))
		e, ok := err.(*Error)
		if !ok || e.Reason != want || e.Message != "why" || e.Error() != "action.a: why" {
			t.Errorf("%s: %+v, want reason %d", code, err, want)
		}
	}
}

// What a plugin could not answer was asked all the same: gRPC has the same words for a
// request that could not be sent.
func TestAnswerThatCannotBeSent(t *testing.T) {
	h := started(t, settings(t, quick(), enrichment("enrichment.large", "well", "unsaid"), enrichment("enrichment.text", "well", "unsayable")), quiet())
	_, err := enricher(t, h, "enrichment.large").Enrich(t.Context(), ask(1))
	checkError(t, err, Error{Reason: sdk.Invalid, Fault: sdk.FaultPlugin, Err: ErrTooLarge}, "larger than 16 MiB")
	_, err = enricher(t, h, "enrichment.text").Enrich(t.Context(), ask(1))
	checkError(t, err, Error{Reason: sdk.Failed, Fault: sdk.FaultPlugin, Err: ErrContract}, "not valid UTF-8")
	for _, in := range h.Status()[0].Instances {
		if in.Failure == nil || in.Failure.Fault != sdk.FaultPlugin || in.Failure.Reason == "" {
			t.Errorf("%s: why it failed is not kept: %+v", in.Address, in.Failure)
		}
	}
}

package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/kelpie-sec/kelpie/core/host"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// calledAnswer is what a connector said of one value.
type calledAnswer struct {
	Kind    string            `json:"kind"`
	Value   string            `json:"value"`
	State   model.AnswerState `json:"state"`
	Reason  string            `json:"reason,omitempty"`
	Retry   string            `json:"retry_after,omitempty"`
	Answers []model.Answer    `json:"answers,omitempty"`
	Found   []model.Found     `json:"found,omitempty"`
	Aliases []sdk.Observable  `json:"aliases,omitempty"`
	TTL     string            `json:"ttl,omitempty"`
	// QuotaLeft and QuotaResets are the vendor's, as it told with this answer.
	QuotaLeft   *int64    `json:"quota_left,omitempty"`
	QuotaResets time.Time `json:"quota_resets,omitzero"`
}

func (k *calling) enrich() (func(context.Context) error, error) {
	if len(k.args) < 2 {
		return nil, usage("enrich takes a kind and a value, such as ip 198.51.100.7; this one can be asked about: %s", joined(k.connector.Takes))
	}
	kind := k.args[0]
	if !slices.Contains(k.connector.Takes, kind) {
		return nil, usage("this enrichment cannot be asked about %q; it can about: %s", kind, joined(k.connector.Takes))
	}
	at := time.Now().UTC()
	if k.flags.at != "" {
		var err error
		if at, err = time.Parse(time.RFC3339, k.flags.at); err != nil {
			return nil, usage("--at takes a time such as 2026-11-30T12:00:00Z, not %q", k.flags.at)
		}
	}
	var asks []model.Ask
	for _, value := range k.args[1:] {
		o, err := sdk.Canonical(kind, value)
		if err != nil {
			return nil, usage("%v", err)
		}
		id := fmt.Sprintf("a-%d", len(asks)+1)
		asks = append(asks, model.Ask{ID: id, Enrichment: k.address, Observable: o, At: at, AskedAt: time.Now().UTC()})
	}
	return func(ctx context.Context) error { return k.ask(ctx, asks) }, nil
}

// ask asks as many at once as the connector takes.
func (k *calling) ask(ctx context.Context, asks []model.Ask) error {
	e, err := k.host.Enricher(k.address)
	if err != nil {
		return err
	}
	failed := 0
	for part := range slices.Chunk(asks, max(1, k.connector.BatchLimit)) {
		got, err := e.Enrich(ctx, part)
		if err != nil {
			return err
		}
		for n, r := range got.Replies {
			if r.State == model.Failed {
				failed++
			}
			answer := answerOf(part[n], r)
			if n == len(got.Replies)-1 {
				answer.QuotaLeft, answer.QuotaResets = got.QuotaLeft, got.QuotaResets
			}
			if k.o.json {
				err = k.line(answer)
			} else {
				k.printAnswer(answer)
			}
			if err != nil {
				return err
			}
		}
	}
	if failed > 0 {
		return &codeError{code: exitFailed}
	}
	return nil
}

func answerOf(ask model.Ask, r host.EnrichedReply) calledAnswer {
	a := calledAnswer{
		Kind: ask.Observable.Kind, Value: ask.Observable.Value, State: r.State, Reason: r.Reason,
		Answers: r.Answers, Found: r.Found, Aliases: r.Aliases,
	}
	if r.TTL > 0 {
		a.TTL = r.TTL.String()
	}
	if r.Err != nil && r.Err.RetryAfter > 0 {
		a.Retry = r.Err.RetryAfter.String()
	}
	return a
}

func (k *calling) printAnswer(a calledAnswer) {
	text := a.Kind + " " + a.Value + ": " + string(a.State)
	if a.TTL != "" {
		text += ", good for " + a.TTL
	}
	indented(k.out, "", text)
	if a.Reason != "" {
		indented(k.out, "  ", a.Reason)
	}
	if a.Retry != "" {
		indented(k.out, "  ", "it may be asked again in "+a.Retry)
	}
	for _, one := range a.Answers {
		indented(k.out, "  ", answerText(one))
		if one.Verdict != nil && one.Verdict.Link != "" {
			indented(k.out, "    link     ", one.Verdict.Link)
		}
		if !one.At.IsZero() {
			indented(k.out, "    as of    ", stamp(one.At)+" UTC")
		}
		if len(one.Details) > 0 {
			indented(k.out, "    details  ", string(one.Details))
		}
	}
	for _, o := range a.Aliases {
		indented(k.out, "  alias  ", o.Kind+" "+o.Value)
	}
	for _, f := range a.Found {
		text := f.Observable.Kind + " " + f.Observable.Value
		if !f.At.IsZero() {
			text += " at " + stamp(f.At) + " UTC"
		}
		indented(k.out, "  found  ", text)
	}
	if a.QuotaLeft != nil {
		text := fmt.Sprintf("the vendor's quota has %d left", *a.QuotaLeft)
		if !a.QuotaResets.IsZero() {
			text += " until " + stamp(a.QuotaResets) + " UTC"
		}
		indented(k.out, "", text)
	}
}

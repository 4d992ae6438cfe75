package host

import (
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
)

// maxReply bounds what is kept of the answers to one question, in bytes.
const maxReply = 1 << 20

// Enricher is a configured enrichment.
type Enricher struct{ instance *instance }

// Enriched is what one call answered.
type Enriched struct {
	// Replies has one for each ask, in its order.
	Replies []EnrichedReply
	// QuotaLeft and QuotaResets are the vendor's, if it tells; nil and zero otherwise.
	QuotaLeft   *int64
	QuotaResets time.Time
}

// EnrichedReply is the answer to one ask. Its Expires is left to the caller.
type EnrichedReply struct {
	model.Reply
	// TTL is how long it is good; 0: the operator's or the connector's default.
	TTL time.Duration
	// Err is set where State is model.Failed, and Reason is its message.
	Err *Error
}

// Address of the instance, "enrichment.assets".
func (e *Enricher) Address() string { return e.instance.Address }

// Enrich asks about observables, at most as many as the connector's BatchLimit. An
// answer that is not to be believed (a score of 1000, details that are not JSON) fails
// alone. The error is an *Error, and then nothing was answered.
func (e *Enricher) Enrich(ctx context.Context, asks []model.Ask) (Enriched, error) {
	if len(asks) == 0 {
		return Enriched{}, nil
	}
	result, err := e.enrich(ctx, asks)
	t := e.instance.tally
	t.call(enriching, err)
	if worst := result.worst(); worst != nil {
		t.failed(enriching, worst.Fault, worst.Message)
	}
	if left := result.QuotaLeft; left != nil {
		t.quota(*left, result.QuotaResets, time.Now())
	}
	return result, err
}

// worst of the replies that failed: the plugin's fault before the vendor's; nil: none did.
func (r *Enriched) worst() (worst *Error) {
	rank := func(f sdk.Fault) int { return slices.Index(faults[:], f) }
	for i := range r.Replies {
		if err := r.Replies[i].Err; err != nil && (worst == nil || rank(err.Fault) < rank(worst.Fault)) {
			worst = err
		}
	}
	return worst
}

func (e *Enricher) enrich(ctx context.Context, asks []model.Ask) (Enriched, error) {
	request := &pluginv1.EnrichRequest{Instance: e.instance.name}
	for _, ask := range asks {
		request.Questions = append(request.Questions, &pluginv1.Question{
			Observable: &pluginv1.Observable{Kind: ask.Observable.Kind, Value: ask.Observable.Value},
			At:         timeProto(ask.At),
		})
	}
	var answer *pluginv1.EnrichResponse
	err := e.instance.call(ctx, enriching, time.Time{}, func(ctx context.Context, conn *grpc.ClientConn) (err error) {
		answer, err = pluginv1.NewEnrichmentServiceClient(conn).Enrich(ctx, request)
		return err
	})
	if err != nil {
		return Enriched{}, err
	}
	if err := e.instance.answeredFor(answer.GetInstance()); err != nil {
		return Enriched{}, err
	}
	if got := len(answer.GetAnswers()); got != len(asks) {
		return Enriched{}, e.instance.breach("answered %d questions of %d", got, len(asks))
	}
	result := Enriched{Replies: make([]EnrichedReply, len(asks))}
	if q := answer.GetQuota(); q != nil {
		left := max(0, q.GetRemaining())
		result.QuotaLeft, result.QuotaResets = &left, timeModel(q.GetResets())
	}
	now := time.Now().UTC()
	for n, a := range answer.GetAnswers() {
		reply := e.reply(a)
		reply.Ask, reply.AnsweredAt = asks[n].ID, now
		result.Replies[n] = reply
	}
	return result, nil
}

// reply converts the answer to one question.
func (e *Enricher) reply(a *pluginv1.QuestionAnswer) EnrichedReply {
	i := e.instance
	if f := a.GetFailure(); f != nil {
		return failedReply(i.failure(f))
	}
	if size := proto.Size(a); size > maxReply {
		return failedReply(i.breach("gave an answer of %d bytes, more than %d", size, maxReply))
	}
	reply := EnrichedReply{Reply: model.Reply{State: model.Unknown}}
	if d := a.GetTtl(); d != nil {
		reply.TTL = max(0, d.AsDuration())
	}
	if a.GetNotFound() {
		return reply
	}
	for _, one := range a.GetAnswers() {
		answer, err := i.answer(one)
		if err != nil {
			return failedReply(err)
		}
		reply.Answers = append(reply.Answers, answer)
	}
	var wrong []error
	for _, o := range a.GetAliases() {
		alias, err := sdk.Canonical(o.GetKind(), o.GetValue())
		if err != nil {
			wrong = append(wrong, err)
			continue
		}
		reply.Aliases = append(reply.Aliases, alias)
	}
	for _, f := range a.GetObservables() {
		found, err := sdk.Canonical(f.GetObservable().GetKind(), f.GetObservable().GetValue())
		if err != nil {
			wrong = append(wrong, err)
			continue
		}
		reply.Found = append(reply.Found, model.Found{Observable: found, At: timeModel(f.GetAt())})
	}
	if len(wrong) > 0 {
		i.owner.log.Warn("what the plugin found is no observable, and is left out",
			"instance", i.Address, "count", len(wrong), "first", i.scrub.message(wrong[0].Error()))
	}
	switch {
	case len(reply.Answers)+len(reply.Aliases)+len(reply.Found) == 0:
	case allBenign(reply.Answers):
		reply.State = model.Clean
	default:
		reply.State = model.Known
	}
	return reply
}

func failedReply(err *Error) EnrichedReply {
	return EnrichedReply{Reply: model.Reply{State: model.Failed, Reason: err.Message}, Err: err}
}

// failure is to one question what explain is to a call.
func (i *instance) failure(f *pluginv1.Failure) *Error {
	code := codes.Code(max(0, f.GetCode()))
	e := &Error{Instance: i.Address, Reason: reasonOf(code), Fault: faultOf(code), Message: i.scrub.message(f.GetMessage())}
	if e.Message == "" {
		e.Message = fmt.Sprintf("plugin %q does not say why it failed", i.Plugin)
	}
	switch f.GetFault() {
	case pluginv1.Fault_FAULT_PLUGIN:
		e.Fault = sdk.FaultPlugin
	case pluginv1.Fault_FAULT_VENDOR:
		e.Fault = sdk.FaultVendor
	case pluginv1.Fault_FAULT_INPUT:
		e.Fault = sdk.FaultInput
	}
	if d := f.GetRetryAfter(); d != nil {
		e.Reason, e.RetryAfter = sdk.Retry, max(0, d.AsDuration())
	}
	return e
}

// allBenign tells whether there are verdicts, and all of them benign.
func allBenign(answers []model.Answer) bool {
	verdicts := 0
	for _, a := range answers {
		if a.Verdict == nil {
			continue
		}
		if a.Verdict.Disposition != sdk.Benign {
			return false
		}
		verdicts++
	}
	return verdicts > 0
}

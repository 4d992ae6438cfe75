package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"

	"github.com/kelpie-sec/kelpie/sdk"
	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
)

// enrichmentChecks are about answers.
func enrichmentChecks() []Check {
	return []Check{
		{
			Name: "answers", of: eachEnrichment, run: answers,
			Why: "Scores are made of answers: one that is missing, out of its range or given to another question is worse than none.",
		},
		{
			Name: "rate_limit", of: eachInstance, run: rateLimit,
			Why: "Without the time after which a vendor may be asked again, Kelpie asks too early and the quota is used up for all.",
		},
	}
}

// answers asks about each question alone and about all at once.
func answers(ctx context.Context, t *trial) error {
	p, err := t.configured(ctx)
	if err != nil {
		return err
	}
	most := max(1, int(t.connector().GetBatchLimit()))
	questions := t.questions()
	for t.mayBePestered() && len(questions) < most && len(questions) < 32 {
		questions = append(questions, questions...)
	}
	questions = questions[:min(len(questions), most)]
	got, err := t.askOnce(ctx, p, t.instance.Name, questions)
	if err != nil {
		return p.told(fail("Answer each question by itself: one that fails has a failure, and the others their answers.", "a call with %d questions is answered: %s", len(questions), text(err)))
	}
	if len(got.GetAnswers()) != len(questions) {
		return fail("Give one answer for each question, in their order.", "%d questions have %d answers", len(questions), len(got.GetAnswers()))
	}
	if got.GetInstance() != t.instance.Name {
		return fail("Put the instance's name into the answer.", "the answer says that it is of instance %q", clip(got.GetInstance()))
	}
	for n, a := range got.GetAnswers() {
		if err := checkAnswer(a); err != nil {
			return fail("sdk/proto/kelpie/plugin/v1/enrichment.proto says what each field may hold.", "the answer about %s %q: %v", questions[n].Kind, questions[n].Value, err)
		}
	}
	return nil
}

func checkAnswer(a *pluginv1.QuestionAnswer) error {
	if a.GetFailure() != nil {
		f := a.GetFailure()
		switch {
		case f.GetCode() == 0:
			return fmt.Errorf("a failure has the code 0, which is success")
		case f.GetMessage() == "":
			return fmt.Errorf("a failure has no message")
		case len(a.GetAnswers()) > 0 || a.GetNotFound():
			return fmt.Errorf("it has a failure and says something all the same")
		}
		return nil
	}
	if a.GetNotFound() && len(a.GetAnswers())+len(a.GetObservables())+len(a.GetAliases()) > 0 {
		return fmt.Errorf("it says not_found and has something all the same")
	}
	if !a.GetNotFound() && len(a.GetAnswers())+len(a.GetObservables())+len(a.GetAliases()) == 0 {
		return fmt.Errorf("it holds nothing, and neither not_found nor a failure")
	}
	for _, one := range a.GetAnswers() {
		if one.GetAnswer() == nil {
			return fmt.Errorf("it is neither a verdict nor an asset, an identity or a network")
		}
		if len(one.GetDetails()) > 0 && !isObject(one.GetDetails()) {
			return fmt.Errorf("details is no JSON object")
		}
		for what, n := range map[string]int32{
			"score": one.GetVerdict().GetScore(), "confidence": one.GetVerdict().GetConfidence(), "criticality": one.GetAsset().GetCriticality(),
		} {
			if n < 0 || n > 100 {
				return fmt.Errorf("%s is %d, not between 0 and 100", what, n)
			}
		}
	}
	for _, found := range a.GetObservables() {
		if _, err := sdk.Canonical(found.GetObservable().GetKind(), found.GetObservable().GetValue()); err != nil {
			return fmt.Errorf("an observable found: %w", err)
		}
	}
	return nil
}

func isObject(data []byte) bool {
	var object map[string]json.RawMessage
	return json.Unmarshal(data, &object) == nil && object != nil
}

// rateLimit makes the far end refuse for a while.
func rateLimit(ctx context.Context, t *trial) error {
	if t.instance.Limit == nil {
		return skipf("the suite has no far end that it can make refuse")
	}
	switch t.instance.Kind {
	case sdk.KindDetector:
		return t.limitedDetector(ctx)
	case sdk.KindEnrichment:
		return t.limitedEnrichment(ctx)
	}
	return t.limitedAction(ctx)
}

const limitDo = "Read Retry-After, or what the vendor has in its place, and hand it on: retry_after of a failure, RetryInfo of a status, sdk.Error{Reason: sdk.Retry, RetryAfter: …}."

func (t *trial) limitedEnrichment(ctx context.Context) error {
	p, err := t.configured(ctx)
	if err != nil {
		return err
	}
	lift := t.instance.Limit()
	defer lift()
	got, err := t.askOnce(ctx, p, t.instance.Name, t.questions()[:1])
	if err != nil {
		if retryTime(err) <= 0 {
			return fail(limitDo, "with too many requests the call is answered %s, and carries no time after which to ask again", text(err))
		}
		return nil
	}
	if len(got.GetAnswers()) != 1 {
		return fail("Give one answer for each question, in their order.", "a question has %d answers", len(got.GetAnswers()))
	}
	f := got.GetAnswers()[0].GetFailure()
	switch {
	case f == nil:
		return fail("What was refused is a failure, not an answer and not not_found.", "with too many requests the answer is not a failure")
	case f.GetRetryAfter().AsDuration() <= 0:
		return fail(limitDo, "with too many requests the failure %q carries no time after which to ask again", clip(f.GetMessage()))
	}
	return nil
}

// retryTime is what a status says about asking again; 0: nothing.
func retryTime(err error) time.Duration {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.RetryInfo); ok {
			return info.GetRetryDelay().AsDuration()
		}
	}
	return 0
}

// limitedAction: an action that was refused has not taken effect, and says so.
func (t *trial) limitedAction(ctx context.Context) error {
	if len(t.instance.Acts) == 0 {
		return skipf("the suite was given nothing to do")
	}
	p, err := t.configured(ctx)
	if err != nil {
		return err
	}
	lift := t.instance.Limit()
	defer lift()
	for _, act := range t.permitted() {
		request := t.request(act, t.instance.Name, newKey(), false)
		request.NotAfter = soon(3 * time.Second)
		got, err := t.execute(ctx, p, request)
		if err != nil && retryTime(err) <= 0 {
			return fail(limitDo, "with too many requests %s is answered %s, and carries no time after which to try again", act.Verb, text(err))
		}
		if err == nil && got.GetOutcome() != pluginv1.Outcome_OUTCOME_FAILED {
			return fail("What the far end refused for now is failed: it did not take effect, and may be tried again.",
				"with too many requests the outcome of %s is %s: %s", act.Verb, outcomeText(got.GetOutcome()), clip(got.GetMessage()))
		}
	}
	return nil
}

// limitedDetector: a source that cannot be read is told in the status, and the session
// goes on.
func (t *trial) limitedDetector(ctx context.Context) error {
	p, err := t.configured(ctx)
	if err != nil {
		return err
	}
	lift := t.instance.Limit()
	defer lift()
	s, err := p.open(ctx, t.instance.Name, sessionStart{credit: 8})
	if err != nil {
		return err
	}
	defer s.end()
	for deadline := time.Now().Add(t.settings.Patience); ; {
		m, err := s.next(time.Until(deadline))
		if err != nil {
			return p.told(fail("Report TROUBLED with the reason, and try again when the source says.", "with too many requests the session says nothing of it: %v", err))
		}
		if m.GetStatus().GetState() == pluginv1.DetectorState_DETECTOR_STATE_TROUBLED && m.GetStatus().GetMessage() != "" {
			return nil
		}
	}
}

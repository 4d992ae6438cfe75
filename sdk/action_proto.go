package sdk

import "github.com/kelpie-sec/kelpie/sdk/pluginv1"

func targetFromProto(t *pluginv1.Target) Target {
	return Target{Kind: t.GetKind(), Value: t.GetValue(), Known: t.GetKnown()}
}

func outcomeToProto(o Outcome) pluginv1.Outcome {
	switch o {
	case OutcomeDone:
		return pluginv1.Outcome_OUTCOME_DONE
	case OutcomeAlready:
		return pluginv1.Outcome_OUTCOME_ALREADY
	case OutcomeRefused:
		return pluginv1.Outcome_OUTCOME_REFUSED
	case OutcomeFailed:
		return pluginv1.Outcome_OUTCOME_FAILED
	}
	return pluginv1.Outcome_OUTCOME_UNKNOWN
}

func executedToProto(i *instance, r Result) *pluginv1.ExecuteResponse {
	return &pluginv1.ExecuteResponse{
		Instance:  i.id,
		Outcome:   outcomeToProto(r.Outcome),
		Reference: cut(r.Reference, textLimit),
		UndoToken: r.UndoToken,
		Message:   cut(i.scrub.scrub(r.Message), textLimit),
		SameKey:   r.SameKey,
	}
}

func undoneToProto(i *instance, r Result) *pluginv1.UndoResponse {
	return &pluginv1.UndoResponse{
		Instance: i.id,
		Outcome:  outcomeToProto(r.Outcome),
		Message:  cut(i.scrub.scrub(r.Message), textLimit),
	}
}

func checkedToProto(i *instance, r Result) *pluginv1.CheckResponse {
	return &pluginv1.CheckResponse{
		Instance:  i.id,
		Outcome:   outcomeToProto(r.Outcome),
		Reference: cut(r.Reference, textLimit),
		UndoToken: r.UndoToken,
		Message:   cut(i.scrub.scrub(r.Message), textLimit),
	}
}

func personAnswerToProto(a PersonAnswer) *pluginv1.AnswersResponse {
	return &pluginv1.AnswersResponse{
		IdempotencyKey: valid(a.Key),
		Option:         valid(a.Option),
		Reason:         cut(a.Reason, textLimit),
		User:           valid(a.User),
		At:             timeToProto(a.At),
		Cursor:         a.Cursor,
	}
}

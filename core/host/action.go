package host

import (
	"cmp"
	"context"
	"encoding/json"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
)

// maxUndoToken is the contract's bound.
const maxUndoToken = 64 << 10

// Action is a configured action. Nothing is ever sent twice by it: a call either
// comes to a result, or to an *Error, whose NotSent tells that nothing can have
// happened; after any other error the outcome is unknown.
type Action struct{ instance *instance }

// ActionCall is one attempt at an intent.
type ActionCall struct {
	Verb   string
	Target model.Target
	// Parameters is a JSON object by the verb's schema.
	Parameters json.RawMessage
	// Key is the same for every attempt of an intent: at most 64 of [0-9a-z-].
	Key string
	// NotAfter is the deadline of the call too; a call that would come later is not
	// sent.
	NotAfter time.Time
	DryRun   bool
	Attempt  int // from 1
}

// ActionUndo restores what an ActionCall changed.
type ActionUndo struct {
	Verb     string
	Target   model.Target
	Token    []byte
	Key      string
	NotAfter time.Time
}

// ActionCheck asks what became of an ActionCall or an ActionUndo whose answer was lost.
type ActionCheck struct {
	Verb   string
	Target model.Target
	Key    string
	// Undo: the key is that of an ActionUndo, which had Token.
	Undo  bool
	Token []byte
}

// Key of the instance; see Instance.
func (a *Action) Key() string { return a.instance.Key }

// Address of the instance, "action.mail".
func (a *Action) Address() string { return a.instance.Address }

// Execute does one thing to one target.
func (a *Action) Execute(ctx context.Context, c ActionCall) (sdk.Result, error) {
	r, err := a.execute(ctx, c)
	a.count(executing, r, err)
	return r, err
}

func (a *Action) execute(ctx context.Context, c ActionCall) (sdk.Result, error) {
	var answer *pluginv1.ExecuteResponse
	err := a.instance.call(ctx, executing, c.NotAfter, func(ctx context.Context, conn *grpc.ClientConn) (err error) {
		answer, err = pluginv1.NewActionServiceClient(conn).Execute(ctx, &pluginv1.ExecuteRequest{
			Instance:       a.instance.name,
			Verb:           c.Verb,
			Target:         targetProto(c.Target),
			Parameters:     c.Parameters,
			IdempotencyKey: c.Key,
			NotAfter:       timeProto(c.NotAfter),
			DryRun:         c.DryRun,
			Attempt:        int32(c.Attempt),
		})
		return err
	})
	if err != nil {
		return sdk.Result{}, err
	}
	r, err := a.result(answer.GetInstance(), answer.GetOutcome(), answer.GetReference(), answer.GetUndoToken(), answer.GetMessage())
	r.SameKey = r.Outcome == sdk.OutcomeAlready && answer.GetSameKey()
	return r, err
}

// Undo restores the state before.
func (a *Action) Undo(ctx context.Context, c ActionUndo) (sdk.Result, error) {
	r, err := a.undo(ctx, c)
	a.count(undoing, r, err)
	return r, err
}

func (a *Action) undo(ctx context.Context, c ActionUndo) (sdk.Result, error) {
	var answer *pluginv1.UndoResponse
	err := a.instance.call(ctx, undoing, c.NotAfter, func(ctx context.Context, conn *grpc.ClientConn) (err error) {
		answer, err = pluginv1.NewActionServiceClient(conn).Undo(ctx, &pluginv1.UndoRequest{
			Instance:       a.instance.name,
			Verb:           c.Verb,
			Target:         targetProto(c.Target),
			UndoToken:      c.Token,
			IdempotencyKey: c.Key,
			NotAfter:       timeProto(c.NotAfter),
		})
		return err
	})
	if err != nil {
		return sdk.Result{}, err
	}
	return a.result(answer.GetInstance(), answer.GetOutcome(), "", nil, answer.GetMessage())
}

// Check says what became of a call.
func (a *Action) Check(ctx context.Context, c ActionCheck) (sdk.Result, error) {
	r, err := a.check(ctx, c)
	a.count(checking, r, err)
	return r, err
}

func (a *Action) check(ctx context.Context, c ActionCheck) (sdk.Result, error) {
	var answer *pluginv1.CheckResponse
	err := a.instance.call(ctx, checking, time.Time{}, func(ctx context.Context, conn *grpc.ClientConn) (err error) {
		answer, err = pluginv1.NewActionServiceClient(conn).Check(ctx, &pluginv1.CheckRequest{
			Instance:       a.instance.name,
			Verb:           c.Verb,
			Target:         targetProto(c.Target),
			IdempotencyKey: c.Key,
			Undo:           c.Undo,
			UndoToken:      c.Token,
		})
		return err
	})
	if err != nil {
		return sdk.Result{}, err
	}
	return a.result(answer.GetInstance(), answer.GetOutcome(), answer.GetReference(), answer.GetUndoToken(), answer.GetMessage())
}

// count one call. That something could not be done, or that nobody knows, is the vendor's
// fault as far as anybody can tell; that it was refused is an answer.
func (a *Action) count(m method, r sdk.Result, err error) {
	a.instance.tally.call(m, err)
	if err == nil && (r.Outcome == sdk.OutcomeFailed || r.Outcome == sdk.OutcomeUnknown) {
		a.instance.tally.failed(m, sdk.FaultVendor, cmp.Or(r.Message, "its outcome is "+string(r.Outcome)))
	}
}

// result checks what an action answered. Where that is not to be believed, the
// outcome is unknown, since something may have happened.
func (a *Action) result(instance string, o pluginv1.Outcome, reference string, token []byte, message string) (sdk.Result, error) {
	i := a.instance
	if err := i.answeredFor(instance); err != nil {
		return sdk.Result{}, err
	}
	if len(token) > maxUndoToken {
		return sdk.Result{}, i.breach("gave an undo token of %d bytes, more than %d", len(token), maxUndoToken)
	}
	if i.scrub.holds(string(token)) {
		return sdk.Result{}, i.breach("gave an undo token that holds a secret")
	}
	return sdk.Result{
		Outcome:   outcomeModel(o),
		Reference: i.scrub.message(reference),
		UndoToken: token,
		Message:   i.scrub.message(message),
	}, nil
}

func outcomeModel(o pluginv1.Outcome) sdk.Outcome {
	switch o {
	case pluginv1.Outcome_OUTCOME_DONE:
		return sdk.OutcomeDone
	case pluginv1.Outcome_OUTCOME_ALREADY:
		return sdk.OutcomeAlready
	case pluginv1.Outcome_OUTCOME_REFUSED:
		return sdk.OutcomeRefused
	case pluginv1.Outcome_OUTCOME_FAILED:
		return sdk.OutcomeFailed
	}
	return sdk.OutcomeUnknown
}

func targetProto(t model.Target) *pluginv1.Target {
	return &pluginv1.Target{Kind: t.Kind, Value: t.Value, Known: t.Known}
}

func timeProto(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// timeModel is zero for a time that is absent or none.
func timeModel(t *timestamppb.Timestamp) time.Time {
	if t == nil || t.CheckValid() != nil {
		return time.Time{}
	}
	return t.AsTime()
}

package sdk

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
)

// isolate is a good request; what a test wants different it changes.
func isolate(change func(*pluginv1.ExecuteRequest)) *pluginv1.ExecuteRequest {
	req := &pluginv1.ExecuteRequest{
		Instance: "action.x", Verb: "isolate_host", Target: &pluginv1.Target{Kind: "host", Value: "ws-17", Known: []byte(`{}`)},
		Parameters: []byte(`{"level":3}`), IdempotencyKey: "k-1", NotAfter: timestamppb.New(time.Now().Add(time.Minute)), Attempt: 2,
	}
	if change != nil {
		change(req)
	}
	return req
}

func actor(t *testing.T, a *fakeActor) *served {
	t.Helper()
	s := serveHere(t, actionPlugin(func() Instance { return a }))
	s.configure(t, "action.x", asAction, `{"token":"s3cr3t"}`)
	return s
}

func TestExecute(t *testing.T) {
	var got Call
	s := actor(t, &fakeActor{execute: func(ctx context.Context, call Call) (Result, error) {
		got = call
		if deadline, _ := ctx.Deadline(); deadline.After(call.NotAfter) {
			t.Errorf("the deadline %v is after %v", deadline, call.NotAfter)
		}
		return Result{Outcome: OutcomeDone, Reference: "r", UndoToken: []byte("u"), Message: "by s3cr3t"}, nil
	}})
	out, err := s.act.Execute(context.Background(), isolate(nil))
	if err != nil {
		t.Fatal(err)
	}
	if out.GetInstance() != "action.x" || out.GetOutcome() != pluginv1.Outcome_OUTCOME_DONE || out.GetReference() != "r" || string(out.GetUndoToken()) != "u" || out.GetMessage() != "by (secret)" {
		t.Errorf("result %v", out)
	}
	if p, ok := got.Parameters.(*isolateParameters); !ok || p.Level != 3 {
		t.Errorf("parameters %v", got.Parameters)
	}
	if got.Verb != "isolate_host" || got.Target.Value != "ws-17" || got.Key != "k-1" || got.Attempt != 2 || got.DryRun {
		t.Errorf("call %+v", got)
	}
}

func TestExecuteIsNotCalled(t *testing.T) {
	var calls atomic.Int32
	s := actor(t, &fakeActor{execute: func(context.Context, Call) (Result, error) {
		calls.Add(1)
		return Result{Outcome: OutcomeDone}, nil
	}})
	for want, change := range map[string]func(*pluginv1.ExecuteRequest){
		"is not configured":                func(r *pluginv1.ExecuteRequest) { r.Instance = "action.y" },
		`does not offer "explode"`:         func(r *pluginv1.ExecuteRequest) { r.Verb = "explode" },
		"an idempotency key has":           func(r *pluginv1.ExecuteRequest) { r.IdempotencyKey = "A/../b" },
		"not_after is missing":             func(r *pluginv1.ExecuteRequest) { r.NotAfter = nil },
		`level: the attribute "level" is`:  func(r *pluginv1.ExecuteRequest) { r.Parameters = nil },
		`must be a whole number, not text`: func(r *pluginv1.ExecuteRequest) { r.Parameters = []byte(`{"level":"x"}`) },
	} {
		_, err := s.act.Execute(testContext(t), isolate(change))
		told := FromStatus(err)
		if told == nil || told.Fault != FaultInput || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q by the input's fault", err, want)
		}
	}
	out, err := s.act.Execute(testContext(t), isolate(func(r *pluginv1.ExecuteRequest) {
		r.NotAfter = timestamppb.New(time.Now().Add(-time.Millisecond))
	}))
	if err != nil || out.GetOutcome() != pluginv1.Outcome_OUTCOME_FAILED {
		t.Errorf("after not_after: %v, %v, want failed", out, err)
	}
	if n := calls.Load(); n > 0 {
		t.Errorf("the actor was called %d times", n)
	}
}

func TestExecuteOutcomes(t *testing.T) {
	for name, c := range map[string]struct {
		result  Result
		err     error
		code    codes.Code
		outcome pluginv1.Outcome
	}{
		"refused":         {result: Result{Outcome: OutcomeRefused}, outcome: pluginv1.Outcome_OUTCOME_REFUSED},
		"already":         {result: Result{Outcome: OutcomeAlready}, outcome: pluginv1.Outcome_OUTCOME_ALREADY},
		"failed":          {result: Result{Outcome: OutcomeFailed}, outcome: pluginv1.Outcome_OUTCOME_FAILED},
		"nothing said":    {outcome: pluginv1.Outcome_OUTCOME_UNKNOWN},
		"its own word":    {result: Result{Outcome: "fine"}, outcome: pluginv1.Outcome_OUTCOME_UNKNOWN},
		"an error":        {err: errors.New("no"), code: codes.Unknown},
		"denied":          {err: &Error{Reason: Denied, Err: errors.New("no")}, code: codes.PermissionDenied},
		"asked to wait":   {err: &Error{Reason: Retry, Err: errors.New("no")}, code: codes.Unavailable},
		"a vendor's gRPC": {err: status.Error(codes.NotFound, "no"), code: codes.Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			s := actor(t, &fakeActor{execute: func(context.Context, Call) (Result, error) { return c.result, c.err }})
			out, err := s.act.Execute(testContext(t), isolate(nil))
			if status.Code(err) != c.code || out.GetOutcome() != c.outcome {
				t.Errorf("%v, %v, want %v, %v", out.GetOutcome(), err, c.outcome, c.code)
			}
		})
	}
}

func TestExecuteEndsAtNotAfter(t *testing.T) {
	s := actor(t, &fakeActor{execute: func(ctx context.Context, _ Call) (Result, error) {
		<-ctx.Done()
		return Result{}, ctx.Err()
	}})
	_, err := s.act.Execute(testContext(t), isolate(func(r *pluginv1.ExecuteRequest) {
		r.NotAfter = timestamppb.New(time.Now().Add(30 * time.Millisecond))
	}))
	if status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("%v, want DeadlineExceeded", err)
	}
}

func TestExecuteDropsATokenThatIsTooLarge(t *testing.T) {
	s := actor(t, &fakeActor{execute: func(context.Context, Call) (Result, error) {
		return Result{Outcome: OutcomeDone, UndoToken: make([]byte, maxUndoToken+1)}, nil
	}})
	out, err := s.act.Execute(testContext(t), isolate(nil))
	if err != nil || len(out.GetUndoToken()) > 0 || out.GetOutcome() != pluginv1.Outcome_OUTCOME_DONE {
		t.Errorf("%d bytes, %v, %v", len(out.GetUndoToken()), out.GetOutcome(), err)
	}
	if !strings.Contains(s.logs.String(), "undo token is too large") {
		t.Error("the log does not tell")
	}
}

func TestUndoAndCheck(t *testing.T) {
	s := actor(t, &fakeActor{
		undo: func(_ context.Context, call UndoCall) (Result, error) {
			if string(call.Token) != "u" || call.Target.Value != "ws-17" {
				t.Errorf("undo %+v", call)
			}
			return Result{Outcome: OutcomeAlready, Message: "s3cr3t"}, nil
		},
		check: func(_ context.Context, call CheckCall) (Result, error) {
			if call.Key != "k-1" {
				t.Errorf("check %+v", call)
			}
			return Result{Outcome: OutcomeDone, Reference: "r", UndoToken: []byte("u")}, nil
		},
	})
	ctx := testContext(t)
	undo := &pluginv1.UndoRequest{
		Instance: "action.x", Verb: "isolate_host", Target: &pluginv1.Target{Kind: "host", Value: "ws-17"},
		UndoToken: []byte("u"), IdempotencyKey: "k-1", NotAfter: timestamppb.New(time.Now().Add(time.Minute)),
	}
	undone, err := s.act.Undo(ctx, undo)
	if err != nil || undone.GetInstance() != "action.x" || undone.GetOutcome() != pluginv1.Outcome_OUTCOME_ALREADY || undone.GetMessage() != "(secret)" {
		t.Errorf("Undo: %v, %v", undone, err)
	}
	check := &pluginv1.CheckRequest{Instance: "action.x", Verb: "isolate_host", IdempotencyKey: "k-1"}
	checked, err := s.act.Check(ctx, check)
	if err != nil || checked.GetInstance() != "action.x" || checked.GetOutcome() != pluginv1.Outcome_OUTCOME_DONE || checked.GetReference() != "r" || string(checked.GetUndoToken()) != "u" {
		t.Errorf("Check: %v, %v", checked, err)
	}
	undo.Verb, check.Verb = "notify", "notify"
	if _, err := s.act.Undo(ctx, undo); status.Code(err) != codes.Unimplemented {
		t.Errorf("Undo of notify: %v", err)
	}
	if _, err := s.act.Check(ctx, check); status.Code(err) != codes.Unimplemented {
		t.Errorf("Check of notify: %v", err)
	}
	undo.Verb, undo.NotAfter = "isolate_host", timestamppb.New(time.Now().Add(-time.Second))
	if late, err := s.act.Undo(ctx, undo); err != nil || late.GetOutcome() != pluginv1.Outcome_OUTCOME_FAILED {
		t.Errorf("Undo after not_after: %v, %v", late, err)
	}
}

// TestCheckOfAnUndo tells the connector which of its calls it is asked about.
func TestCheckOfAnUndo(t *testing.T) {
	var got CheckCall
	s := actor(t, &fakeActor{check: func(_ context.Context, call CheckCall) (Result, error) {
		got = call
		return Result{Outcome: OutcomeFailed}, nil
	}})
	check := &pluginv1.CheckRequest{Instance: "action.x", Verb: "isolate_host", IdempotencyKey: "u-1", Undo: true, UndoToken: []byte("u")}
	out, err := s.act.Check(testContext(t), check)
	if err != nil || out.GetOutcome() != pluginv1.Outcome_OUTCOME_FAILED {
		t.Errorf("%v, %v", out, err)
	}
	if got.Key != "u-1" || !got.Undo || string(got.Token) != "u" {
		t.Errorf("check %+v", got)
	}
}

// TestSameKey: an earlier call's effect is told apart from somebody else's.
func TestSameKey(t *testing.T) {
	for _, same := range []bool{true, false} {
		s := actor(t, &fakeActor{execute: func(context.Context, Call) (Result, error) {
			return Result{Outcome: OutcomeAlready, SameKey: same}, nil
		}})
		out, err := s.act.Execute(testContext(t), isolate(nil))
		if err != nil || out.GetSameKey() != same {
			t.Errorf("%v, %v, want same key %v", out, err, same)
		}
	}
}

func TestAnswers(t *testing.T) {
	at := time.Unix(1_700_000_000, 0)
	s := actor(t, &fakeActor{answers: func(ctx context.Context, cursor []byte, send func(PersonAnswer) error) error {
		switch string(cursor) {
		case "panic":
			panic("s3cr3t")
		case "error":
			return errors.New("s3cr3t")
		}
		if err := send(PersonAnswer{Key: "k-1", Option: "contain", Reason: "r", User: "kim", At: at, Cursor: []byte("c1")}); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	}})
	open := func(cursor string) (*pluginv1.AnswersResponse, func() error) {
		stream, err := s.act.Answers(testContext(t), &pluginv1.AnswersRequest{Instance: "action.x", Cursor: []byte(cursor)})
		if err != nil {
			t.Fatal(err)
		}
		first, err := stream.Recv()
		return first, func() error {
			if err != nil {
				return err
			}
			_, err := stream.Recv()
			return err
		}
	}
	first, end := open("")
	if first.GetIdempotencyKey() != "k-1" || first.GetOption() != "contain" || !first.GetAt().AsTime().Equal(at) || string(first.GetCursor()) != "c1" {
		t.Errorf("answer %v", first)
	}
	for cursor, code := range map[string]codes.Code{"panic": codes.Internal, "error": codes.Unknown} {
		_, end := open(cursor)
		if err := end(); status.Code(err) != code || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%s: %v, want %v", cursor, err, code)
		}
	}
	if _, err := s.plugin.Close(testContext(t), &pluginv1.CloseRequest{Instance: "action.x"}); err != nil {
		t.Fatal(err)
	}
	if err := end(); status.Code(err) != codes.Aborted || errors.Is(err, io.EOF) {
		t.Errorf("after Close: %v, want Aborted", err)
	}
}

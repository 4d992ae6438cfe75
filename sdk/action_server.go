package sdk

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
)

// maxUndoToken is the contract's bound, in bytes.
const maxUndoToken = 64 << 10

var keyForm = regexp.MustCompile(`^[0-9a-z-]{1,64}$`)

// actionServer drives the instances of actions.
type actionServer struct {
	pluginv1.UnimplementedActionServiceServer
	server *Server
}

// enter counts a call into its instance, which the caller must leave, and checks what
// is common to all calls.
func (a *actionServer) enter(id, name, key string) (*instance, *verb, error) {
	i, err := a.server.enterKind(id, KindAction)
	if err != nil {
		return nil, nil, err
	}
	v := i.connector.verb(name)
	if v == nil {
		i.leave()
		return nil, nil, inputError(codes.InvalidArgument, fmt.Sprintf("%s does not offer %q", id, name))
	}
	if !keyForm.MatchString(key) {
		i.leave()
		return nil, nil, inputError(codes.InvalidArgument, "an idempotency key has 1 to 64 of the characters 0-9, a-z and -")
	}
	return i, v, nil
}

// Execute does one thing to one target, and never after not_after.
func (a *actionServer) Execute(ctx context.Context, req *pluginv1.ExecuteRequest) (*pluginv1.ExecuteResponse, error) {
	i, v, err := a.enter(req.GetInstance(), req.GetVerb(), req.GetIdempotencyKey())
	if err != nil {
		return nil, err
	}
	defer i.leave()
	call := Call{
		Verb:     v.Name,
		Target:   targetFromProto(req.GetTarget()),
		Key:      req.GetIdempotencyKey(),
		NotAfter: timeFromProto(req.GetNotAfter()),
		DryRun:   req.GetDryRun(),
		Attempt:  max(int(req.GetAttempt()), 1),
	}
	if call.Parameters, err = v.parameters(req.GetParameters()); err != nil {
		return nil, err
	}
	ctx, cancel, err := until(ctx, call.NotAfter)
	if err != nil {
		return nil, err
	}
	defer cancel()
	if ctx.Err() != nil {
		return executedToProto(i, tooLate()), nil
	}
	result, err := i.value.(Actor).Execute(ctx, call)
	if err != nil {
		return nil, statusOf(ctx, err, i.scrub)
	}
	if len(result.UndoToken) > maxUndoToken {
		i.log.Error("an undo token is too large and is dropped: this cannot be undone", "verb", v.Name, "bytes", len(result.UndoToken))
		result.UndoToken = nil
	}
	return executedToProto(i, result), nil
}

// Undo restores what Execute changed.
func (a *actionServer) Undo(ctx context.Context, req *pluginv1.UndoRequest) (*pluginv1.UndoResponse, error) {
	i, v, err := a.enter(req.GetInstance(), req.GetVerb(), req.GetIdempotencyKey())
	if err != nil {
		return nil, err
	}
	defer i.leave()
	if !v.Undo {
		return nil, inputError(codes.Unimplemented, fmt.Sprintf("%s cannot undo %s", i.id, v.Name))
	}
	call := UndoCall{
		Verb:     v.Name,
		Target:   targetFromProto(req.GetTarget()),
		Token:    req.GetUndoToken(),
		Key:      req.GetIdempotencyKey(),
		NotAfter: timeFromProto(req.GetNotAfter()),
	}
	ctx, cancel, err := until(ctx, call.NotAfter)
	if err != nil {
		return nil, err
	}
	defer cancel()
	if ctx.Err() != nil {
		return undoneToProto(i, tooLate()), nil
	}
	result, err := i.value.(Undoer).Undo(ctx, call)
	if err != nil {
		return nil, statusOf(ctx, err, i.scrub)
	}
	return undoneToProto(i, result), nil
}

// Check says what became of an Execute or an Undo.
func (a *actionServer) Check(ctx context.Context, req *pluginv1.CheckRequest) (*pluginv1.CheckResponse, error) {
	i, v, err := a.enter(req.GetInstance(), req.GetVerb(), req.GetIdempotencyKey())
	if err != nil {
		return nil, err
	}
	defer i.leave()
	if !v.Check {
		return nil, inputError(codes.Unimplemented, fmt.Sprintf("%s cannot check %s", i.id, v.Name))
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	if req.GetUndo() && !v.Undo {
		return nil, inputError(codes.Unimplemented, fmt.Sprintf("%s cannot undo %s", i.id, v.Name))
	}
	result, err := i.value.(Checker).Check(ctx, CheckCall{
		Verb: v.Name, Target: targetFromProto(req.GetTarget()), Key: req.GetIdempotencyKey(),
		Undo: req.GetUndo(), Token: req.GetUndoToken(),
	})
	if err != nil {
		return nil, statusOf(ctx, err, i.scrub)
	}
	return checkedToProto(i, result), nil
}

// Answers hands back what people chose.
func (a *actionServer) Answers(req *pluginv1.AnswersRequest, stream grpc.ServerStreamingServer[pluginv1.AnswersResponse]) (err error) {
	i, err := a.server.enterKind(req.GetInstance(), KindAction)
	if err != nil {
		return err
	}
	defer i.leave()
	answerer, ok := i.value.(Answerer)
	if !ok {
		return inputError(codes.Unimplemented, i.id+" hands back no answers")
	}
	ctx, end, wait := i.whileOpen(stream.Context())
	defer wait()
	defer end(nil)
	defer func() {
		if p := recover(); p != nil {
			logPanic(i.log, "Answers", p)
			err = statusOf(ctx, errPanicked, i.scrub)
		}
	}()
	var one sync.Mutex // a stream takes one Send at a time
	err = answerer.Answers(ctx, req.GetCursor(), func(answer PersonAnswer) error {
		one.Lock()
		defer one.Unlock()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return stream.Send(personAnswerToProto(answer))
	})
	if ctx.Err() != nil {
		return endOf(ctx)
	}
	return statusOf(ctx, err, i.scrub)
}

// parameters fills the struct of a verb's parameters.
func (v *verb) parameters(data []byte) (any, error) {
	var into any
	if v.Parameters != nil {
		into = v.Parameters()
	}
	tree, complaint := parseObject(data)
	diagnostics := []Diagnostic{}
	if complaint != nil {
		diagnostics = append(diagnostics, *complaint)
	} else {
		diagnostics = v.body.decode(tree, into)
	}
	var wrong []string
	for _, d := range diagnostics {
		if !d.Warning {
			wrong = append(wrong, strings.Join(append(d.Path, d.Error()), ": "))
		}
	}
	if len(wrong) > 0 {
		return nil, inputError(codes.InvalidArgument, fmt.Sprintf("parameters of %s: %s", v.Name, strings.Join(wrong, "; ")))
	}
	return into, nil
}

// until bounds a call that may have no effect after a time.
func until(ctx context.Context, notAfter time.Time) (context.Context, context.CancelFunc, error) {
	if notAfter.IsZero() {
		return nil, nil, inputError(codes.InvalidArgument, "not_after is missing")
	}
	ctx, cancel := context.WithDeadline(ctx, notAfter)
	return ctx, cancel, nil
}

// tooLate is the result of a call that came after its not_after.
func tooLate() Result {
	return Result{Outcome: OutcomeFailed, Message: "the time in which this was allowed has passed; nothing was done"}
}

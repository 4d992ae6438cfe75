package sdk

import (
	"context"
	"errors"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"
)

// ErrorDomain is the domain of ErrorInfo in the contract.
const ErrorDomain = "kelpie.plugin"

// errPanicked stands for a panic in the author's code: what it panicked with is in the
// log, since it may hold anything.
var errPanicked = errors.New("the plugin panicked; its log has the stack")

// statusOf turns an author's error into the contract's status.
func statusOf(ctx context.Context, err error, scrub *secrets) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return status.FromContextError(ctx.Err()).Err()
	}
	if errors.Is(err, errPanicked) {
		return newStatus(codes.Internal, errPanicked.Error(), FaultPlugin, nil)
	}
	code, fault, retry := classify(err)
	return newStatus(code, cut(scrub.scrub(err.Error()), textLimit), fault, retry)
}

// classify reads an author's error: its code, whose fault, and after what time the same
// may be asked again, if at all.
func classify(err error) (codes.Code, Fault, *time.Duration) {
	var told *Error
	if !errors.As(err, &told) {
		return codes.Unknown, FaultPlugin, nil
	}
	fault := told.Fault
	if fault == "" {
		fault = FaultPlugin
	}
	switch told.Reason {
	case Retry:
		after := max(told.RetryAfter, 0)
		return codes.Unavailable, fault, &after
	case Denied:
		return codes.PermissionDenied, fault, nil
	case Invalid:
		return codes.InvalidArgument, fault, nil
	}
	return codes.Unknown, fault, nil
}

func newStatus(code codes.Code, text string, fault Fault, retry *time.Duration) error {
	st := status.New(code, text)
	details := []protoadapt.MessageV1{&errdetails.ErrorInfo{Domain: ErrorDomain, Reason: string(fault)}}
	if retry != nil {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(*retry)})
	}
	if with, err := st.WithDetails(details...); err == nil {
		st = with
	}
	return st.Err()
}

// inputError is the status for a request that the core should not have made.
func inputError(code codes.Code, text string) error {
	return newStatus(code, cut(text, textLimit), FaultInput, nil)
}

// FromStatus reads what a plugin's status says, for the core's side and for tests. It
// returns nil for an error that carries no ErrorInfo of the contract: such a one comes
// from the transport, and what became of the call is not known.
func FromStatus(err error) *Error {
	st, ok := status.FromError(err)
	if !ok || st.Code() == codes.OK {
		return nil
	}
	var out *Error
	for _, detail := range st.Details() {
		switch d := detail.(type) {
		case *errdetails.ErrorInfo:
			if d.GetDomain() == ErrorDomain {
				out = &Error{Fault: Fault(d.GetReason()), Err: errors.New(st.Message())}
			}
		}
	}
	if out == nil {
		return nil
	}
	switch st.Code() {
	case codes.PermissionDenied, codes.Unauthenticated:
		out.Reason = Denied
	case codes.InvalidArgument:
		out.Reason = Invalid
	}
	for _, detail := range st.Details() {
		if d, ok := detail.(*errdetails.RetryInfo); ok {
			out.Reason, out.RetryAfter = Retry, d.GetRetryDelay().AsDuration()
		}
	}
	return out
}

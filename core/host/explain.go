package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/kelpie-sec/kelpie/sdk"
)

// crashNotice is how long a broken connection waits for the news that the process
// has ended.
const crashNotice = time.Second

// explain says what a call's error means: the one place that knows gRPC's codes. ctx
// is the call's, p the process that was called.
func (i *instance) explain(ctx context.Context, p *process, err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	if known := (*Error)(nil); errors.As(err, &known) {
		known.Instance = i.Address
		return err
	}
	e := &Error{Instance: i.Address, Fault: sdk.FaultPlugin}
	st := status.Convert(err)
	code, said := st.Code(), st.Message()
	if len(st.Details()) == 0 { // the plugin's own errors have some
		if cause := ctx.Err(); cause != nil && (code == codes.Canceled || code == codes.DeadlineExceeded || errors.Is(err, cause)) {
			return i.ended(cause)
		}
		if code == codes.DeadlineExceeded { // the other side looked at its clock first
			return i.ended(context.DeadlineExceeded)
		}
		if broken(code, said) && p.endsWithin(crashNotice) {
			e.Reason, e.Err, e.Tail = sdk.Retry, ErrCrashed, p.runner.output.last()
			e.Message = fmt.Sprintf("plugin %q ended during the call: %s", i.Plugin, p.runner.exitReason())
			return e
		}
		if breach := localBreach(code, said); breach != nil {
			breach.Instance = i.Address
			return breach
		}
	}
	e.Err = err
	e.Reason = reasonOf(code)
	e.Fault = faultOf(code)
	for _, detail := range st.Details() {
		switch d := detail.(type) {
		case *errdetails.ErrorInfo:
			if d.GetDomain() == sdk.ErrorDomain {
				e.Fault = knownFault(sdk.Fault(d.GetReason()))
			}
		case *errdetails.RetryInfo:
			e.Reason = sdk.Retry
			e.RetryAfter = max(0, d.GetRetryDelay().AsDuration())
		}
	}
	e.Message = i.scrub.message(said)
	if code == codes.Unimplemented {
		e.Reason, e.Err, e.NotSent = sdk.Invalid, ErrUnsupported, true
		e.Message = fmt.Sprintf("plugin %q has no %s that can do this: %s", i.Plugin, i.Kind, e.Message)
	}
	return e
}

// ended is the error of a call whose context ended.
func (i *instance) ended(cause error) *Error {
	e := &Error{Instance: i.Address, Reason: sdk.Failed, Err: cause, Message: "the call was cancelled"}
	if errors.Is(cause, context.DeadlineExceeded) {
		e.Fault = sdk.FaultPlugin
		e.Message = fmt.Sprintf("plugin %q did not answer in time", i.Plugin)
	}
	return e
}

// broken tells whether an error may come of a connection that broke.
func broken(code codes.Code, said string) bool {
	return code == codes.Unavailable || code == codes.Canceled ||
		code == codes.Internal && strings.Contains(said, "stream") ||
		code == codes.Unknown && strings.Contains(said, "EOF")
}

// localBreach recognises errors that gRPC makes of an answer, on our side or the plugin's.
// It has no codes of its own for them, so that their texts must do; the tests hold
// them.
func localBreach(code codes.Code, said string) *Error {
	limit := fmt.Sprintf("larger than %d MiB", sdk.MaxMessage>>20)
	switch {
	case code == codes.ResourceExhausted && strings.Contains(said, "trying to send message larger than max"), // the answer
		code == codes.ResourceExhausted && strings.Contains(said, "received message larger than max"),
		code == codes.ResourceExhausted && strings.Contains(said, "message after decompression larger than max"):
		return &Error{
			Reason: sdk.Invalid, Fault: sdk.FaultPlugin, Err: ErrTooLarge,
			Message: "a message between core and plugin is " + limit,
		}
	case code == codes.Internal && strings.Contains(said, "failed to unmarshal the received message"):
		why := "what the plugin answered is not a message of the contract"
		if strings.Contains(said, "UTF-8") {
			why = "the plugin answered with text that is not valid UTF-8"
		}
		return &Error{Reason: sdk.Failed, Fault: sdk.FaultPlugin, Err: ErrContract, Message: why}
	case code == codes.Internal && strings.Contains(said, "error while marshaling"): // the answer
		return &Error{
			Reason: sdk.Failed, Fault: sdk.FaultPlugin, Err: ErrContract,
			Message: "the plugin answered with text that is not valid UTF-8",
		}
	}
	return nil
}

// unsent tells a request that could not be sent from an answer that could not be: both
// sides of gRPC say it in the same words, and of the latter something may have happened.
func unsent(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	err := invoke(ctx, method, request, reply, conn, options...)
	message, ok := request.(proto.Message)
	if code := status.Code(err); !ok || code != codes.ResourceExhausted && code != codes.Internal {
		return err
	}
	switch data, wrong := proto.Marshal(message); {
	case wrong != nil:
		return &Error{
			Reason: sdk.Invalid, Fault: sdk.FaultInput, Err: ErrContract, NotSent: true,
			Message: "the request holds text that is not valid UTF-8",
		}
	case len(data) > sdk.MaxMessage:
		return &Error{
			Reason: sdk.Invalid, Fault: sdk.FaultInput, Err: ErrTooLarge, NotSent: true,
			Message: fmt.Sprintf("the request is larger than %d MiB", sdk.MaxMessage>>20),
		}
	}
	return err
}

// reasonOf a code, where no RetryInfo says more.
func reasonOf(code codes.Code) sdk.Reason {
	switch code {
	case codes.Unavailable, codes.ResourceExhausted, codes.Aborted:
		return sdk.Retry
	case codes.PermissionDenied, codes.Unauthenticated:
		return sdk.Denied
	case codes.InvalidArgument, codes.OutOfRange, codes.Unimplemented:
		return sdk.Invalid
	}
	return sdk.Failed
}

// faultOf a code, where no ErrorInfo says more.
func faultOf(code codes.Code) sdk.Fault {
	switch code {
	case codes.Unavailable, codes.ResourceExhausted, codes.PermissionDenied, codes.Unauthenticated:
		return sdk.FaultVendor
	case codes.InvalidArgument, codes.OutOfRange:
		return sdk.FaultInput
	}
	return sdk.FaultPlugin
}

func knownFault(f sdk.Fault) sdk.Fault {
	switch f {
	case sdk.FaultVendor, sdk.FaultInput:
		return f
	}
	return sdk.FaultPlugin
}

// breach is the error of an answer that the contract does not allow.
func (i *instance) breach(format string, args ...any) *Error {
	return &Error{
		Instance: i.Address, Reason: sdk.Failed, Fault: sdk.FaultPlugin, Err: ErrContract,
		Message: i.scrub.message(fmt.Sprintf("plugin %q ", i.Plugin) + fmt.Sprintf(format, args...)),
	}
}

// answeredFor checks that an answer is meant for the instance that was asked; a
// plugin that names none is believed.
func (i *instance) answeredFor(named string) error {
	if named != "" && named != i.name {
		return i.breach("answered for another instance, %q", named)
	}
	return nil
}

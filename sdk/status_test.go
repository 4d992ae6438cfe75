package sdk

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestStatusThereAndBack(t *testing.T) {
	cause := errors.New("cause")
	for _, c := range []struct {
		err  error
		code codes.Code
		want Error
	}{
		{cause, codes.Unknown, Error{Reason: Failed, Fault: FaultPlugin}},
		{&Error{Err: cause}, codes.Unknown, Error{Reason: Failed, Fault: FaultPlugin}},
		{&Error{Reason: Retry, Fault: FaultVendor, RetryAfter: time.Minute, Err: cause}, codes.Unavailable, Error{Reason: Retry, Fault: FaultVendor, RetryAfter: time.Minute}},
		{&Error{Reason: Retry, Fault: FaultVendor, RetryAfter: -1, Err: cause}, codes.Unavailable, Error{Reason: Retry, Fault: FaultVendor}},
		{fmt.Errorf("around: %w", &Error{Reason: Denied, Fault: FaultVendor, Err: cause}), codes.PermissionDenied, Error{Reason: Denied, Fault: FaultVendor}},
		{&Error{Reason: Invalid, Fault: FaultInput, Err: cause}, codes.InvalidArgument, Error{Reason: Invalid, Fault: FaultInput}},
	} {
		err := statusOf(context.Background(), c.err, &secrets{})
		got := FromStatus(err)
		if got == nil || got.Reason != c.want.Reason || got.Fault != c.want.Fault || got.RetryAfter != c.want.RetryAfter || got.Error() != c.err.Error() {
			t.Errorf("%v became %+v, want %+v", c.err, got, c.want)
		}
		if status.Code(err) != c.code {
			t.Errorf("%v has code %v, want %v", c.err, status.Code(err), c.code)
		}
	}
}

func TestStatusOfACallThatWasCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := statusOf(ctx, errors.New("vendor: connection reset"), &secrets{})
	if status.Code(err) != codes.Canceled || FromStatus(err) != nil {
		t.Errorf("%v", err)
	}
}

func TestStatusTextIsBoundedAndValid(t *testing.T) {
	err := statusOf(context.Background(), errors.New("\xff"+strings.Repeat("ä", 10_000)), &secrets{})
	if text := status.Convert(err).Message(); len(text) > textLimit+10 || !strings.HasPrefix(text, "ä") && !strings.HasPrefix(text, "\uFFFD") {
		t.Errorf("%d bytes: %.20q", len(text), text)
	}
}

func TestFromStatusOfOthers(t *testing.T) {
	for _, err := range []error{nil, errors.New("x"), status.Error(codes.Unavailable, "transport is closing")} {
		if got := FromStatus(err); got != nil {
			t.Errorf("FromStatus(%v) = %v", err, got)
		}
	}
}

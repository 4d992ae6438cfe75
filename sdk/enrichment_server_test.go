package sdk

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
)

func enricher(t *testing.T, f func(ctx context.Context, questions []Question) ([]Reply, error)) *served {
	t.Helper()
	s := serveHere(t, enrichmentPlugin(func() Instance {
		return &fakeEnricher{enrich: func(ctx context.Context, _ *fakeEnricher, q []Question) ([]Reply, error) { return f(ctx, q) }}
	}))
	s.configure(t, "enrichment.x", asEnrichment, `{"token":"s3cr3t"}`)
	return s
}

func TestEnrichAnswersEachQuestionByItself(t *testing.T) {
	at := time.Unix(1_700_000_000, 5)
	yes, criticality, left, less := true, 150, int64(9), int64(4)
	s := enricher(t, func(_ context.Context, q []Question) ([]Reply, error) {
		if q[0].Observable != (Observable{Kind: IP, Value: "1"}) || !q[1].At.IsZero() {
			t.Errorf("questions %v", q)
		}
		return []Reply{
			{
				Answers: []Answer{
					{Verdict: &Verdict{Disposition: Malicious, Score: 101, Confidence: -1, Labels: []string{"c2"}, Link: "l"}, Details: map[string]any{"a": 1}, At: at},
					{Asset: &Asset{Name: "ws\xff", Criticality: &criticality, Patches: map[string]int{"high": 2}, Protection: &Protection{Running: &yes}, SeenAt: at}},
					{Identity: &Identity{UPN: "kim@x", Groups: []string{"g"}, Privileged: &yes}},
					{Network: &Network{ASN: 64512, Kind: "vpn"}},
				},
				TTL: time.Hour, QuotaLeft: &left,
				Found:   []Found{{Observable: Observable{Kind: Host, Value: "ws-17", Role: Subject}, At: at}},
				Aliases: []Observable{{Kind: Host, Value: "ws-17.x"}},
			},
			{QuotaLeft: &less},
			{Err: &Error{Reason: Retry, Fault: FaultVendor, RetryAfter: 3 * time.Second, Err: errors.New("s3cr3t limit")}},
			{Answers: []Answer{{}}},
			{Answers: []Answer{{Verdict: &Verdict{}, Details: map[string]any{"f": func() {}}}}},
			{Err: &Error{Reason: Invalid, Fault: FaultInput, Err: errors.New("no address")}},
		}, nil
	})
	out, err := s.enrich.Enrich(testContext(t), question("enrichment.x", "1", "2", "3", "4", "5", "6"))
	if err != nil {
		t.Fatal(err)
	}
	hundred := int32(100)
	want := &pluginv1.EnrichResponse{
		Instance: "enrichment.x",
		Quota:    &pluginv1.Quota{Remaining: 4},
		Answers: []*pluginv1.QuestionAnswer{
			{
				Answers: []*pluginv1.Answer{
					{
						Answer: &pluginv1.Answer_Verdict{Verdict: &pluginv1.Verdict{
							Disposition: pluginv1.Disposition_DISPOSITION_MALICIOUS, Score: 100, Labels: []string{"c2"}, Link: "l",
						}},
						Details: []byte(`{"a":1}`), At: timestamppb.New(at),
					},
					{Answer: &pluginv1.Answer_Asset{Asset: &pluginv1.Asset{
						Name: "ws\uFFFD", Criticality: &hundred, Patches: map[string]int32{"high": 2},
						Protection: &pluginv1.Protection{Running: &yes}, SeenAt: timestamppb.New(at),
					}}},
					{Answer: &pluginv1.Answer_Identity{Identity: &pluginv1.Identity{Upn: "kim@x", Groups: []string{"g"}, Privileged: &yes}}},
					{Answer: &pluginv1.Answer_Network{Network: &pluginv1.Network{Asn: 64512, Kind: "vpn"}}},
				},
				Ttl: durationpb.New(time.Hour),
				Observables: []*pluginv1.FoundObservable{{
					Observable: &pluginv1.Observable{Kind: "host", Value: "ws-17", Role: pluginv1.Role_ROLE_SUBJECT}, At: timestamppb.New(at),
				}},
				Aliases: []*pluginv1.Observable{{Kind: "host", Value: "ws-17.x"}},
			},
			{NotFound: true},
			{Failure: &pluginv1.Failure{Code: int32(codes.Unavailable), Message: "(secret) limit", Fault: pluginv1.Fault_FAULT_VENDOR, RetryAfter: durationpb.New(3 * time.Second)}},
			{Failure: &pluginv1.Failure{Code: int32(codes.Unknown), Message: "an answer must be one of verdict, asset, identity and network", Fault: pluginv1.Fault_FAULT_PLUGIN}},
			{Failure: &pluginv1.Failure{Code: int32(codes.Unknown), Message: "the answer's details: json: unsupported type: func()", Fault: pluginv1.Fault_FAULT_PLUGIN}},
			{Failure: &pluginv1.Failure{Code: int32(codes.InvalidArgument), Message: "no address", Fault: pluginv1.Fault_FAULT_INPUT}},
		},
	}
	if !proto.Equal(out, want) {
		t.Errorf("got  %v\nwant %v", out, want)
	}
}

func TestEnrichErrors(t *testing.T) {
	s := enricher(t, func(ctx context.Context, q []Question) ([]Reply, error) {
		switch q[0].Observable.Value {
		case "few":
			return nil, nil
		case "denied":
			return nil, &Error{Reason: Denied, Fault: FaultVendor, Err: errors.New("key s3cr3t")}
		case "hang":
			<-ctx.Done()
			return nil, ctx.Err()
		}
		panic("s3cr3t")
	})
	for value, c := range map[string]struct {
		code  codes.Code
		fault Fault
		want  string
	}{
		"few":    {codes.Internal, FaultPlugin, "0 replies to 1 questions"},
		"denied": {codes.PermissionDenied, FaultVendor, "key (secret)"},
		"panic":  {codes.Internal, FaultPlugin, "panicked"},
	} {
		_, err := s.enrich.Enrich(testContext(t), question("enrichment.x", value))
		if told := FromStatus(err); status.Code(err) != c.code || told == nil || told.Fault != c.fault || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %v %v %q", value, err, c.code, c.fault, c.want)
		}
	}
	if _, err := s.enrich.Enrich(testContext(t), question("enrichment.x", make([]string, 11)...)); status.Code(err) != codes.InvalidArgument {
		t.Errorf("above the batch limit: %v", err)
	}
	ctx, cancel := context.WithTimeout(testContext(t), 30*time.Millisecond)
	defer cancel()
	begin := time.Now()
	_, err := s.enrich.Enrich(ctx, question("enrichment.x", "hang"))
	if took := time.Since(begin); status.Code(err) != codes.DeadlineExceeded || took > time.Second {
		t.Errorf("after %v: %v", took, err)
	}
	if strings.Contains(s.logs.String(), "s3cr3t") {
		t.Error("the secret is in the log")
	}
}

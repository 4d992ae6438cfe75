//go:build linux

package host

import (
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
)

// logLines are what a plugin may write to its standard error.
func logLines(secret string) []string {
	return []string{
		`{"@level":"warn","@message":"slow","@timestamp":"2026-01-02T03:04:05.000000Z","instance":"enrichment.a","took":"3s","n":7}`,
		`{"@level":"debug","@message":"for another","instance":"enrichment.somebody"}`,
		`{"@level":"error","@message":{"not":"a text"}}`,
		`{"@level":5,"@message":"no level"}`,
		`{"@message":"the token is ` + secret + `","@level":"info","auth":"Bearer ` + secret + `","plugin":"x","level":"y"}`,
		`[WARN] in brackets`,
		`just text`,
		"colours \x1b[31m and bell \x07",
		strings.Repeat("long ", maxLine/5-2) + secret + strings.Repeat(" more", 100),
		`{"@level":"info","@message":"last"}`,
	}
}

// fakeAnswers are answers of every kind, good and bad.
func fakeAnswers(secret string) []*pluginv1.QuestionAnswer {
	one := func(a *pluginv1.Answer) *pluginv1.QuestionAnswer {
		return &pluginv1.QuestionAnswer{Answers: []*pluginv1.Answer{a}}
	}
	criticality := int32(70)
	yes := true
	return []*pluginv1.QuestionAnswer{
		one(verdictOf(pluginv1.Disposition_DISPOSITION_MALICIOUS, 90)),
		one(verdictOf(pluginv1.Disposition_DISPOSITION_BENIGN, 0)),
		{NotFound: true},
		{},
		{Failure: &pluginv1.Failure{Code: 8, Message: "quota of " + secret, Fault: pluginv1.Fault_FAULT_VENDOR, RetryAfter: durationpb.New(time.Minute)}},
		one(verdictOf(pluginv1.Disposition_DISPOSITION_MALICIOUS, 1000)),
		one(&pluginv1.Answer{Answer: &pluginv1.Answer_Asset{Asset: &pluginv1.Asset{
			Name: "ws-17", Owner: "kim " + secret, Criticality: &criticality, Managed: &yes,
			Patches: map[string]int32{"high": 3}, Protection: &pluginv1.Protection{Running: &yes},
		}}, Details: []byte(`{"key":"` + secret + `","n":1}`)}),
		one(&pluginv1.Answer{Answer: &pluginv1.Answer_Identity{Identity: &pluginv1.Identity{Name: "Kim", Groups: []string{"admins"}, Privileged: &yes}}}),
		one(&pluginv1.Answer{Answer: &pluginv1.Answer_Network{Network: &pluginv1.Network{Country: "NZ", Asn: 64500}}}),
		{
			Aliases:     []*pluginv1.Observable{{Kind: "host", Value: "WS-17.Example.ORG."}, {Kind: "ip", Value: "not one"}},
			Observables: []*pluginv1.FoundObservable{{Observable: &pluginv1.Observable{Kind: "ip", Value: "10.0.0.9"}}},
			Ttl:         durationpb.New(time.Hour),
		},
		one(&pluginv1.Answer{Answer: &pluginv1.Answer_Network{Network: &pluginv1.Network{}}, Details: []byte(`[1]`)}),
		one(&pluginv1.Answer{}),
	}
}

package sdk

import (
	"encoding/json"
	"errors"
	"fmt"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
)

func questionsFromProto(in []*pluginv1.Question) []Question {
	out := make([]Question, len(in))
	for i, q := range in {
		out[i] = Question{Observable: observableFromProto(q.GetObservable()), At: timeFromProto(q.GetAt())}
	}
	return out
}

func repliesToProto(i *instance, replies []Reply) *pluginv1.EnrichResponse {
	out := &pluginv1.EnrichResponse{Instance: i.id, Answers: make([]*pluginv1.QuestionAnswer, len(replies))}
	var left *int64
	for n := range replies {
		out.Answers[n] = replyToProto(&replies[n], i.scrub)
		if q := replies[n].QuotaLeft; q != nil && (left == nil || *q < *left) {
			left = q
		}
	}
	if left != nil {
		out.Quota = &pluginv1.Quota{Remaining: *left}
	}
	return out
}

func replyToProto(r *Reply, scrub *secrets) *pluginv1.QuestionAnswer {
	if r.Err != nil {
		return failed(r.Err, scrub)
	}
	out := &pluginv1.QuestionAnswer{}
	for i := range r.Answers {
		answer, err := answerToProto(&r.Answers[i])
		if err != nil {
			return failed(err, scrub)
		}
		out.Answers = append(out.Answers, answer)
	}
	if r.TTL > 0 {
		out.Ttl = durationpb.New(r.TTL)
	}
	for _, f := range r.Found {
		out.Observables = append(out.Observables, &pluginv1.FoundObservable{
			Observable: observableToProto(f.Observable), At: timeToProto(f.At),
		})
	}
	for _, a := range r.Aliases {
		out.Aliases = append(out.Aliases, observableToProto(a))
	}
	out.NotFound = len(out.Answers)+len(out.Observables)+len(out.Aliases) == 0
	return out
}

// failed is the answer of a question that has none.
func failed(err error, scrub *secrets) *pluginv1.QuestionAnswer {
	code, fault, retry := classify(err)
	out := &pluginv1.Failure{
		Code:    int32(code),
		Message: cut(scrub.scrub(err.Error()), textLimit),
		Fault:   faultToProto(fault),
	}
	if retry != nil {
		out.RetryAfter = durationpb.New(*retry)
	}
	return &pluginv1.QuestionAnswer{Failure: out}
}

func faultToProto(f Fault) pluginv1.Fault {
	switch f {
	case FaultVendor:
		return pluginv1.Fault_FAULT_VENDOR
	case FaultInput:
		return pluginv1.Fault_FAULT_INPUT
	}
	return pluginv1.Fault_FAULT_PLUGIN
}

func answerToProto(a *Answer) (*pluginv1.Answer, error) {
	out := &pluginv1.Answer{At: timeToProto(a.At)}
	kinds := 0
	if a.Verdict != nil {
		kinds++
		out.Answer = &pluginv1.Answer_Verdict{Verdict: verdictToProto(a.Verdict)}
	}
	if a.Asset != nil {
		kinds++
		out.Answer = &pluginv1.Answer_Asset{Asset: assetToProto(a.Asset)}
	}
	if a.Identity != nil {
		kinds++
		out.Answer = &pluginv1.Answer_Identity{Identity: identityToProto(a.Identity)}
	}
	if a.Network != nil {
		kinds++
		out.Answer = &pluginv1.Answer_Network{Network: networkToProto(a.Network)}
	}
	if kinds != 1 {
		return nil, errors.New("an answer must be one of verdict, asset, identity and network")
	}
	if len(a.Details) > 0 {
		details, err := json.Marshal(a.Details)
		if err != nil {
			return nil, fmt.Errorf("the answer's details: %w", err)
		}
		out.Details = details
	}
	return out, nil
}

func verdictToProto(v *Verdict) *pluginv1.Verdict {
	out := &pluginv1.Verdict{
		Score:      percent(v.Score),
		Confidence: percent(v.Confidence),
		Labels:     validAll(v.Labels),
		Link:       valid(v.Link),
	}
	switch v.Disposition {
	case Benign:
		out.Disposition = pluginv1.Disposition_DISPOSITION_BENIGN
	case Suspicious:
		out.Disposition = pluginv1.Disposition_DISPOSITION_SUSPICIOUS
	case Malicious:
		out.Disposition = pluginv1.Disposition_DISPOSITION_MALICIOUS
	}
	return out
}

func assetToProto(a *Asset) *pluginv1.Asset {
	out := &pluginv1.Asset{
		Name:      valid(a.Name),
		Fqdn:      valid(a.FQDN),
		Ips:       validAll(a.IPs),
		Macs:      validAll(a.MACs),
		Os:        valid(a.OS),
		OsVersion: valid(a.OSVersion),
		Roles:     validAll(a.Roles),
		Owner:     valid(a.Owner),
		Team:      valid(a.Team),
		Tags:      validAll(a.Tags),
		Managed:   a.Managed,
		SeenAt:    timeToProto(a.SeenAt),
	}
	if a.Criticality != nil {
		criticality := percent(*a.Criticality)
		out.Criticality = &criticality
	}
	if len(a.Patches) > 0 {
		out.Patches = make(map[string]int32, len(a.Patches))
		for severity, missing := range a.Patches {
			out.Patches[valid(severity)] = int32(min(max(missing, 0), 1<<30))
		}
	}
	if p := a.Protection; p != nil {
		out.Protection = &pluginv1.Protection{Installed: p.Installed, Running: p.Running, Current: p.Current}
	}
	return out
}

func identityToProto(i *Identity) *pluginv1.Identity {
	return &pluginv1.Identity{
		Name:        valid(i.Name),
		Upn:         valid(i.UPN),
		Mail:        valid(i.Mail),
		Sid:         valid(i.SID),
		Title:       valid(i.Title),
		Department:  valid(i.Department),
		Manager:     valid(i.Manager),
		Groups:      validAll(i.Groups),
		Privileged:  i.Privileged,
		State:       valid(i.State),
		LastLogon:   timeToProto(i.LastLogon),
		PasswordSet: timeToProto(i.PasswordSet),
	}
}

func networkToProto(n *Network) *pluginv1.Network {
	return &pluginv1.Network{
		Country:      valid(n.Country),
		City:         valid(n.City),
		Asn:          n.ASN,
		Organisation: valid(n.Organisation),
		Kind:         valid(n.Kind),
	}
}

func percent(n int) int32 { return int32(min(max(n, 0), 100)) }

func validAll(texts []string) []string {
	out := make([]string, len(texts))
	for i, t := range texts {
		out[i] = valid(t)
	}
	return out
}

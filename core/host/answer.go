package host

import (
	"encoding/json"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
)

// answer converts one answer of an enrichment; every text in it is scrubbed.
func (i *instance) answer(a *pluginv1.Answer) (model.Answer, *Error) {
	out := model.Answer{At: timeModel(a.GetAt())}
	if d := a.GetDetails(); len(d) > 0 {
		if !json.Valid(d) || d[0] != '{' {
			return out, i.breach("gave details that are not a JSON object")
		}
		out.Details = json.RawMessage(i.scrub.text(string(d)))
		if !json.Valid(out.Details) {
			return out, i.breach("gave details that hold a secret")
		}
	}
	switch kind := a.GetAnswer().(type) {
	case *pluginv1.Answer_Verdict:
		v := i.verdict(kind.Verdict)
		if !percent(v.Score) || !percent(v.Confidence) {
			return out, i.breach("gave a verdict with score %d and confidence %d, which are from 0 to 100", v.Score, v.Confidence)
		}
		out.Verdict = v
	case *pluginv1.Answer_Asset:
		out.Asset = i.asset(kind.Asset)
		if c := out.Asset.Criticality; c != nil && !percent(*c) {
			return out, i.breach("gave an asset with criticality %d, which is from 0 to 100", *c)
		}
	case *pluginv1.Answer_Identity:
		out.Identity = i.identity(kind.Identity)
	case *pluginv1.Answer_Network:
		n := kind.Network
		out.Network = &model.Network{
			Country: i.scrub.text(n.GetCountry()), City: i.scrub.text(n.GetCity()), ASN: n.GetAsn(),
			Organisation: i.scrub.text(n.GetOrganisation()), Kind: i.scrub.text(n.GetKind()),
		}
	default:
		return out, i.breach("gave an answer that is no verdict, asset, identity or network")
	}
	return out, nil
}

func percent(n int) bool { return n >= 0 && n <= 100 }

func (i *instance) verdict(v *pluginv1.Verdict) *model.Verdict {
	return &model.Verdict{
		Disposition: dispositionModel(v.GetDisposition()),
		Score:       int(v.GetScore()), Confidence: int(v.GetConfidence()),
		Labels: i.scrub.texts(v.GetLabels()), Link: i.scrub.text(v.GetLink()),
	}
}

func dispositionModel(d pluginv1.Disposition) sdk.Disposition {
	switch d {
	case pluginv1.Disposition_DISPOSITION_BENIGN:
		return sdk.Benign
	case pluginv1.Disposition_DISPOSITION_SUSPICIOUS:
		return sdk.Suspicious
	case pluginv1.Disposition_DISPOSITION_MALICIOUS:
		return sdk.Malicious
	}
	return sdk.Unknown
}

func (i *instance) asset(a *pluginv1.Asset) *model.Asset {
	out := &model.Asset{
		Name: i.scrub.text(a.GetName()), FQDN: i.scrub.text(a.GetFqdn()),
		IPs: i.scrub.texts(a.GetIps()), MACs: i.scrub.texts(a.GetMacs()),
		OS: i.scrub.text(a.GetOs()), OSVersion: i.scrub.text(a.GetOsVersion()),
		Roles: i.scrub.texts(a.GetRoles()), Owner: i.scrub.text(a.GetOwner()), Team: i.scrub.text(a.GetTeam()),
		Tags: i.scrub.texts(a.GetTags()), Managed: a.Managed, SeenAt: timeModel(a.GetSeenAt()),
	}
	if a.Criticality != nil {
		c := int(a.GetCriticality())
		out.Criticality = &c
	}
	if len(a.GetPatches()) > 0 {
		out.Patches = make(map[string]int, len(a.GetPatches()))
		for severity, n := range a.GetPatches() {
			out.Patches[i.scrub.text(severity)] = int(n)
		}
	}
	if p := a.GetProtection(); p != nil {
		out.Protection = &model.Protection{Installed: p.Installed, Running: p.Running, Current: p.Current}
	}
	return out
}

func (i *instance) identity(p *pluginv1.Identity) *model.Identity {
	return &model.Identity{
		Name: i.scrub.text(p.GetName()), UPN: i.scrub.text(p.GetUpn()), Mail: i.scrub.text(p.GetMail()),
		SID: i.scrub.text(p.GetSid()), Title: i.scrub.text(p.GetTitle()),
		Department: i.scrub.text(p.GetDepartment()), Manager: i.scrub.text(p.GetManager()),
		Groups: i.scrub.texts(p.GetGroups()), Privileged: p.Privileged, State: i.scrub.text(p.GetState()),
		LastLogon: timeModel(p.GetLastLogon()), PasswordSet: timeModel(p.GetPasswordSet()),
	}
}

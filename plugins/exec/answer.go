package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

// answer is what a program says of one observable: one or several of verdict, asset,
// identity and network; or that there is nothing; or why it cannot say.
type answer struct {
	Verdict  *verdict  `json:"verdict"`
	Asset    *asset    `json:"asset"`
	Identity *identity `json:"identity"`
	Network  *network  `json:"network"`

	At      time.Time        `json:"at"`
	Details map[string]any   `json:"details"`
	TTL     span             `json:"ttl"`
	Aliases []sdk.Observable `json:"aliases"`
	Found   []found          `json:"found"`

	NotFound   bool   `json:"not_found"`
	Error      string `json:"error"`
	RetryAfter span   `json:"retry_after"`
}

type verdict struct {
	Disposition sdk.Disposition `json:"disposition"`
	Score       *int            `json:"score"`
	Confidence  *int            `json:"confidence"`
	Labels      []string        `json:"labels"`
	Link        string          `json:"link"`
}

type asset struct {
	Name        string         `json:"name"`
	FQDN        string         `json:"fqdn"`
	IPs         []string       `json:"ips"`
	MACs        []string       `json:"macs"`
	OS          string         `json:"os"`
	OSVersion   string         `json:"os_version"`
	Roles       []string       `json:"roles"`
	Owner       string         `json:"owner"`
	Team        string         `json:"team"`
	Criticality *int           `json:"criticality"`
	Tags        []string       `json:"tags"`
	Patches     map[string]int `json:"patches"`
	Protection  *struct {
		Installed *bool `json:"installed"`
		Running   *bool `json:"running"`
		Current   *bool `json:"current"`
	} `json:"protection"`
	Managed *bool     `json:"managed"`
	SeenAt  time.Time `json:"seen_at"`
}

type identity struct {
	Name        string    `json:"name"`
	UPN         string    `json:"upn"`
	Mail        string    `json:"mail"`
	SID         string    `json:"sid"`
	Title       string    `json:"title"`
	Department  string    `json:"department"`
	Manager     string    `json:"manager"`
	Groups      []string  `json:"groups"`
	Privileged  *bool     `json:"privileged"`
	State       string    `json:"state"`
	LastLogon   time.Time `json:"last_logon"`
	PasswordSet time.Time `json:"password_set"`
}

type network struct {
	Country      string `json:"country"`
	City         string `json:"city"`
	ASN          int64  `json:"asn"`
	Organisation string `json:"organisation"`
	Kind         string `json:"kind"`
}

type found struct {
	Kind  string    `json:"kind"`
	Value string    `json:"value"`
	At    time.Time `json:"at"`
}

// readReply reads one answer. One that is wrong fails alone.
func readReply(data json.RawMessage) sdk.Reply {
	var a answer
	if err := decode(data, &a); err != nil {
		return sdk.Reply{Err: err}
	}
	reply, err := a.reply()
	if err != nil {
		return sdk.Reply{Err: err}
	}
	return reply
}

func (a *answer) reply() (sdk.Reply, error) {
	reply := sdk.Reply{TTL: time.Duration(a.TTL), Aliases: a.Aliases}
	for _, f := range a.Found {
		reply.Found = append(reply.Found, sdk.Found{Observable: sdk.Observable{Kind: f.Kind, Value: f.Value}, At: f.At})
	}
	var err error
	if reply.Answers, err = a.answers(); err != nil {
		return reply, err
	}
	says := len(reply.Answers)+len(reply.Found)+len(reply.Aliases) > 0
	switch {
	case a.Error != "" && (says || a.NotFound):
		return reply, errors.New("an answer holds an error and something else: print one of them")
	case a.Error != "" && a.RetryAfter > 0:
		return reply, &sdk.Error{Reason: sdk.Retry, Fault: sdk.FaultVendor, RetryAfter: min(time.Duration(a.RetryAfter), maxLater), Err: errors.New(a.Error)}
	case a.Error != "":
		return reply, &sdk.Error{Fault: sdk.FaultVendor, Err: errors.New(a.Error)}
	case a.NotFound && says:
		return reply, errors.New("an answer is not_found and something else: print one of them")
	case !a.NotFound && !says:
		return reply, errors.New("an answer says nothing: let it hold a verdict, asset, identity or network, or \"not_found\": true")
	}
	return reply, nil
}

// answers makes one of each thing that is said. The details go with the first.
func (a *answer) answers() ([]sdk.Answer, error) {
	var all []sdk.Answer
	if a.Verdict != nil {
		v, err := a.Verdict.answer()
		if err != nil {
			return nil, err
		}
		all = append(all, sdk.Answer{Verdict: v})
	}
	if a.Asset != nil {
		if n := a.Asset.Criticality; n != nil && (*n < 0 || *n > 100) {
			return nil, errors.New("criticality must be from 0 to 100")
		}
		all = append(all, sdk.Answer{Asset: a.Asset.answer()})
	}
	if a.Identity != nil {
		i := sdk.Identity(*a.Identity)
		all = append(all, sdk.Answer{Identity: &i})
	}
	if a.Network != nil {
		n := sdk.Network(*a.Network)
		all = append(all, sdk.Answer{Network: &n})
	}
	for i := range all {
		all[i].At = a.At
	}
	if len(all) > 0 {
		all[0].Details = a.Details
	} else if len(a.Details) > 0 {
		return nil, errors.New("details stand beside a verdict, asset, identity or network")
	}
	return all, nil
}

func (v *verdict) answer() (*sdk.Verdict, error) {
	if !slices.Contains([]sdk.Disposition{sdk.Unknown, sdk.Benign, sdk.Suspicious, sdk.Malicious}, v.Disposition) {
		return nil, fmt.Errorf("disposition is %s; there are unknown, benign, suspicious and malicious", excerpt([]byte(v.Disposition)))
	}
	out := &sdk.Verdict{Disposition: v.Disposition, Confidence: 100, Labels: v.Labels, Link: v.Link}
	switch v.Disposition {
	case sdk.Malicious:
		out.Score = 100
	case sdk.Suspicious:
		out.Score = 50
	}
	for _, given := range []struct {
		name string
		n    *int
		into *int
	}{{"score", v.Score, &out.Score}, {"confidence", v.Confidence, &out.Confidence}} {
		if given.n == nil {
			continue
		}
		if *given.n < 0 || *given.n > 100 {
			return nil, fmt.Errorf("%s must be from 0 to 100", given.name)
		}
		*given.into = *given.n
	}
	return out, nil
}

func (a *asset) answer() *sdk.Asset {
	out := &sdk.Asset{
		Name: a.Name, FQDN: a.FQDN, IPs: a.IPs, MACs: a.MACs, OS: a.OS, OSVersion: a.OSVersion,
		Roles: a.Roles, Owner: a.Owner, Team: a.Team, Criticality: a.Criticality, Tags: a.Tags,
		Patches: a.Patches, Managed: a.Managed, SeenAt: a.SeenAt,
	}
	if p := a.Protection; p != nil {
		out.Protection = &sdk.Protection{Installed: p.Installed, Running: p.Running, Current: p.Current}
	}
	return out
}

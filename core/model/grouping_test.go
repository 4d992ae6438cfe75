package model

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kelpie-sec/kelpie/sdk"
)

func TestGroupingTexts(t *testing.T) {
	observables := []sdk.Observable{
		{Kind: sdk.IP, Value: "10.0.0.1", Role: sdk.Subject},
		{Kind: sdk.User, Value: "kim", Role: sdk.Subject},
		{Kind: sdk.IP, Value: "203.0.113.7", Role: sdk.Indicator},
		{Kind: sdk.Domain, Value: "b.example"},
		{Kind: sdk.Domain, Value: "a.example", Role: sdk.Indicator},
	}
	for name, c := range map[string]struct {
		group Grouping
		named []string
		want  []string
	}{
		"one group":          {want: []string{""}},
		"subjects first":     {group: Grouping{Kinds: []string{"ip"}}, want: []string{"ip:10.0.0.1"}},
		"no subject":         {group: Grouping{Kinds: []string{"domain"}}, want: []string{"domain:a.example", "domain:b.example"}},
		"combined":           {group: Grouping{Kinds: []string{"user", "domain"}}, want: []string{"user:kim\x00domain:a.example", "user:kim\x00domain:b.example"}},
		"missing":            {group: Grouping{Kinds: []string{"user", "host"}}},
		"by expressions":     {group: Grouping{Kinds: []string{"user"}, Names: []string{"port"}}, named: []string{"22"}, want: []string{"user:kim\x00port:22"}},
		"without value":      {group: Grouping{Names: []string{"port"}}, named: []string{""}},
		"named as a kind":    {group: Grouping{Names: []string{"host"}}, named: []string{"WS-17"}, want: []string{"host:ws-17"}},
		"not of that kind":   {group: Grouping{Names: []string{"ip"}}, named: []string{"none"}},
		"values with colons": {group: Grouping{Names: []string{"x"}}, named: []string{"a:b"}, want: []string{"x:a:b"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := c.group.Texts(observables, c.named)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	many := Grouping{Kinds: []string{"domain", "domain", "domain", "domain", "domain"}}
	if n := len(many.Texts(observables, nil)); n != MaxKeys {
		t.Errorf("%d keys, want %d", n, MaxKeys)
	}
	names, values := KeyParts("user:kim\x00x:a:b")
	if diff := cmp.Diff([][]string{{"user", "x"}, {"kim", "a:b"}}, [][]string{names, values}); diff != "" {
		t.Error(diff)
	}
}

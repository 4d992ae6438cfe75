package main

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kelpie-sec/kelpie/sdk"
)

func TestComplaints(t *testing.T) {
	for _, test := range []struct {
		name  string
		block string
		at    string // empty: no complaint
		want  string
	}{
		{"good", `{"token":"` + secret + `"}`, "", ""},
		{"insecure on loopback", `{"insecure":true}`, "", ""},
		{"insecure on localhost", `{"insecure":true,"listen":"localhost:1"}`, "", ""},
		{"insecure on IPv6 loopback", `{"insecure":true,"listen":"[::1]:1"}`, "", ""},
		{"no token", `{}`, "token", "a token is missing"},
		{"both", `{"insecure":true,"token":"` + secret + `"}`, "insecure", "does without"},
		{"insecure everywhere", `{"insecure":true,"listen":":8421"}`, "insecure", "everybody"},
		{"insecure on a network", `{"insecure":true,"listen":"10.0.0.1:8421"}`, "insecure", "everybody"},
		{"short token", `{"token":"secret"}`, "token", "too short"},
		{"odd token", `{"token":"a token with spaces"}`, "token", "cannot be sent"},
		{"no port", `{"token":"` + secret + `","listen":"127.0.0.1"}`, "listen", "no address"},
		{"name", `{"token":"` + secret + `","listen":"kelpie.example.org:1"}`, "listen", "no address"},
		{"port", `{"token":"` + secret + `","listen":"127.0.0.1:http"}`, "listen", "no address"},
		{"unencrypted", `{"token":"` + secret + `","listen":"0.0.0.0:8421"}`, "listen", "unencrypted"},
		{"path", `{"token":"` + secret + `","path":"events"}`, "path", "no path"},
		{"path up", `{"token":"` + secret + `","path":"/a/../b"}`, "path", "no path"},
		{"no key", `{"token":"` + secret + `","cert_file":"/c"}`, "key_file", "missing"},
		{"no certificate", `{"token":"` + secret + `","key_file":"/c"}`, "cert_file", "missing"},
		{"max_body", `{"token":"` + secret + `","max_body":1}`, "max_body", "1 KiB"},
		{"max_requests", `{"token":"` + secret + `","max_requests":0}`, "max_requests", "from 1"},
		{"wait", `{"token":"` + secret + `","wait":"1h"}`, "wait", "from 1s"},
		{"id_field", `{"token":"` + secret + `","id_field":".a"}`, "id_field", "no path"},
	} {
		t.Run(test.name, func(t *testing.T) {
			i := &intake{}
			wrong := append(sdk.Decode([]byte(test.block), i.Config()), i.Validate()...)
			if test.at == "" {
				if len(wrong) > 0 {
					t.Errorf("complaints %v", wrong)
				}
				return
			}
			if len(wrong) == 0 || strings.Join(wrong[0].Path, " ") != test.at || !strings.Contains(wrong[0].Error(), test.want) {
				t.Errorf("complaints %v, want one at %s with %q", wrong, test.at, test.want)
			}
			for _, d := range wrong {
				if strings.Contains(d.Error(), secret) {
					t.Errorf("the complaint %q tells the token", d.Error())
				}
			}
		})
	}
}

func TestOpenWithoutCertificate(t *testing.T) {
	i := &intake{config: config{CertFile: sdk.Path(filepath.Join(t.TempDir(), "none")), KeyFile: "none"}}
	err := i.Open(t.Context(), sdk.Env{})
	if d, ok := err.(sdk.Diagnostic); !ok || d.Path[0] != "cert_file" {
		t.Errorf("Open = %v, want a complaint at cert_file", err)
	}
}

// FuzzSplit holds that nothing of a body is lost or made up.
func FuzzSplit(f *testing.F) {
	for _, seed := range []string{`{"a":1}`, `[{},{"b":[1]}]`, "{}\n{}", "[", "[]x", " \ufeff ", `[1,2`, "{\n}\n"} {
		f.Add([]byte(seed), false)
	}
	f.Add([]byte("{}\nx\n\n"), true)
	f.Fuzz(func(t *testing.T, body []byte, lines bool) {
		i := &intake{idPath: []string{"a", "b"}}
		events, aside, err := i.events("k", body, lines)
		if err != nil {
			return
		}
		if len(events) == 0 || aside > len(events) {
			t.Fatalf("%d events, %d set aside", len(events), aside)
		}
		strip := func(data []byte) []byte {
			return bytes.Map(func(r rune) rune {
				if strings.ContainsRune(" \t\r\n,[]\ufeff", r) {
					return -1
				}
				return r
			}, bytes.ToValidUTF8(bytes.Join(bytes.Fields(data), nil), nil))
		}
		var all []byte
		for _, e := range events {
			if len(e.Raw) == 0 || e.ID == "" {
				t.Fatalf("event %+v", e)
			}
			if e.Problem == "" && !json.Valid(e.Raw) {
				t.Errorf("%q is taken for JSON", e.Raw)
			}
			all = append(append(all, e.Raw...), '\n')
		}
		if !bytes.Equal(strip(all), strip(body)) {
			t.Errorf("of %q came %q", body, all)
		}
	})
}

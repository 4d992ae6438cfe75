package api

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// names are the addresses of now of blocks that were renamed, by those under which
// everything durable knows them.
type names map[string]string

// foreign are the fields of answers in which others' texts stand, which are as they are.
var foreign = [...]string{"raw", "details", "parameters", "payload", "diagnostics", "reads"}

// ask gives a request in which a source or rule is named as it is known.
func (n names) ask(r *http.Request) *http.Request {
	q := r.URL.Query()
	renamed := false
	for _, parameter := range []string{"source", "rule"} {
		for identity, now := range n {
			if q.Get(parameter) == now {
				q.Set(parameter, identity)
				renamed = true
				break
			}
		}
	}
	if !renamed {
		return r
	}
	u := url.URL(*r.URL)
	u.RawQuery = q.Encode()
	r = r.WithContext(r.Context())
	r.URL = &u
	return r
}

// tell puts the addresses of now into an answer. What is not an address of ours stays
// as it is, byte for byte.
func (n names) tell(text []byte) []byte {
	known := make([]string, 0, len(n))
	for _, identity := range slices.Sorted(maps.Keys(n)) {
		known = append(known, regexp.QuoteMeta(identity))
	}
	address := regexp.MustCompile(`(^|[^A-Za-z0-9_.]|\\[nrt])(` + strings.Join(known, "|") + `)\b`)
	var out bytes.Buffer
	for at := 0; at < len(text); {
		begin := bytes.IndexByte(text[at:], '"')
		if begin < 0 {
			out.Write(text[at:])
			break
		}
		begin += at
		end := begin + literal(text[begin:])
		out.Write(text[at:begin])
		out.Write(address.ReplaceAllFunc(text[begin:end], func(found []byte) []byte {
			parts := address.FindSubmatch(found)
			return append(bytes.Clone(parts[1]), n[string(parts[2])]...)
		}))
		at = end
		if slices.Contains(foreign[:], string(bytes.Trim(text[begin:end], `"`))) && at < len(text) && text[at] == ':' {
			at++
			out.WriteByte(':')
			skipped := value(text[at:])
			out.Write(text[at : at+skipped])
			at += skipped
		}
	}
	return out.Bytes()
}

// literal is the length of the text in quotes at the beginning.
func literal(text []byte) int {
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(text)
}

// value is the length of the JSON value at the beginning.
func value(text []byte) int {
	d := json.NewDecoder(bytes.NewReader(text))
	var skipped json.RawMessage
	if err := d.Decode(&skipped); err != nil {
		return len(text)
	}
	return int(d.InputOffset())
}

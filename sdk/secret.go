package sdk

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// secrets replaces the values of secret attributes in texts that leave the process.
// It never forgets one: what an instance that is closed held may still be in an error.
// It may be used concurrently; the zero value knows none.
type secrets struct {
	mu       sync.Mutex
	forms    map[string]bool
	replacer atomic.Pointer[strings.Replacer]
}

// add makes values known, in the forms in which they turn up in texts: as they are,
// quoted, in a URL, in JSON, in base64, and each long line of a longer text by itself.
func (s *secrets) add(values ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := len(s.forms)
	for _, v := range values {
		s.addForms(v)
		if lines := strings.Split(v, "\n"); len(lines) > 1 {
			for _, line := range lines {
				if line = strings.TrimSpace(line); len(line) >= 8 {
					s.addForms(line)
				}
			}
		}
	}
	if len(s.forms) == before {
		return
	}
	forms := make([]string, 0, len(s.forms))
	for form := range s.forms {
		forms = append(forms, form)
	}
	// The replacer takes the first that fits: the longest.
	slices.SortFunc(forms, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b))
	})
	pairs := make([]string, 0, 2*len(forms))
	for _, form := range forms {
		pairs = append(pairs, form, "(secret)")
	}
	s.replacer.Store(strings.NewReplacer(pairs...))
}

func (s *secrets) addForms(v string) {
	if strings.TrimSpace(v) == "" {
		return
	}
	if s.forms == nil {
		s.forms = map[string]bool{}
	}
	quoted := strconv.Quote(v)
	s.forms[v] = true
	s.forms[strings.TrimSpace(v)] = true
	s.forms[quoted[1:len(quoted)-1]] = true
	s.forms[url.QueryEscape(v)] = true
	s.forms[url.PathEscape(v)] = true
	s.forms[url.UserPassword("", v).String()[1:]] = true
	s.forms[base64.StdEncoding.EncodeToString([]byte(v))] = true
	if encoded, err := json.Marshal(v); err == nil {
		s.forms[string(encoded[1:len(encoded)-1])] = true
	}
}

// secretValues collects the texts under secret attributes, whether or not the rest of
// the tree fits the schema.
func (b *body) secretValues(tree map[string]any) []string {
	var found []string
	for i := range b.fields {
		f := &b.fields[i]
		for _, name := range []string{f.name, f.renamedFrom} {
			switch value := tree[name]; {
			case f.secret:
				found = texts(found, value)
			case f.block != nil:
				for _, inner := range objects(value) {
					found = append(found, f.block.secretValues(inner)...)
				}
			}
		}
	}
	return found
}

// objects lists the blocks in a value of any nesting.
func objects(value any) []map[string]any {
	switch v := value.(type) {
	case []any:
		var found []map[string]any
		for _, element := range v {
			found = append(found, objects(element)...)
		}
		return found
	case map[string]any:
		found := []map[string]any{v}
		for _, element := range v {
			if inner, ok := element.(map[string]any); ok {
				found = append(found, inner)
			}
		}
		return found
	}
	return nil
}

func texts(found []string, value any) []string {
	switch v := value.(type) {
	case string:
		return append(found, v)
	case []any:
		for _, element := range v {
			found = texts(found, element)
		}
	case map[string]any:
		for _, element := range v {
			found = texts(found, element)
		}
	}
	return found
}

func (s *secrets) scrub(text string) string {
	if r := s.replacer.Load(); r != nil {
		return r.Replace(text)
	}
	return text
}

package api

import (
	"net/http/httptest"
	"testing"
)

func TestNames(t *testing.T) {
	n := names{"detector.eve": "detector.edge", "action.fence": "action.wall"}
	for text, want := range map[string]string{
		`{}`:                           `{}`,
		`{"source":"detector.eve"}`:    `{"source":"detector.edge"}`,
		`{"source":"detector.eve2"}`:   `{"source":"detector.eve2"}`,
		`{"source":"my.detector.eve"}`: `{"source":"my.detector.eve"}`,
		`{"source":"detector.eve_2"}`:  `{"source":"detector.eve_2"}`,
		`{"detector.eve":1}`:           `{"detector.edge":1}`,
		`["action.fence.block_indicator, by action.fence."]`:                 `["action.wall.block_indicator, by action.wall."]`,
		`["line\ndetector.eve, \"detector.eve\""]`:                           `["line\ndetector.edge, \"detector.edge\""]`,
		`["\\detector.eve detector.eve"]`:                                    `["\\detector.edge detector.edge"]`,
		`{"raw":{"a":"detector.eve","raw":[1,"]"]},"source":"detector.eve"}`: `{"raw":{"a":"detector.eve","raw":[1,"]"]},"source":"detector.edge"}`,
		`{"raw":"detector.eve\"","x":"detector.eve"}`:                        `{"raw":"detector.eve\"","x":"detector.edge"}`,
		`{"x":"raw","y":"detector.eve"}`:                                     `{"x":"raw","y":"detector.edge"}`,
	} {
		if got := string(n.tell([]byte(text))); got != want {
			t.Errorf("%s becomes %s, want %s", text, got, want)
		}
	}
	r := httptest.NewRequest("GET", "/v1/events?source=detector.edge&limit=3", nil)
	if got := n.ask(r); got.URL.Query().Get("source") != "detector.eve" || got.URL.Query().Get("limit") != "3" || r.URL.Query().Get("source") != "detector.edge" {
		t.Errorf("asked: %s", got.URL)
	}
}

package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/kelpie-sec/kelpie/core/trace"
)

func TestTrace(t *testing.T) {
	w := newWorld(t)
	var got trace.Report
	if w.get("/v1/trace?event=120/3&source=detector.eve", &got); got.Note != "120/3 of detector.eve" {
		t.Errorf("%+v", got)
	}
	// A configuration may be far larger than an order.
	order := func(o TraceOrder) *bytes.Reader {
		text, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		return bytes.NewReader(text)
	}
	source := bytes.Repeat([]byte("x"), 6<<20)
	code, body := w.do("POST", "/v1/trace", order(TraceOrder{Event: "c-1", GivenConfig: GivenConfig{Source: source}}))
	if code != http.StatusOK || !strings.Contains(string(body), `"size":6291456`) {
		t.Errorf("%d %.200s", code, body)
	}
	code, body = w.do("POST", "/v1/trace", order(TraceOrder{Event: "c-1", GivenConfig: GivenConfig{Source: bytes.Repeat(source, 5)}}))
	if code != http.StatusRequestEntityTooLarge {
		t.Errorf("%d %.200s", code, body)
	}
	for _, path := range []string{"/v1/trace", "/v1/trace?event=", "/v1/trace?event=" + strings.Repeat("x", maxEventName+1), "/v1/trace?event=1/1&source=" + strings.Repeat("x", maxName+1)} {
		if code, body := w.do("GET", path, nil); code != http.StatusBadRequest || !strings.Contains(string(body), `"error"`) {
			t.Errorf("%.40s: %d %s", path, code, body)
		}
	}
}

package api

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/core/shadow"
)

func TestShadow(t *testing.T) {
	w := newWorld(t)
	for query, want := range map[string]shadow.Query{
		"":                                    {Since: noon.Add(-24 * time.Hour), Window: 10 * time.Minute},
		"?since=2026-02-01T00:00:00Z":         {Since: time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC), Window: 10 * time.Minute},
		"?window=30s&name=enrichment.reputed": {Since: noon.Add(-24 * time.Hour), Window: 30 * time.Second},
	} {
		var got shadow.Report
		w.get("/v1/shadow"+query, &got)
		if !got.Since.Equal(want.Since) || got.Detectors[0].Window != want.Window.Seconds() {
			t.Errorf("%s: %+v", query, got)
		}
	}
	for query, want := range map[string]int{
		"?since=yesterday": http.StatusBadRequest, "?window=-1s": http.StatusBadRequest, "?window=25h": http.StatusBadRequest,
		"?window=long": http.StatusBadRequest, "?name=nobody": http.StatusNotFound,
	} {
		code, body := w.do("GET", "/v1/shadow"+query, nil)
		if code != want || !strings.Contains(string(body), `"error"`) {
			t.Errorf("%s: %d %s", query, code, body)
		}
	}
}

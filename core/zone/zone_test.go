package zone

import (
	"testing"
	"time"
)

func TestLoad(t *testing.T) {
	t.Setenv("ZONEINFO", "/nowhere")
	berlin, err := Load("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range map[string]string{
		"2026-03-29T00:59:59Z": "2026-03-29T01:59:59+01:00",
		"2026-03-29T01:00:00Z": "2026-03-29T03:00:00+02:00",
		"2026-10-25T01:00:00Z": "2026-10-25T02:00:00+01:00",
	} {
		utc, _ := time.Parse(time.RFC3339, at)
		if got := utc.In(berlin).Format(time.RFC3339); got != want {
			t.Errorf("%s in Berlin is %s, want %s", at, got, want)
		}
	}
	if z, err := Load("UTC"); err != nil || z != time.UTC {
		t.Errorf("UTC is %v, %v", z, err)
	}
	for _, name := range []string{"Europe/Nowhere", "Europe/", "../../etc/passwd", "Local", "Europe"} {
		if z, err := Load(name); err == nil {
			t.Errorf("%q is %v", name, z)
		}
	}
}

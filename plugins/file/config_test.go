package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

func TestComplaints(t *testing.T) {
	folder := t.TempDir()
	for _, test := range []struct {
		name string
		b    block
		at   string
		want string
	}{
		{"relative", block{"path": "a.log"}, "path", "not absolute"},
		{"folder", block{"path": folder}, "path", "this is a folder"},
		{"not there", block{"path": filepath.Join(folder, "a.log")}, "path", "no such file yet"},
		{"pattern", block{"path": "/var/log/[a"}, "path", "no pattern"},
		{"deep pattern", block{"path": "/var/**/a.log"}, "path", "** is not understood"},
		{"compressed", block{"path": "/var/log/a.log.GZ"}, "path", "compressed"},
		{"text without patterns", block{"format": "text"}, "format", "needs patterns"},
		{"JSON with patterns", block{"patterns": []string{"(?P<a>.)"}}, "patterns", "for text"},
		{"broken pattern", lineOf("(?P<a>.)", "("), "patterns 1", "missing closing )"},
		{"no group", lineOf("."), "patterns 0", "no named group"},
		{"group twice", lineOf("(?P<a>.)(?P<a>.)"), "patterns 0", "two groups named"},
		{"text with repeated names", lineOf("(?P<a>.)").with("repeated_keys", "join"), "repeated_keys", "for JSON"},
		{"no such group", lineOf("(?P<a>.)").with("time_field", "b"), "time_field", `no pattern has a group "b"`},
		{"no path", block{"id_field": "a..b"}, "id_field", "is no path"},
		{"time zone", block{"timezone": "Mars"}, "timezone", `"Mars" is no time zone`},
		{"time format", block{"time_format": "YYYY-MM-DD"}, "time_format", "is no way to write a time"},
		{"interval", block{"interval": "1ms"}, "interval", "too short"},
		{"never anything", block{"start": "end", "follow": false}, "start", "nothing would ever be read"},
		{"start", block{"start": "middle"}, "start", "must be one of"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.b["path"] == nil {
				test.b = test.b.with("path", filepath.Join(folder, "*.log"))
			}
			data, err := json.Marshal(test.b)
			if err != nil {
				t.Fatal(err)
			}
			f := &file{}
			wrong := append(sdk.Decode(data, f.Config()), f.Validate()...)
			if len(wrong) == 0 {
				t.Fatal("no complaint")
			}
			if text := wrong[0].Error(); !strings.Contains(text, test.want) || strings.Join(wrong[0].Path, " ") != test.at {
				t.Errorf("complaint at %v: %s; want one at %s with %q", wrong[0].Path, text, test.at, test.want)
			}
		})
	}
}

func TestTimes(t *testing.T) {
	written := time.Date(2026, 3, 1, 0, 30, 0, 0, time.UTC)
	for _, test := range []struct{ format, zone, text, want string }{
		{"rfc3339", "UTC", "2026-11-22T12:40:07.550151+01:00", "2026-11-22T11:40:07.550151Z"},
		{"", "", "2026-11-22T12:40:07Z", "2026-11-22T12:40:07Z"},
		{"unix", "UTC", "1763815207", "2025-11-22T12:40:07Z"},
		{"unix", "UTC", "1763815207.25", "2025-11-22T12:40:07.25Z"},
		{"unix", "UTC", "-1.5", "1969-12-31T23:59:58.5Z"},
		{"unix", "UTC", "99999999999999999999", ""},
		{"unix", "UTC", "1e9", ""},
		{"unix", "UTC", "1.-5", ""},
		{"unixms", "UTC", "1763815207550", "2025-11-22T12:40:07.55Z"},
		{"unixus", "UTC", "1763815207550151", "2025-11-22T12:40:07.550151Z"},
		{"unixns", "UTC", "1763815207550151001", "2025-11-22T12:40:07.550151001Z"},
		{"asctime", "Europe/Berlin", "Sun Nov 22 12:39:52 2026", "2026-11-22T11:39:52Z"},
		{"asctime", "UTC", "Sun Nov  2 12:39:52 2026", "2026-11-02T12:39:52Z"},
		{"rfc1123", "UTC", "Sun, 22 Nov 2026 12:39:52 +0200", "2026-11-22T10:39:52Z"},
		{"clf", "UTC", "22/Nov/2026:12:39:52 +0000", "2026-11-22T12:39:52Z"},
		{"syslog", "UTC", "Mar  1 00:29:00", "2026-03-01T00:29:00Z"},
		{"syslog", "UTC", "Mar  1 23:00:00", "2026-03-01T23:00:00Z"}, // a clock that is ahead
		{"syslog", "UTC", "Dec 31 23:59:59", "2025-12-31T23:59:59Z"},
		{"syslog", "UTC", "Feb 29 10:00:00", "2024-02-29T10:00:00Z"},
		{"Jan _2 15:04:05.000", "UTC", "Feb 28 10:00:00.250", "2026-02-28T10:00:00.25Z"},
		{"2006-01-02 15:04:05", "America/New_York", "2026-11-22 12:39:52,5", "2026-11-22T17:39:52.5Z"},
		{"rfc3339", "UTC", "yesterday", ""},
	} {
		c, err := newClock(test.format, test.zone)
		if err != nil {
			t.Fatal(err)
		}
		var want time.Time
		if test.want != "" {
			if want, err = time.Parse(time.RFC3339Nano, test.want); err != nil {
				t.Fatal(err)
			}
		}
		if got := c.read(test.text, written); !got.Equal(want) {
			t.Errorf("%s %q = %v, want %v", test.format, test.text, got.UTC(), want)
		}
	}
}

func TestRotatedNames(t *testing.T) {
	for name, want := range map[string]bool{
		"eve.json.1": true, "eve.json-20261122": true, "eve.json.2026-11-22": true, "eve-20261122.json": true, "eve.json_1": true,
		"eve.json": false, "eve.json.bak": false, "eve.json~": false, "eve.jsonl": false, "eve-stats.json": false, "eve1.json": false, "other.json.1": false, "eve.": false,
	} {
		if got := isRotated("eve.json", name); got != want {
			t.Errorf("isRotated(eve.json, %s) = %v", name, got)
		}
	}
	if isRotated("auth", "auth-1") != true || isRotated("auth", "author") {
		t.Error("a name without extension")
	}
}

package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kelpie-sec/kelpie/sdk"
)

// counter is a Sender that counts.
type counter struct{ events, bytes int }

func (c *counter) Send(_ context.Context, events []sdk.Event, _ []byte) (sdk.Receipt, error) {
	c.events += len(events)
	for i := range events {
		c.bytes += len(events[i].Raw)
	}
	return durable{}, nil
}

func (c *counter) Status(error, int64, string) {}

// eve is like a line of Suricata's.
func eve(i int) string {
	return fmt.Sprintf(`{"timestamp":"2026-11-22T12:00:00.%06d+0000","flow_id":%d,"in_iface":"eth0","event_type":"dns","src_ip":"10.1.2.%d","src_port":%d,"dest_ip":"198.51.100.7","dest_port":53,"proto":"UDP","dns":{"type":"query","id":%d,"rrname":"host%d.example.org","rrtype":"A","tx_id":0,"opcode":0},"filler":%q}`,
		i%1000000, i, i%250, i%60000, i%65536, i, strings.Repeat("x", i%200))
}

func benchmark(b *testing.B, set block, lines int, line func(int) string) {
	path := filepath.Join(b.TempDir(), "a.log")
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	size := 0
	for i := range lines {
		n, err := fmt.Fprintln(f, line(i))
		if err != nil {
			b.Fatal(err)
		}
		size += n
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	instance := configured(b, set.with("path", path))
	instance.log = slog.New(slog.DiscardHandler)
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		out := &counter{}
		if err := instance.Detect(b.Context(), sdk.Start{Once: true}, out); err != nil {
			b.Fatal(err)
		}
		if out.events != lines {
			b.Fatalf("%d events of %d lines", out.events, lines)
		}
	}
	b.ReportMetric(float64(lines)*float64(b.N)/b.Elapsed().Seconds(), "lines/s")
}

func BenchmarkJSON(b *testing.B) { benchmark(b, block{}, 200_000, eve) }

func BenchmarkJSONEveryOption(b *testing.B) {
	benchmark(b, block{
		"id_field": "flow_id", "time_field": "timestamp", "time_format": "2006-01-02T15:04:05.999999-0700",
		"repeated_keys": "join", "invalid_utf8": "replace",
	}, 100_000, eve)
}

func BenchmarkText(b *testing.B) {
	benchmark(b, lineOf(line).with("time_field", "time"), 50_000, func(i int) string {
		return fmt.Sprintf("2026-11-22T12:40:32.%06d+00:00 bastion sshd[%d]: Failed password for invalid user admin%d from 198.51.100.%d port %d ssh2", i, i%30000, i, i%250, i%60000)
	})
}

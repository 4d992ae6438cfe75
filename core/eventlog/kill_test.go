package eventlog

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// publishForever is the life of the child process: it publishes batches of one
// to five events and inputs, acknowledges some events, and writes to its output
// what the log has answered, until it is killed.
func publishForever(dir string) error {
	ctx := context.Background()
	set := small(dir)
	set.Sync = SyncAlways
	l, err := Open(ctx, set)
	if err != nil {
		return err
	}
	s, err := l.Source(ctx, "edr")
	if err != nil {
		return err
	}
	j, err := l.Joiner(ctx, "match")
	if err != nil {
		return err
	}
	c, err := l.Events(ctx)
	if err != nil {
		return err
	}
	go func() {
		for {
			m, err := c.Next(ctx)
			if err != nil {
				return
			}
			seq := binary.BigEndian.AppendUint64(nil, m.Seq)
			if err := j.Add(ctx, seq, func(uint64, error) { _ = m.Ack() }); err != nil {
				return
			}
		}
	}()
	for n := 0; ; n++ {
		count := n%5 + 1
		h := Header{BatchID: fmt.Sprintf("%d-%d", os.Getpid(), n), Total: s.Last().Total + uint64(count), Count: count}
		h.Cursor = fmt.Append(nil, h.Total)
		seq, err := s.Publish(ctx, h, make([]byte, 4<<10))
		if err != nil {
			return err
		}
		fmt.Println(seq, h.Total)
	}
}

// kill kills a child as it publishes and returns the last batch it knew to be in
// the log.
func kill(t *testing.T, dir string, after int) (seq, total uint64) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	errOut := &strings.Builder{}
	cmd.Stderr = errOut
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for n := 0; lines.Scan(); n++ {
		if _, err := fmt.Sscan(lines.Text(), &seq, &total); err != nil {
			break // the line that the kill cut off
		}
		if n == after {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait()
	if total == 0 {
		t.Fatalf("the child published nothing: %s", errOut)
	}
	return seq, total
}

func TestKillLosesNothingAcknowledged(t *testing.T) {
	dir := t.TempDir()
	answered := map[uint64]bool{}
	for round := range 3 {
		seq, total := kill(t, dir, 40+23*round)

		l := mustOpen(t, small(dir))
		h, last, err := l.Last(t.Context(), "edr")
		if err != nil {
			t.Fatal(err)
		}
		if last < seq || h.Total < total || string(h.Cursor) != fmt.Sprint(h.Total) {
			t.Errorf("round %d: the log ends at %d with total %d, cursor %s; acknowledged were %d and %d",
				round, last, h.Total, h.Cursor, seq, total)
		}
		checkTotals(t, l, last)
		checkAnswered(t, l, last, answered)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// checkTotals reads all batches: none is missing and none is there twice.
func checkTotals(t *testing.T, l *Log, last uint64) {
	t.Helper()
	page, err := l.ListEvents(t.Context(), Query{Limit: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if n := uint64(len(page.Records)); n != last {
		t.Errorf("%d batches are in the log, want %d", n, last)
	}
	total := uint64(0)
	for i := len(page.Records) - 1; i >= 0; i-- {
		r := page.Records[i]
		if total += uint64(r.Count); r.Total != total {
			t.Fatalf("batch %d has total %d, want %d", r.Seq, r.Total, total)
		}
	}
}

// checkAnswered reads what was not acknowledged: together with the parts in
// INPUTS, and what rounds before have seen, that is every batch, and it comes at
// once.
func checkAnswered(t *testing.T, l *Log, last uint64, seen map[uint64]bool) {
	t.Helper()
	start := time.Now()
	end, err := l.InputsEnd(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if end > 0 {
		r := mustInputs(t, l, 1)
		for seq := uint64(1); seq <= end; seq++ {
			in, err := r.Next(within(t, 20*time.Second))
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range in.Parts {
				seen[binary.BigEndian.Uint64(p)] = true
			}
		}
		r.Close()
	}
	c := mustEvents(t, l)
	defer c.Close()
	for {
		st, err := l.Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if st.Waiting == 0 {
			break
		}
		m, err := c.Next(within(t, 100*time.Millisecond))
		if err != nil {
			continue
		}
		seen[m.Seq] = true
		mustAck(t, m)
	}
	for seq := uint64(1); seq <= last; seq++ {
		if !seen[seq] {
			t.Errorf("batch %d is neither answered nor waiting", seq)
		}
	}
	if took := time.Since(start); took > ackWait/2 {
		t.Errorf("what was in flight came only after %v", took)
	}
}

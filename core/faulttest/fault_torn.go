//go:build linux

package faulttest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"time"
)

// tornTail kills the core and tears what it wrote last and told nobody of.
type tornTail struct{}

func (tornTail) Name() string { return "torn tail" }

func (tornTail) Apply(w *World, r *rand.Rand) (Work, error) {
	work, err := w.Press(w.Work)
	if err != nil {
		return work, err
	}
	if err := w.Kill(); err != nil {
		return work, err
	}
	blocks, err := Blocks(w.path("data"), pick(r, []string{"EVENTS", "INPUTS"}))
	if err != nil {
		return Work{}, w.Start() // the core has not come so far as to write
	}
	last := blocks[len(blocks)-1]
	data, err := os.ReadFile(last)
	if err != nil {
		return work, err
	}
	if len(data) == 0 {
		return Work{}, w.Start()
	}
	// The beginning of a record that was under way: as one before it began, or garbage.
	n := 1 + r.IntN(min(len(data), 4000))
	torn := append([]byte(nil), data[:min(n, len(data))]...)
	if r.IntN(2) == 0 {
		for i := range torn {
			torn[i] = byte(r.Uint32())
		}
	}
	f, err := os.OpenFile(last, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return work, err
	}
	_, err = f.Write(torn)
	if err := errors.Join(err, f.Close()); err != nil {
		return work, err
	}
	return work, w.Start()
}

// tornAcknowledged kills the core and tears the end of what it had acknowledged: the
// start must be refused, naming the source and the sequence, and change nothing. Then
// the bytes are put back, as from a backup.
type tornAcknowledged struct{}

func (tornAcknowledged) Name() string { return "acknowledged bytes torn" }

func (tornAcknowledged) Apply(w *World, r *rand.Rand) (Work, error) {
	if err := w.Up(); err != nil {
		return Work{}, err
	}
	if err := w.Drip(1 + w.ration/4); err != nil {
		return Work{}, err
	}
	// What is decided was acknowledged; what comes then lies behind it.
	if err := w.caughtUp(); err != nil {
		return Work{}, err
	}
	stream := pick(r, []string{"EVENTS", "INPUTS"})
	blocks, err := Blocks(w.path("data"), stream)
	if err != nil {
		return Work{}, err
	}
	block := blocks[len(blocks)-1]
	was, err := os.Stat(block)
	if err != nil || was.Size() == 0 {
		return Work{}, err
	}
	time.Sleep(settleTime)
	if err := w.Kill(); err != nil {
		return Work{}, err
	}
	whole, err := os.ReadFile(block)
	if err != nil {
		return Work{}, err
	}
	if err := os.WriteFile(block, tear(r, whole, int(was.Size())), 0o600); err != nil {
		return Work{}, err
	}
	if err := w.refused(stream); err != nil {
		return Work{}, err
	}
	if err := os.WriteFile(block, whole, 0o600); err != nil {
		return Work{}, err
	}
	return Work{Events: 1}, w.Start()
}

// settleTime is how long the log's record of what it has acknowledged may be behind
// what decide knows.
const settleTime = 100 * time.Millisecond

// tear gives a block that is damaged before its end: cut off, or overwritten, or with
// one bit turned.
func tear(r *rand.Rand, whole []byte, end int) []byte {
	n := 1 + r.IntN(min(end, 2000))
	torn := append([]byte(nil), whole...)
	switch r.IntN(3) {
	case 0:
		return torn[:end-n]
	case 1:
		for i := end - n; i < end; i++ {
			torn[i] = ^torn[i]
		}
	default:
		torn[end-n] ^= 1 << r.IntN(8)
	}
	return torn
}

// refusal names a stretch of a stream, and whose it was. Of EVENTS the sources' totals
// tell that; of INPUTS, where nothing but the torn bytes may tell, it may be unknown.
var refusal = regexp.MustCompile(`(EVENTS) \d+(?: to \d+)? of [a-z]+\.|(INPUTS) \d+(?: to \d+)? of (?:[a-z]+|unknown sources)[:,]`)

// refused starts the core, which must end by itself and say what is lost.
func (w *World) refused(stream string) error {
	before, err := os.ReadFile(w.path("core.log"))
	if err != nil {
		return err
	}
	if err := w.Start(); err != nil {
		return err
	}
	select {
	case <-w.core.ended:
	case <-time.After(patience):
		return fmt.Errorf("acknowledged bytes of %s are torn, and the core runs", stream)
	}
	after, err := os.ReadFile(w.path("core.log"))
	if err != nil {
		return err
	}
	told := string(after[len(before):])
	if code := w.core.cmd.ProcessState.ExitCode(); code != 1 {
		return fmt.Errorf("acknowledged bytes of %s are torn, and the start ends with %d:\n%s", stream, code, told)
	}
	if m := refusal.FindStringSubmatch(told); m == nil || m[1]+m[2] != stream {
		return fmt.Errorf("acknowledged bytes of %s are torn, and the refusal does not name source and sequence:\n%s", stream, told)
	}
	return nil
}

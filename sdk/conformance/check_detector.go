package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/kelpie-sec/kelpie/sdk"
	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
)

// detectorChecks are about events: that all come, whole, and again where Kelpie does not
// have them yet.
func detectorChecks() []Check {
	return []Check{
		{
			Name: "batches", of: eachDetector, run: batches,
			Why: "Kelpie bounds its memory by credit and by the size of a batch, and counts batches to know which are durable.",
		},
		{
			Name: "end", of: eachDetector, run: ends,
			Why: "kelpie run --once ends when every source says that it has been read; one that never says so keeps it for ever.",
		},
		{
			Name: "text", of: eachDetector, run: intact,
			Why: "Attackers choose what is in an event. A payload that is changed on the way is no evidence, and one that is dropped is a blind spot.",
		},
		{
			Name: "large_event", of: eachDetector, run: largeEvent,
			Why: "An event of 1 MiB must come whole, and of a larger one where it can be found; otherwise size is a way to hide.",
		},
		{
			Name: "cursor", of: eachDetector, run: cursorHonest,
			Why: "After a crash Kelpie goes on from the last cursor that it has. If the same events come under other ids they are doubled, and if the cursor stands too far they are lost.",
		},
		{
			Name: "ack", of: eachDetector, run: ackHonest,
			Why: "What Kelpie has not acknowledged it does not have: told to the source as taken, it is lost when anything dies.",
		},
		{
			Name: "pulse", of: eachDetector, run: pulse,
			Why: "A plugin that says it gives signs of life is taken to be stuck where it does not, and its session is cut.",
		},
		{
			Name: "ids", of: eachDetector, run: sameIDs,
			Why: "How ids are made is part of a connector's contract: with other ids an update brings every open alert a second time.",
		},
	}
}

// batches gives credit for one batch of one event, and then for more.
func batches(ctx context.Context, t *trial) error {
	p, err := t.configured(ctx)
	if err != nil {
		return err
	}
	payloads := t.instance.samples(4)
	withdraw, err := t.offer(ctx, payloads)
	if err != nil {
		return err
	}
	defer withdraw()
	s, err := p.open(ctx, t.instance.Name, sessionStart{once: t.connector().GetFinite(), maxEvents: 1, credit: 1})
	if err != nil {
		return err
	}
	defer s.end()
	given, got := 1, int64(0)
	for {
		limit := t.settings.Patience
		if got > 0 {
			limit = quiet
		}
		m, err := s.next(limit)
		switch {
		case errors.Is(err, errNothing) && got == 0:
			return skipf("the source gave no event within %s", limit)
		case errors.Is(err, errNothing) && given == 1:
			s.credit(2) // it held back what it had no credit for
			given = 3
			continue
		case errors.Is(err, errNothing):
			return nil
		case err != nil:
			return p.told(fail("A session goes on until the core stops it.", "the session ended after %d batches: %s", got, text(err)))
		}
		if m.GetInstance() != t.instance.Name {
			return fail("Put the instance's name into every message of its session.", "a message of the session says that it is of instance %q", clip(m.GetInstance()))
		}
		b := m.GetBatch()
		if b == nil {
			continue
		}
		got++
		switch {
		case b.GetNumber() != got:
			return fail("Number the batches of a session from 1 without gaps.", "batch %d has the number %d", got, b.GetNumber())
		case got > int64(given):
			return fail("Send a batch only while there is credit, and count one credit down for each.", "with credit for %d batches it sent %d", given, got)
		case len(b.GetEvents()) > 1:
			return fail("Keep to max_events and max_bytes of start.", "with max_events = 1 a batch has %d events", len(b.GetEvents()))
		}
		s.ack(got)
	}
}

// pulseEvery is how often the check wants a sign of life, and pulses how many.
const (
	pulseEvery = 200 * time.Millisecond
	pulses     = 3
)

// pulse asks for signs of life, and offers the source nothing.
func pulse(ctx context.Context, t *trial) error {
	p, err := t.configured(ctx)
	if err != nil {
		return err
	}
	about, err := t.described(ctx, p)
	if err != nil {
		return err
	}
	if !slices.Contains(about.GetCapabilities(), sdk.DetectPulse) {
		return skipf("the plugin does not say that it gives signs of life")
	}
	s, err := p.open(ctx, t.instance.Name, sessionStart{pulse: pulseEvery, credit: 1})
	if err != nil {
		return err
	}
	defer s.end()
	for n := range pulses {
		m, err := s.next(10 * pulseEvery)
		if errors.Is(err, errNothing) {
			return fail("While the detector is at work or waits for its next turn, send a status at least as often as start.pulse says, or leave detect.pulse out of the capabilities.",
				"asked for a sign of life each %s, the session gave %d, and then nothing for %s", pulseEvery, n, 10*pulseEvery)
		}
		if err != nil {
			return p.told(fail("A session goes on until the core stops it.", "the session ended: %s", text(err)))
		}
		if b := m.GetBatch(); b != nil {
			s.credit(1)
			s.ack(b.GetNumber())
		}
	}
	return nil
}

func ends(ctx context.Context, t *trial) error {
	if !t.connector().GetFinite() {
		return skipf("the connector does not say that its source can end")
	}
	p, err := t.configured(ctx)
	if err != nil {
		return err
	}
	payloads := t.instance.samples(3)
	withdraw, err := t.offer(ctx, payloads)
	if err != nil {
		return err
	}
	defer withdraw()
	s, err := p.open(ctx, t.instance.Name, sessionStart{once: true, credit: 8})
	if err != nil {
		return err
	}
	defer s.end()
	got := 0
	for ended := false; !ended; {
		m, err := s.next(t.settings.Patience)
		if ctx.Err() != nil {
			return skipf("the source is too large to be read to its end here: %d events came in %s", got, checkLimit)
		}
		if err != nil {
			return p.told(fail("With once, report ended when all that there is has been sent, and wait for stop.", "%d events came and no status ended: %v", got, err))
		}
		if b := m.GetBatch(); b != nil {
			got += len(b.GetEvents())
			s.ack(b.GetNumber())
			s.credit(1)
		}
		ended = m.GetStatus().GetState() == pluginv1.DetectorState_DETECTOR_STATE_ENDED
	}
	if t.instance.fed() && got != len(payloads) {
		return fail("Report ended after the last batch.", "it says that all has been sent after %d of %d events", got, len(payloads))
	}
	if m, err := s.next(sessionBegins); !errors.Is(err, errNothing) {
		return fail("After ended, wait for stop: what was sent may have to be acknowledged yet.", "after ended there is still something: %v %v", m.GetMessage() != nil, err)
	}
	s.stop()
	if !s.endsWithin(callLimit) || s.err != nil {
		return fail("End a session that was stopped without an error.", "after ended and stop the session does not end in good order")
	}
	return nil
}

// samplesOfText are what payloads hold that is not plain.
func samplesOfText() []string {
	return []string{
		"plain", "Grüße, 世界, 🐕", "e\u0301 and \u00e9", "\u202Egnp.exe", "\x00\a\x1b[2J\x7f", "line\r\nbreak\ttab",
		`quote " back \ slash /`, "\uFEFF\u2028\u2029\u200D", "<script>alert(1)</script>&amp;", "\U0010FFFF", "%s ${x} {{y}}", "",
	}
}

func intact(ctx context.Context, t *trial) error {
	if !t.instance.fed() {
		return skipf("the suite cannot put events into its source")
	}
	var payloads [][]byte
	for n, text := range samplesOfText() {
		payloads = append(payloads, t.instance.payload(fmt.Sprintf("text-%d", n), text))
	}
	got, err := t.read(ctx, payloads, 0)
	if err != nil {
		return err
	}
	return whole(payloads, got)
}

// whole looks for each payload among the events, byte by byte.
func whole(payloads [][]byte, got []*pluginv1.Batch) error {
	raws := map[string]int{}
	for _, b := range got {
		for _, e := range b.GetEvents() {
			raws[string(e.GetRaw())]++
			if e.GetId() == "" || !utf8.ValidString(e.GetId()) {
				return fail("Give every event an id: the source's own, or its place.", "an event has the id %q", clip(e.GetId()))
			}
		}
	}
	for _, payload := range payloads {
		if raws[string(payload)] == 0 {
			return fail("Hand on the source's bytes as they came; what cannot be read is sent too, with a problem.",
				"no event has the payload %q as it was written; there are %s", clip(string(payload)), clip(fmt.Sprintf("%q", mapKeys(raws))))
		}
		raws[string(payload)]--
	}
	return nil
}

func mapKeys(m map[string]int) []string {
	var keys []string
	for key, n := range m {
		if n > 0 {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// largeEvent offers an event of the greatest size, and one that is a byte larger.
func largeEvent(ctx context.Context, t *trial) error {
	if !t.instance.fed() {
		return skipf("the suite cannot put events into its source")
	}
	empty := len(t.instance.payload("large-0", ""))
	most := t.instance.payload("large-0", strings.Repeat("x", sdk.MaxEvent-empty))
	more := t.instance.payload("large-1", strings.Repeat("y", sdk.MaxEvent-empty+1))
	small := t.instance.payload("large-2", "after them")
	got, err := t.read(ctx, [][]byte{most, more, small}, 0)
	if err != nil {
		return err
	}
	if err := whole([][]byte{small}, got); err != nil {
		return err
	}
	var came, told bool
	for _, b := range got {
		for _, e := range b.GetEvents() {
			came = came || bytes.Equal(e.GetRaw(), most)
			told = told || e.GetOversize().GetLength() == int64(len(more)) && len(e.GetRaw()) <= sdk.OversizeHead
		}
	}
	if !came {
		return fail("Take events up to 1 MiB.", "an event of %d bytes did not come whole", len(most))
	}
	if !told {
		return fail("Of an event above 1 MiB report place, length, sha256 and the first 64 KiB.", "an event of %d bytes is not told as oversize", len(more))
	}
	return nil
}

// ackHonest kills the process between a batch and its ack, and reads again from where
// the core would stand.
func ackHonest(ctx context.Context, t *trial) error {
	p, err := t.configured(ctx)
	if err != nil {
		return err
	}
	payloads := t.instance.samples(3)
	withdraw, err := t.offer(ctx, payloads)
	if err != nil {
		return err
	}
	defer withdraw()
	s, err := p.open(ctx, t.instance.Name, sessionStart{once: t.connector().GetFinite(), credit: 1})
	if err != nil {
		return err
	}
	defer s.end()
	var unacked *pluginv1.Batch
	for len(unacked.GetEvents()) == 0 {
		m, err := s.next(t.settings.Patience)
		switch {
		case errors.Is(err, errNothing):
			return skipf("the source gave no event within %s", t.settings.Patience)
		case errors.Is(err, io.EOF), err != nil:
			return p.told(fail("A session goes on until the core stops it.", "the session ended before a batch came: %v", err))
		}
		if b := m.GetBatch(); b != nil {
			if unacked = b; len(b.GetEvents()) == 0 {
				s.ack(b.GetNumber())
				s.credit(1)
			}
		}
	}
	// A source that is told too early is told now.
	_, _ = s.next(sessionBegins)
	p.kill()

	q, err := t.configured(ctx)
	if err != nil {
		return err
	}
	again, err := t.gather(ctx, q, gathering{want: t.wanted(len(payloads))})
	var short *failure
	if err != nil && !errors.As(err, &short) {
		return err
	}
	come := ids(again)
	for _, id := range ids([]*pluginv1.Batch{unacked}) {
		if !slices.Contains(come, id) {
			return fail("Tell the source that events are taken when the ack has come, and not before.",
				"the process was killed before the ack, and the event %q did not come again; there came %s", clip(id), list(come))
		}
	}
	return nil
}

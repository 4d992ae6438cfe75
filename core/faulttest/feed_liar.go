//go:build linux

package faulttest

import "fmt"

// liar is a detector that misbehaves before its first batch is taken, so that nothing
// may come of it. What all others offer must be as exact beside it.
type liar struct{ way string }

// liarWays are those of the plugin rogue that let nothing through, and that end soon when
// the core stops.
var liarWays = []string{"crash", "crash at first", "other", "huge"}

// newLiars gives every fourth seed one.
func newLiars(seed uint64) []Feed {
	if seed%4 != 1 {
		return nil
	}
	return []Feed{liar{pick(stream(seed, "rogue"), liarWays)}}
}

func (liar) Name() string                   { return "rogue" }
func (liar) Plugin() string                 { return "rogue" }
func (liar) Events() []Event                { return nil }
func (liar) Offered() int                   { return 0 }
func (liar) Exactly() bool                  { return true }
func (liar) Key(id string, _ []byte) string { return id }
func (liar) Offer(string, int) error        { return nil }

func (f liar) Block(string, variant) string {
	return fmt.Sprintf("detector \"rogue\" \"rogue\" {\n  way = %q\n}\n", f.way)
}

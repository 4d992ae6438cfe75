//go:build linux

package faulttest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"time"
)

// watchRows is how many rows the table of the doors has in the end. Each version has one
// more than the one before it.
const watchRows = 5

func watchRow(n int) string { return fmt.Sprintf("w-%d", n) }

// gate keeps back the events that need a row of the table which is not in force yet, so
// that the table by which one is decided makes a difference.
type gate struct {
	rows    int    // in force
	written int    // in the file
	hash    string // of the file
}

// open tells whether the events may be offered; without a gate all may.
func (g *gate) open(events ...Event) bool {
	for _, e := range events {
		if g != nil && e.Door.Watch >= g.rows {
			return false
		}
	}
	return true
}

const tablePath = "packs/door/watched.csv"

// writeTable puts a version of so many rows in the place of the one before.
func (w *World) writeTable(rows int) error {
	r := stream(w.Seed, "table", fmt.Sprint(rows))
	text := "name,since\n"
	for _, n := range r.Perm(rows) {
		text += fmt.Sprintf("%s,%d\n", watchRow(n), rows)
	}
	sum := sha256.Sum256([]byte(text))
	w.gate.written, w.gate.hash = rows, hex.EncodeToString(sum[:])
	next := w.path(tablePath + ".next")
	if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(next, w.path(tablePath))
}

// lookAtTable opens the gate as far as the table that is in force reaches.
func (w *World) lookAtTable() {
	if w.gate.rows == w.gate.written {
		return
	}
	var s status
	if w.get("status", &s) != nil {
		return
	}
	for _, t := range s.Tables {
		if strings.HasSuffix(t.Table, "door_watched") && t.Version == w.gate.hash {
			w.gate.rows = w.gate.written
		}
	}
}

// tableComplete has the last version of the table in force.
func (w *World) tableComplete() error {
	if w.gate.written < watchRows {
		if err := w.writeTable(watchRows); err != nil {
			return err
		}
	}
	return w.Until("the table to be in force", func() (bool, error) {
		w.lookAtTable()
		return w.gate.rows == watchRows, w.alive()
	})
}

// tableReplaced replaces the table, and now and then the core dies before or as it takes
// the new version.
type tableReplaced struct{}

func (tableReplaced) Name() string { return "table replaced" }

func (tableReplaced) Apply(w *World, r *rand.Rand) (Work, error) {
	w.lookAtTable()
	if w.gate.rows < w.gate.written || w.gate.written == watchRows {
		return Work{}, nil // the one before is on its way, or there is none after it
	}
	work, err := w.Press(w.Work)
	if err != nil {
		return work, err
	}
	if err := w.writeTable(w.gate.written + 1); err != nil {
		return work, err
	}
	if r.IntN(2) == 0 {
		return work, nil
	}
	// A file is taken when it has been left alone for two seconds.
	if err := w.trickle(w.ration/2, time.Duration(r.IntN(3500))*time.Millisecond); err != nil {
		return work, err
	}
	if err := w.Kill(); err != nil {
		return work, err
	}
	return work, w.Start()
}

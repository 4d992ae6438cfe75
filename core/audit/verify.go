package audit

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/kelpie-sec/kelpie/core/model"
)

// BrokenError says where a chain does not hold.
type BrokenError struct {
	Seq uint64 // of the first entry that does not fit
	Why string // for people
}

func (e *BrokenError) Error() string { return fmt.Sprintf("entry %d: %s", e.Seq, e.Why) }

// Verifier follows a chain from its first entry. The zero value is at the beginning.
type Verifier struct {
	head    Head
	kept    []Head
	intents map[string]int
}

// Keep makes the chain answer for heads that were kept elsewhere: each must come by.
func (v *Verifier) Keep(heads ...Head) { v.kept = append(v.kept, heads...) }

// Add takes the next entry. After an error, a *BrokenError, nothing of what follows can
// be relied on.
func (v *Verifier) Add(e Entry) error {
	if want := v.head.Seq + 1; e.Seq != want {
		return &BrokenError{want, fmt.Sprintf("it is missing: entry %d is next", e.Seq)}
	}
	if e.Hash != hash(e.Seq, v.head.Hash, e.Record) {
		return &BrokenError{e.Seq, "it is not what was written: its hash is another"}
	}
	for _, h := range v.kept {
		if h.Seq == e.Seq && h.Hash != e.Hash {
			return &BrokenError{e.Seq, "its hash is not the one that was kept: the trail was written anew"}
		}
	}
	var r model.Record
	if err := json.Unmarshal(e.Record, &r); err != nil {
		return &BrokenError{e.Seq, "it is no record"}
	}
	v.head = e.Head()
	v.count(r)
	return nil
}

// count follows how many intents there are in each state.
func (v *Verifier) count(r model.Record) {
	if v.intents == nil {
		v.intents = map[string]int{}
	}
	switch r.Kind {
	case model.RecordBegan:
		maps.Copy(v.intents, r.Intents)
	case model.RecordIntent:
		v.intents[r.To]++
	case model.RecordOutcome, model.RecordResolve:
		v.intents[r.From]--
		v.intents[r.To]++
	}
}

// End checks that every head that was kept has come by.
func (v *Verifier) End() error {
	for _, h := range v.kept {
		if h.Seq > v.head.Seq {
			return &BrokenError{v.head.Seq + 1, fmt.Sprintf("it is missing: a head that was kept is at %d, the trail ends at %d", h.Seq, v.head.Seq)}
		}
	}
	return nil
}

// Head is that of the last entry.
func (v *Verifier) Head() Head { return v.head }

// Compare says in which states the trail has another number of intents than there are.
func (v *Verifier) Compare(intents map[string]int) (differ []string) {
	states := slices.Collect(maps.Keys(v.intents))
	states = slices.AppendSeq(states, maps.Keys(intents))
	slices.Sort(states)
	for _, s := range slices.Compact(states) {
		if a, b := v.intents[s], intents[s]; a != b {
			differ = append(differ, fmt.Sprintf("%d intents are %s by the trail, %d by the tables", a, s, b))
		}
	}
	return differ
}

// maxLine bounds a line of an export.
const maxLine = 1 << 20

// ErrExport means that a line is no entry.
var ErrExport = errors.New("not an exported entry")

// Read gives each entry of an export, which is a line of JSON each.
func Read(r io.Reader, each func(Entry) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	for n := 1; lines.Scan(); n++ {
		if len(lines.Bytes()) == 0 {
			continue
		}
		var e Entry
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil || e.Seq == 0 {
			return fmt.Errorf("line %d: %w", n, ErrExport)
		}
		if err := each(e); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("reading the export: %w", err)
	}
	return nil
}

// Write writes an entry as a line of an export.
func Write(w io.Writer, e Entry) error {
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	_, err = w.Write(append(line, '\n'))
	return err
}

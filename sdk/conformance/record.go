package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// record is the file of a release's ids. It may be used without a path, and is empty then.
type record struct {
	path   string
	update bool
	found  bool
	said   release
}

// release is what a record holds.
type release struct {
	Plugin    string              `json:"plugin"`
	Version   string              `json:"version"`
	Instances map[string]*reading `json:"instances"`
}

// reading is what an instance gave of the samples: the ids of all, and from a cursor in
// the middle those that follow.
type reading struct {
	IDs    []string `json:"ids"`
	Cursor []byte   `json:"cursor,omitempty"`
	After  []string `json:"after,omitempty"`
}

func readRecord(path string, update bool) (*record, error) {
	r := &record{path: path, update: update, said: release{Instances: map[string]*reading{}}}
	if path == "" || update {
		return r, nil
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the record of ids: %w", err)
	}
	if err := json.Unmarshal(data, &r.said); err != nil {
		return nil, fmt.Errorf("the record of ids %s: %w", path, err)
	}
	r.found = true
	return r, nil
}

// write keeps what this release gives.
func (r *record) write() error {
	if r.path == "" || !r.update || len(r.said.Instances) == 0 {
		return nil
	}
	data, err := json.MarshalIndent(r.said, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(r.path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(r.path, append(data, '\n'), 0o644)
}

// sameIDs compares the ids of the same events with those of the last release, and goes on
// from its cursor.
func sameIDs(ctx context.Context, t *trial) error {
	const samples = 6
	if t.recorded.path == "" {
		return skipf("there is no record of the last release's ids to compare with")
	}
	got, err := t.read(ctx, t.instance.samples(samples), 0)
	if err != nil {
		return err
	}
	now := &reading{IDs: ids(got)}
	if t.recorded.update {
		return t.keep(ctx, now, samples)
	}
	before := t.recorded.said.Instances[t.instance.Name]
	if before == nil {
		return skipf("%s has no ids of it yet; have it written", t.recorded.path)
	}
	do := fmt.Sprintf("Make ids as version %s did; if they must change, say so to operators as of a new connector, and write the record anew.", t.recorded.said.Version)
	// A source that the suite did not fill may have got more since.
	if len(now.IDs) < len(before.IDs) || !slices.Equal(now.IDs[:len(before.IDs)], before.IDs) {
		return fail(do, "the same events have the ids %s, and in version %s they were %s", list(now.IDs), t.recorded.said.Version, list(before.IDs))
	}
	if len(before.Cursor) == 0 || t.instance.Fill == nil {
		return nil
	}
	after, err := t.from(ctx, before.Cursor, samples)
	if err != nil {
		return fail("Go on from the cursor of every version up to your own.", "from a cursor of version %s: %v", t.recorded.said.Version, err)
	}
	if !slices.Equal(after, before.After) {
		return fail("Go on from the cursor of every version up to your own.",
			"from a cursor of version %s come the ids %s, and then they were %s", t.recorded.said.Version, list(after), list(before.After))
	}
	return nil
}

// keep records what this release gives.
func (t *trial) keep(ctx context.Context, now *reading, samples int) error {
	if t.instance.Fill != nil {
		var err error
		if now.Cursor, err = t.cursorAfter(ctx, samples/2); err != nil {
			return err
		}
		if now.After, err = t.from(ctx, now.Cursor, samples); err != nil {
			return err
		}
	}
	r := &t.recorded.said
	r.Plugin, r.Version = t.about.GetName(), t.about.GetVersion()
	r.Instances[t.instance.Name] = now
	return skipf("the ids of this release were written to %s", t.recorded.path)
}

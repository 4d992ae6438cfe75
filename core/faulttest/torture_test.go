//go:build linux

package faulttest

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/kelpie-sec/kelpie/core/faulttest/disk"
)

var build = sync.OnceValues(func() (Programs, error) {
	return temporary("kelpiefault")
})

// job is one run: a seed's world, and what happens to it. Without steps that is drawn
// from the seed.
type job struct {
	seed  uint64
	steps []Step
}

// jobs are the aimed kills, and then seeds; or the one seed that is asked for.
func jobs() []job {
	if *from > 0 {
		return []job{{seed: *from}}
	}
	var all []job
	for i, steps := range Aimed(*hits) {
		all = append(all, job{uint64(1_000_001 + i), steps})
	}
	for i := range *seeds {
		all = append(all, job{seed: uint64(i + 1)})
	}
	return all
}

// TestTorture runs many worlds, some at once.
func TestTorture(t *testing.T) {
	if !*torture {
		t.Skip("takes minutes: \"make torture\", or for the short form \"make torture SHORT=1\"")
	}
	p, err := build()
	if err != nil {
		t.Fatal(err)
	}
	todo, reports := make(chan job), make(chan Report)
	var running sync.WaitGroup
	for range *worlds {
		running.Go(func() {
			for j := range todo {
				reports <- runJob(p, j)
			}
		})
	}
	go func() {
		defer close(reports)
		defer running.Wait()
		defer close(todo)
		for _, j := range jobs() {
			todo <- j
		}
	}()
	total := NewTally()
	for r := range reports {
		total.Add(r.Tally)
		fmt.Printf("seed %-8d %s (%.1f s)\n", r.Seed, verdict(r), r.Took.Seconds())
		if *from > 0 {
			fmt.Println(strings.Join(r.Trace, "\n"))
		}
		if len(r.Problems) > 0 {
			t.Errorf("seed %d:\n%s\nwhat was done:\n%s\nits schedule:\n%s", r.Seed,
				strings.Join(r.Problems, "\n"), strings.Join(r.Trace, "\n"), Text(r.Schedule))
			if r.Seed < 1_000_000 {
				t.Errorf("again, with the same decisions (the machine's timing may differ): make torture SEED=%d", r.Seed)
			}
		}
	}
	fmt.Print("\n", total)
	if *result != "" {
		if err := writeJSON(*result, total); err != nil {
			t.Fatal(err)
		}
	}
}

func writeJSON(file string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(data, '\n'), 0o600)
}

func verdict(r Report) string {
	if len(r.Problems) > 0 {
		return "NOT AS THE MODEL SAYS"
	}
	return fmt.Sprintf("as the model says: %d faults with work, %d without; %d events, %d effects",
		sum(r.Tally.Faults), r.Tally.Idle, r.Tally.Events, sum(r.Tally.Effects))
}

// runJob runs one in a folder of its own, which is kept if anything is wrong.
func runJob(p Programs, j job) Report {
	fail := func(r Report, err error) Report {
		r.Seed, r.Problems = j.seed, append(r.Problems, err.Error())
		return r
	}
	dir, err := os.MkdirTemp("", fmt.Sprintf("kelpie-seed-%d-", j.seed))
	if err != nil {
		return fail(Report{Tally: NewTally()}, err)
	}
	steps := j.steps
	var d *disk.Disk
	if steps == nil {
		if d, err = ownDisk(filepath.Join(dir, "data"), j.seed); err != nil {
			return fail(Report{Tally: NewTally()}, err)
		}
		steps = Schedule(j.seed, d)
	}
	r := Run(p, dir, j.seed, steps)
	if j.steps == nil {
		r.Tally.Seeds = 1
	}
	if len(r.Problems) > 0 {
		r.Problems = append(r.Problems, "its folder is kept: "+dir)
	}
	if d != nil {
		if len(r.Problems) > 0 {
			err = CopyData(filepath.Join(dir, "data.kept"), filepath.Join(dir, "data"))
		}
		err = errors.Join(err, d.Unmount())
	}
	if err == nil && len(r.Problems) == 0 {
		err = os.RemoveAll(dir)
	}
	if err != nil {
		return fail(r, err)
	}
	return r
}

// ownDisk gives every third seed a disk of its own for its data, where there is FUSE.
// Half of these keep no more of names than POSIX promises.
func ownDisk(data string, seed uint64) (*disk.Disk, error) {
	if seed%3 != 0 || disk.Available() != nil {
		return nil, nil
	}
	if err := os.Mkdir(data, 0o700); err != nil {
		return nil, err
	}
	d := disk.New(disk.Settings{Bytes: diskBytes, Strict: seed%2 == 0})
	err := d.Mount(data)
	if errors.Is(err, disk.ErrNoMount) {
		return nil, nil
	}
	return d, err
}

//go:build linux

package faulttest

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kelpie-sec/kelpie/core/faulttest/disk"
)

var only = flag.String("fault", "", "of the disk's faults only the one of this name")

// TestDisks runs worlds whose data folder is on a disk that loses its power, is
// full, or fails.
func TestDisks(t *testing.T) {
	if !*torture {
		t.Skip("takes minutes: \"make torture-disk\"")
	}
	p, err := build()
	if err != nil {
		t.Fatal(err)
	}
	total := NewTally()
	first, last := uint64(1), uint64(*seeds)
	if *from > 0 {
		first, last = *from, *from
	}
	for seed := first; seed <= last; seed++ {
		r := onDisk(t, p, seed)
		r.Tally.Seeds = 1
		total.Add(r.Tally)
		fmt.Printf("seed %d: %s, %.1f s\n", r.Seed, verdict(r), r.Took.Seconds())
		if len(r.Problems) > 0 || *from > 0 {
			fmt.Println(strings.Join(r.Trace, "\n"))
		}
		if len(r.Problems) > 0 {
			t.Errorf("seed %d: %s", r.Seed, strings.Join(r.Problems, "\n"))
		}
	}
	fmt.Print("\n", total)
}

// onDisk runs one seed. Every other disk keeps no more of names than POSIX promises.
func onDisk(t *testing.T, p Programs, seed uint64) Report {
	t.Helper()
	dir, err := os.MkdirTemp("", fmt.Sprintf("kelpie-disk-%d-", seed))
	if err != nil {
		t.Fatal(err)
	}
	d, data := disk.New(disk.Settings{Bytes: diskBytes, Strict: seed%2 == 0}), filepath.Join(dir, "data")
	if err := errors.Join(os.Mkdir(data, 0o700), d.Mount(data)); err != nil {
		t.Skipf("no FUSE here: %v", err)
	}
	var all []Fault
	for _, f := range append(DiskFaults(d), tornTail{}) {
		if *only == "" || f.Name() == *only {
			all = append(all, f)
		}
	}
	r := Run(p, dir, seed, DiskSchedule(seed, all))
	if len(r.Problems) > 0 {
		kept := dir + "-data"
		r.Problems = append(r.Problems, "its folder is kept: "+dir+", and its data: "+kept)
		if err := CopyData(kept, data); err != nil {
			t.Error(err)
		}
	}
	if err := d.Unmount(); err != nil {
		t.Error(err)
	}
	if len(r.Problems) == 0 {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	}
	return r
}

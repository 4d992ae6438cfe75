package faulttest

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

var (
	torture = flag.Bool("torture", false, "run the fault harness")
	seeds   = flag.Int("seeds", 8, "how many seeds")
	from    = flag.Uint64("seed", 0, "the one seed to run; 0: seeds from 1 on")
	workers = flag.Int("worlds", 3, "how many worlds at once")
	result  = flag.String("json", "", "the file that the summary is written to")
)

var build = sync.OnceValues(func() (Programs, error) {
	return temporary("kelpiefault")
})

// made are the folders to remove at the end.
var made struct{ dirs []string }

func temporary(tags string) (Programs, error) {
	dir, err := os.MkdirTemp("", "kelpie-faulttest-")
	if err != nil {
		return Programs{}, err
	}
	made.dirs = append(made.dirs, dir)
	return Build(dir, tags)
}

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	for _, dir := range made.dirs {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

// TestTorture runs seeds, several worlds at once.
func TestTorture(t *testing.T) {
	if !*torture {
		t.Skip("takes minutes: \"make torture\", or for the short form \"make torture SHORT=1\"")
	}
	p, err := build()
	if err != nil {
		t.Fatal(err)
	}
	todo := make(chan uint64)
	reports := make(chan Report)
	var running sync.WaitGroup
	for range *workers {
		running.Go(func() {
			for seed := range todo {
				reports <- runSeed(p, seed)
			}
		})
	}
	go func() {
		defer close(reports)
		defer running.Wait()
		defer close(todo)
		if *from > 0 {
			todo <- *from
			return
		}
		for i := range *seeds {
			todo <- uint64(i + 1)
		}
	}()
	total := NewTally()
	for r := range reports {
		total.Add(r.Tally)
		fmt.Printf("seed %d: %s, %.1f s\n", r.Seed, verdict(r), r.Took.Seconds())
		if len(r.Problems) > 0 || *from > 0 {
			fmt.Println(strings.Join(r.Trace, "\n"))
		}
		if len(r.Problems) > 0 {
			t.Errorf("seed %d: %s\n%s\nits schedule:\n%s\nrun it again: make torture SEED=%d", r.Seed,
				strings.Join(r.Problems, "\n"), strings.Join(r.Trace, "\n"), Text(r.Schedule), r.Seed)
		}
	}
	fmt.Print("\n", total)
	if *result != "" {
		data, err := json.MarshalIndent(total, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(*result, append(data, '\n'), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func verdict(r Report) string {
	if len(r.Problems) > 0 {
		return "NOT AS THE MODEL SAYS"
	}
	return fmt.Sprintf("as the model says; %d faults found work, %d did not; %d events, %d effects",
		sum(r.Tally.Faults), r.Tally.Idle, r.Tally.Events, sum(r.Tally.Effects))
}

// runSeed runs one seed in a folder of its own, which is kept if anything is wrong.
func runSeed(p Programs, seed uint64) Report {
	dir, err := os.MkdirTemp("", fmt.Sprintf("kelpie-seed-%d-", seed))
	if err != nil {
		return Report{Seed: seed, Problems: []string{err.Error()}, Tally: NewTally()}
	}
	r := Run(p, dir, seed, Schedule(seed))
	if len(r.Problems) == 0 {
		err = os.RemoveAll(dir)
	} else {
		r.Problems = append(r.Problems, "its folder is kept: "+filepath.Clean(dir))
	}
	if err != nil {
		r.Problems = append(r.Problems, err.Error())
	}
	return r
}

package faulttest

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
)

var (
	torture = flag.Bool("torture", false, "run the fault harness")
	hits    = flag.Int("hits", 3, "how often the aimed kills hit each point")
	seeds   = flag.Int("seeds", 100, "how many seeds")
	from    = flag.Uint64("seed", 0, "the one seed to run; 0: the aimed kills, and seeds from 1 on")
	worlds  = flag.Int("worlds", 3, "how many worlds at once")
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

// job is one run: a seed's world, and what happens to it.
type job struct {
	seed  uint64
	steps []Step
}

// jobs are the aimed kills, and then seeds; or the one seed that is asked for.
func jobs() []job {
	if *from > 0 {
		return []job{{*from, Schedule(*from)}}
	}
	var all []job
	for i, steps := range Aimed(*hits) {
		all = append(all, job{uint64(1_000_001 + i), steps})
	}
	for i := range *seeds {
		all = append(all, job{uint64(i + 1), Schedule(uint64(i + 1))})
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
	dir, err := os.MkdirTemp("", fmt.Sprintf("kelpie-seed-%d-", j.seed))
	if err != nil {
		return Report{Seed: j.seed, Problems: []string{err.Error()}, Tally: NewTally()}
	}
	r := Run(p, dir, j.seed, j.steps)
	if len(r.Problems) > 0 {
		r.Problems = append(r.Problems, "its folder is kept: "+dir)
	} else if err := os.RemoveAll(dir); err != nil {
		r.Problems = append(r.Problems, err.Error())
	}
	return r
}

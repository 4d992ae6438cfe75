package faulttest

import (
	"flag"
	"os"
	"testing"
)

var (
	torture = flag.Bool("torture", false, "run the fault harness")
	hits    = flag.Int("hits", 3, "how often the aimed kills hit each point")
	seeds   = flag.Int("seeds", 100, "how many seeds")
	from    = flag.Uint64("seed", 0, "the one seed to run; 0: the aimed kills, and seeds from 1 on")
	worlds  = flag.Int("worlds", 5, "how many worlds at once")
	long    = flag.Bool("long", false, "the long form of TestMisbehaving: ten seconds for each, and all of them")
	result  = flag.String("json", "", "the file that the summary is written to")
)

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

//go:build linux

package faulttest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/kelpie-sec/kelpie/core/faulttest/disk"
)

// markPath is the log's record of what it has acknowledged, in the data folder.
const markPath = "log/acknowledged"

// diskReserve is the free space below which ingest stops: what a disk of diskBytes has
// by default.
const (
	diskBytes   = 8 << 30
	diskReserve = 1 << 30
)

// powerCut takes the power from the data folder's disk, and with it the core. What the
// log had acknowledged by then must be there: its record of that is carried over, as
// if it alone had been synced, so that the start refuses where something is missing.
type powerCut struct{ d *disk.Disk }

func (powerCut) Name() string { return "power cut" }

func (f powerCut) Apply(w *World, r *rand.Rand) (Work, error) {
	work, err := w.Press(w.Work)
	if err != nil {
		return work, err
	}
	// Anywhere between two writes.
	before, _ := f.d.Counts(disk.Sync)
	until := before + r.IntN(60)
	err = w.within(time.Second, "some writes", func() (bool, error) {
		n, _ := f.d.Counts(disk.Sync)
		return n >= until, w.Drip(3)
	})
	if err = ignorePatience(err); err != nil {
		return work, err
	}
	return work, f.cut(w, r.Uint64())
}

func (f powerCut) cut(w *World, seed uint64) error {
	if err := w.alive(); err != nil {
		return err
	}
	f.d.PowerOff()
	mark, marked := f.d.Live(markPath)
	if err := w.core.cmd.Process.Kill(); err != nil {
		return err
	}
	_, err := f.d.PowerOn(seed)
	if err := errors.Join(err, w.Killed()); err != nil {
		return err
	}
	if marked {
		path := w.path(filepath.Join("data", markPath))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, mark, 0o600)); err != nil {
			return err
		}
	}
	return w.Start()
}

// diskFull has somebody else fill the disk for a while: into the reserve, or to the last
// byte, or until there is no inode.
type diskFull struct{ d *disk.Disk }

func (diskFull) Name() string { return "disk full" }

func (f diskFull) Apply(w *World, r *rand.Rand) (Work, error) {
	if err := w.Up(); err != nil {
		return Work{}, err
	}
	work, err := w.Press(w.Work)
	if err != nil {
		return work, err
	}
	switch r.IntN(4) {
	case 0:
		f.d.Fill(diskReserve / 2)
	case 1:
		f.d.TakeInodes(0)
	default:
		f.d.Fill(int64(r.IntN(3) * r.IntN(300_000)))
	}
	return work, last(w, r, func() { f.d.Fill(-1); f.d.TakeInodes(-1) })
}

// last lets a fault of the disk last, while there is more to do; the core may be killed,
// or stopped, meanwhile.
func last(w *World, r *rand.Rand, end func()) error {
	defer end()
	if err := w.Drip(1 + w.ration/2); err != nil {
		return err
	}
	time.Sleep(pick(r, stops))
	var err error
	switch r.IntN(4) {
	case 0:
		err = w.Kill()
	case 1:
		err = w.stopSick()
	case 2:
		return nil
	default: // who has lived through it goes on
		end()
		return w.caughtUp()
	}
	if err == nil && r.IntN(2) == 0 {
		err = w.startSick(r)
	}
	if err != nil {
		return err
	}
	end()
	return w.revived()
}

// startSick starts the core while it can't write: in vain, or it waits.
func (w *World) startSick(r *rand.Rand) error {
	if err := w.Start(); err != nil {
		return err
	}
	select {
	case <-w.core.ended:
	case <-time.After(pick(r, stops)):
	}
	return nil
}

// revived starts the core again if it has ended, also as it started; a core that is up
// does not end, whatever the disk does.
func (w *World) revived() error {
	err := w.within(patience, "the core to answer", func() (bool, error) {
		var plugins []plugin
		return w.get("plugins", &plugins) == nil || w.alive() != nil, nil
	})
	if err == nil && w.alive() != nil {
		err = w.Start()
	}
	return err
}

// stopSick tells the core to stop while it can't write. It may say that something could
// not be written, and must end.
func (w *World) stopSick() error {
	if err := w.alive(); err != nil {
		return err
	}
	if err := w.core.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-w.core.ended:
		return nil
	case <-time.After(patience):
		_ = w.core.cmd.Process.Signal(syscall.SIGABRT)
		<-w.core.ended
		return fmt.Errorf("the core did not stop within %s with a disk that takes nothing", patience)
	}
}

// diskFails has writes or syncs of the disk fail for a while, and may take the power
// then: what could not be synced may not have been acknowledged.
type diskFails struct{ d *disk.Disk }

func (diskFails) Name() string { return "disk fails" }

func (f diskFails) Apply(w *World, r *rand.Rand) (Work, error) {
	match := someFiles(r)
	return sick(f.d, w, r, func() {
		f.d.Fail(pick(r, []disk.Op{disk.Sync, disk.Sync, disk.Write}), syscall.EIO, match)
	})
}

// writesDenied has the disk take no write and no name for a while.
type writesDenied struct{ d *disk.Disk }

func (writesDenied) Name() string { return "writes denied" }

func (f writesDenied) Apply(w *World, r *rand.Rand) (Work, error) {
	match, errno := someFiles(r), pick(r, []syscall.Errno{syscall.EROFS, syscall.EDQUOT, syscall.EACCES})
	return sick(f.d, w, r, func() {
		f.d.Fail(disk.Write, errno, match)
		f.d.Fail(disk.Name, errno, match)
	})
}

// someFiles draws which files a fault is about.
func someFiles(r *rand.Rand) func(string) bool {
	if r.IntN(2) == 0 {
		suffix := pick(r, []string{".blk", "-wal", ".db"})
		return func(name string) bool { return strings.HasSuffix(name, suffix) }
	}
	// What SQLite keeps in shared memory is never read from the disk; a page of it that
	// could not be written and was dropped from memory would be an older one.
	return func(name string) bool { return !strings.HasSuffix(name, "-shm") }
}

// sick has the disk misbehave for a while.
func sick(d *disk.Disk, w *World, r *rand.Rand, fail func()) (Work, error) {
	if err := w.Up(); err != nil {
		return Work{}, err
	}
	work, err := w.Press(w.Work)
	if err != nil {
		return work, err
	}
	fail()
	if r.IntN(3) > 0 {
		return work, last(w, r, d.Heal)
	}
	err = w.Drip(1 + w.ration/2)
	time.Sleep(pick(r, stops))
	d.Heal()
	if err != nil {
		return work, err
	}
	time.Sleep(time.Duration(r.IntN(1500)) * time.Millisecond)
	return work, powerCut{d}.cut(w, r.Uint64())
}

// inputsDenied has all writes of INPUTS fail for a while: what match has read can't be
// written on, and must be when the disk is well again, without a new start.
type inputsDenied struct{ d *disk.Disk }

func (inputsDenied) Name() string { return "writes of INPUTS denied" }

func (f inputsDenied) Apply(w *World, r *rand.Rand) (Work, error) {
	if err := w.Up(); err != nil {
		return Work{}, err
	}
	work, err := w.Press(w.Work)
	if err != nil {
		return work, err
	}
	_, before := f.d.Counts(disk.Write)
	f.d.Fail(disk.Write, syscall.EIO, func(name string) bool { return strings.Contains(name, "/INPUTS/msgs/") })
	failed := w.within(pressPatience, "a write that fails", func() (bool, error) {
		_, now := f.d.Counts(disk.Write)
		return now > before, w.Drip(1)
	})
	if errors.Is(failed, errPatience) {
		work, failed = Work{}, nil
	}
	err = errors.Join(failed, w.Drip(1+w.ration/2))
	time.Sleep(pick(r, stops))
	f.d.Heal()
	if err == nil {
		err = w.caughtUp()
	}
	return work, err
}

// DiskFaults are those of the data folder's disk.
func DiskFaults(d *disk.Disk) []Fault {
	return []Fault{
		powerCut{d},
		powerCut{d},
		powerCut{d},
		diskFull{d},
		diskFull{d},
		diskFails{d},
		writesDenied{d},
		inputsDenied{d},
		coreKilled{},
	}
}

// faultsOfDisk is how many faults a disk's schedule has.
const faultsOfDisk = 10

// DiskSchedule draws what happens to the disk of a seed's world.
func DiskSchedule(seed uint64, all []Fault) []Step {
	r := stream(seed, "disk")
	var steps []Step
	for i := range faultsOfDisk {
		steps = append(steps, Step{
			After: time.Duration(r.IntN(300)) * time.Millisecond, Fault: pick(r, all), stream: fmt.Sprint("disk ", i),
		})
	}
	return steps
}

//go:build kelpiefault

package fault

import (
	"encoding/binary"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Wall is what the machine's wall clock shows at a time that it gave, moved by the
// nanoseconds that stand in the first eight bytes of the file that KELPIE_FAULT_CLOCK
// names. It has no monotonic reading.
func Wall(now time.Time) time.Time { return now.Round(0).Add(offset()) }

// Machine is when the machine's own clock shows a time of Wall's: what is told to a
// process that reads that one.
func Machine(t time.Time) time.Time { return t.Add(-offset()) }

// Life is the name of the machine's life and how long it has lasted, as they are after as
// many restarts of the machine as the second eight bytes of the file say, the last at the
// uptime that the third eight bytes say.
func Life(boot string, uptime time.Duration) (string, time.Duration) {
	life, since := word(1), word(2)
	if life == 0 {
		return boot, uptime
	}
	return fmt.Sprintf("%s-%d", boot, life), uptime - time.Duration(since)
}

// clockSize is how many bytes the file has.
const clockSize = 24

// clockFile is the file, as it is in memory; nil: there is none.
var clockFile = sync.OnceValue(func() []byte {
	f, err := os.Open(os.Getenv("KELPIE_FAULT_CLOCK"))
	if err != nil {
		return nil
	}
	defer f.Close()
	data, err := unix.Mmap(int(f.Fd()), 0, clockSize, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil
	}
	return data
})

func offset() time.Duration { return time.Duration(word(0)) }

// word is the n-th eight bytes of the file, from 0.
func word(n int) uint64 {
	data := clockFile()
	if data == nil {
		return 0
	}
	return binary.NativeEndian.Uint64(data[8*n:])
}

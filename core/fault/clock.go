//go:build kelpiefault

package fault

import (
	"encoding/binary"
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

// clockFile is the file, as it is in memory; nil: there is none.
var clockFile = sync.OnceValue(func() []byte {
	f, err := os.Open(os.Getenv("KELPIE_FAULT_CLOCK"))
	if err != nil {
		return nil
	}
	defer f.Close()
	data, err := unix.Mmap(int(f.Fd()), 0, 8, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil
	}
	return data
})

func offset() time.Duration {
	data := clockFile()
	if data == nil {
		return 0
	}
	return time.Duration(binary.NativeEndian.Uint64(data))
}

package engine

import (
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kelpie-sec/kelpie/core/fault"
)

// machineUptime reads how long this life of the machine has lasted, sleep included, and
// its name (proc_sys_kernel(5), random/boot_id). No change of the clock touches it.
func machineUptime() func() (boot string, uptime time.Duration) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return processUptime()
	}
	boot := strings.TrimSpace(string(id))
	return func() (string, time.Duration) {
		var t unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
			return "", 0
		}
		return fault.Life(boot, time.Duration(t.Nano()))
	}
}

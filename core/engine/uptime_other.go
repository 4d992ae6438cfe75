//go:build !linux

package engine

import "time"

func machineUptime() func() (boot string, uptime time.Duration) { return processUptime() }

//go:build !kelpiefault

// Package fault is where the fault harness reaches into the program: places at which
// it kills, and a wall clock that it can move. Without the build tag "kelpiefault"
// none of it is there.
package fault

import "time"

// Point is a place between two steps that a crash may separate.
func Point(string) {}

// Wall is what the machine's wall clock shows at a time that it gave; it has no
// monotonic reading.
func Wall(now time.Time) time.Time { return now.Round(0) }

// Machine is when the machine's own clock shows a time of Wall's: what is told to a
// process that reads that one.
func Machine(t time.Time) time.Time { return t }

// Life is the name of the machine's life and how long it has lasted.
func Life(boot string, uptime time.Duration) (string, time.Duration) { return boot, uptime }

//go:build !kelpiefault

// Package fault names the places at which the fault harness stops or kills the
// program. Without the build tag "kelpiefault" a point is nothing at all.
package fault

// Point is a place between two steps that a crash may separate.
func Point(string) {}

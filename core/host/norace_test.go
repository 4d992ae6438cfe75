//go:build !race

package host

const withRace = false

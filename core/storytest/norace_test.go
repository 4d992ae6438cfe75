//go:build !race

package storytest_test

var raceFlags []string

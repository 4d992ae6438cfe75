//go:build race

package storytest_test

// What runs is built as the test is.
var raceFlags = []string{"-race"}

//go:build !linux

package host

import (
	"fmt"
	"runtime"
)

// Become is for Linux alone.
func Become(string, Grant, []string) error {
	return fmt.Errorf("a plugin is confined on Linux alone, and this is %s", runtime.GOOS)
}

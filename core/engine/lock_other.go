//go:build !unix

package engine

import (
	"fmt"
	"os"
)

// takeLock opens the lock file. Outside Unix nothing keeps a second process out of
// the folder but the log's own lock.
func takeLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	return f, nil
}

func releaseLock(f *os.File) error { return f.Close() }

func privateSocket(int) error { return nil }

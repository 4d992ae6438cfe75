//go:build unix

package config

import (
	"errors"
	"testing"
)

func TestAlone(t *testing.T) {
	dir := t.TempDir()
	leave, err := Alone(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Alone(dir); !errors.Is(err, ErrBusy) {
		t.Errorf("a second one: %v", err)
	}
	leave()
	if leave, err = Alone(dir); err != nil {
		t.Fatal("after the first has left:", err)
	}
	leave()
}

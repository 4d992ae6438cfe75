package main

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// A file that may not be read is told, and the others are read; also once it may be.
func TestPermissionDenied(t *testing.T) {
	dir := t.TempDir()
	secret, open := filepath.Join(dir, "a.log"), filepath.Join(dir, "b.log")
	write(t, secret, "{\"n\":1}\n")
	write(t, open, "{\"n\":2}\n")
	must(t, os.Chmod(filepath.Dir(dir), 0o755))
	must(t, os.Chmod(dir, 0o755))
	must(t, os.Chmod(secret, 0))
	must(t, os.Chmod(open, 0o644))
	if os.Geteuid() == 0 { // who may read everything: give that up, in this thread
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		must(t, syscall.Setfsuid(65534))
		defer func() { must(t, syscall.Setfsuid(0)) }()
	}
	w, out, _ := watching(t, configured(t, block{"path": filepath.Join(dir, "*.log")}), nil)
	round(t, w)
	if out.trouble == nil || !strings.Contains(out.trouble.Error(), "a.log: permission denied") {
		t.Errorf("trouble = %v", out.trouble)
	}
	if got := out.lines(); len(got) != 1 || got[0] != `{"n":2}` {
		t.Errorf("lines %q", got)
	}
	if os.Geteuid() == 0 {
		must(t, syscall.Setfsuid(0))
	}
	must(t, os.Chmod(secret, 0o644))
	round(t, w)
	if out.trouble != nil || len(out.events()) != 2 {
		t.Errorf("trouble = %v with %d events", out.trouble, len(out.events()))
	}
}

package main

import (
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"testing"
)

// TestGuard: it lives as long as somebody needs it, and then spares what is no group of
// a program any more.
func TestGuard(t *testing.T) {
	g := &guard{}
	log := slog.New(slog.DiscardHandler)
	g.join(log)
	g.join(log)
	if g.cmd == nil {
		t.Fatal("there is no guard")
	}
	pid := g.cmd.Process.Pid
	spared := exec.Command("sleep", "1000")
	spared.SysProcAttr = apart()
	if err := spared.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = spared.Process.Kill(); _ = spared.Wait() }()
	g.tell(spared.Process.Pid, true)
	g.tell(spared.Process.Pid, false)
	g.leave()
	if !alive(pid) {
		t.Error("the guard ended before its last user")
	}
	g.leave()
	if alive(pid) || !alive(spared.Process.Pid) {
		t.Errorf("after the last user: guard alive %v, what it was not to end alive %v", alive(pid), alive(spared.Process.Pid))
	}
	g.tell(1, true) // nobody listens
	g.join(log)
	g.leave()
}

// TestKeep ends what is left, and whatever it is told, nothing that is no group of a
// program.
func TestKeep(t *testing.T) {
	left := exec.Command("sleep", "1000")
	left.SysProcAttr = apart()
	if err := left.Start(); err != nil {
		t.Fatal(err)
	}
	read, write := io.Pipe()
	done := make(chan struct{})
	go func() { defer close(done); keep(read) }()
	for _, text := range []string{"0", "1", "-1", "x", "", strconv.Itoa(left.Process.Pid)} {
		if _, err := io.WriteString(write, text+"\n"); err != nil {
			t.Fatal(err)
		}
	}
	if !alive(left.Process.Pid) || !alive(os.Getpid()) {
		t.Error("it did not wait for the end")
	}
	write.Close()
	<-done
	if err := left.Wait(); err == nil {
		t.Error("what was left goes on")
	}
}

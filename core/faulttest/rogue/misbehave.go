package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// misbehave does what needs no message to be done with.
func misbehave(way string) {
	switch way {
	case crash:
		crashed("I cannot go on")
	case hang:
		select {}
	case leak:
		eat()
	case noise:
		shout()
	case bomb, bombs:
		explode.Do(func() { go fork(way == bombs) })
	case trickle:
		slow.Store(true)
	}
}

// eat takes memory, and uses it, until there is none.
func eat() {
	var all [][]byte
	for {
		part := make([]byte, 8<<20)
		for i := 0; i < len(part); i += os.Getpagesize() {
			part[i] = 1
		}
		all = append(all, part)
		runtime.KeepAlive(all)
	}
}

// shout prints lines, long ones too, to both outputs for as long as it lives.
func shout() {
	line := strings.Repeat("look at me ", 100) + "\n"
	for _, out := range []*os.File{stdout, stderr} {
		go func() {
			for n := 0; ; n++ {
				text := line
				if n%100 == 0 {
					text = strings.Repeat("x", 1<<20) + "\n"
				}
				if _, err := out.WriteString(text); err != nil {
					return
				}
			}
		}()
	}
}

var explode sync.Once

// fork starts processes for as long as it is let, and in sessions of their own, if wished,
// where no signal to its parent's group finds them.
func fork(apart bool) {
	for {
		c := exec.Command("/bin/sh", "-c", "while :; do :; done")
		c.SysProcAttr = &syscall.SysProcAttr{Setsid: apart}
		if err := c.Start(); err != nil {
			fmt.Fprintln(stderr, "no more processes:", err)
			time.Sleep(time.Second)
			continue
		}
		go func() { _ = c.Wait() }() // it ends with everything
	}
}

//go:build linux

package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// try does what a misbehaving plugin might, from inside of its process: "read PATH",
// "dial ADDRESS" and so on. It says "done", or why not.
func try(attempt string) string {
	what, about, _ := strings.Cut(attempt, " ")
	if err := attempts[what](about); err != nil {
		return err.Error()
	}
	return "done"
}

var attempts = map[string]func(string) error{
	"read": func(path string) error { _, err := os.ReadFile(path); return err },
	"list": func(path string) error { _, err := os.ReadDir(path); return err },
	"append": func(path string) error {
		f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = f.WriteString("x\n")
		f.Close()
		return err
	},
	"make":   func(path string) error { return os.WriteFile(path, []byte("x"), 0o600) },
	"remove": os.Remove,
	"run":    func(path string) error { return exec.Command(path).Run() },
	"plant": func(dir string) error {
		path := filepath.Join(dir, "program")
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o700); err != nil {
			return err
		}
		return exec.Command(path).Run()
	},
	"dial": func(address string) error {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err
	},
	"multipath": func(address string) error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		_, text, _ := net.SplitHostPort(address)
		port, _ := strconv.Atoi(text)
		return unix.Connect(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
	},
	"socket": func(family string) error {
		n, _ := strconv.Atoi(family)
		fd, err := unix.Socket(n, unix.SOCK_DGRAM, 0)
		if err == nil {
			unix.Close(fd)
		}
		return err
	},
	"uring": func(string) error {
		var parameters [120]byte
		fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&parameters)), 0)
		if errno != 0 {
			return errno
		}
		unix.Close(int(fd))
		return nil
	},
	"listen": func(address string) error {
		l, err := net.Listen("tcp", address)
		if err == nil {
			l.Close()
		}
		return err
	},
	"lookup": func(name string) error {
		_, err := net.DefaultResolver.LookupHost(context.Background(), name)
		return err
	},
	"thread": eachThread(signals), "memory": eachThread(memories), "owner": eachThread(owners), "limit": eachThread(limits), "pace": eachThread(paces),
	"fastopen": func(address string) error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		_, text, _ := net.SplitHostPort(address)
		port, _ := strconv.Atoi(text)
		return unix.Sendto(fd, []byte("hi"), unix.MSG_FASTOPEN, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
	},
	"signal": func(pid string) error { n, _ := strconv.Atoi(pid); return syscall.Kill(n, 0) },
	"privilege": func(string) error {
		return unix.Mount("none", "/tmp", "tmpfs", 0, "")
	},
	// What any process does to itself and to what it has started.
	"itself": func(string) error {
		child := exec.Command("/bin/sleep", "1000")
		if err := child.Start(); err != nil {
			return err
		}
		ended := child.Process.Kill()
		_ = child.Wait()
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		var now unix.Rlimit
		var all unix.CPUSet
		return errors.Join(
			ended, unix.Tgkill(os.Getpid(), unix.Gettid(), 0), unix.Kill(os.Getpid(), 0),
			unix.Prlimit(0, unix.RLIMIT_CORE, nil, &now), unix.Prlimit(0, unix.RLIMIT_CORE, &now, nil),
			unix.SchedGetaffinity(0, &all), unix.SchedSetaffinity(0, &all), setNice(unix.PRIO_PROCESS, 0),
		)
	},
	"temporary": func(string) error { _, err := os.CreateTemp("", "x"); return err },
	"uid":       func(string) error { return fmt.Errorf("%d", os.Getuid()) },
	"fork": func(text string) error { // a bomb that counts
		most, _ := strconv.Atoi(text)
		for n := range most {
			child := exec.Command("/bin/sleep", "1000")
			if err := child.Start(); err != nil {
				return fmt.Errorf("after %d: %w", n, err)
			}
		}
		return nil
	},
	"open": func(text string) error {
		most, _ := strconv.Atoi(text)
		for n := range most {
			if _, err := syscall.Open("/dev/null", syscall.O_RDONLY, 0); err != nil {
				return fmt.Errorf("after %d: %w", n, err)
			}
		}
		return nil
	},
	"leak": func(text string) error {
		most, _ := strconv.Atoi(text)
		var kept [][]byte
		for range most {
			b := make([]byte, 1<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			kept = append(kept, b)
		}
		return fmt.Errorf("has %d MiB", len(kept))
	},
	"spin": func(string) error {
		for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		}
		return nil
	},
}

//go:build linux

package faulttest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// socketCut shuts the connection between the core and a plugin, both of which live on.
type socketCut struct{}

func (socketCut) Name() string { return "socket cut" }

func (socketCut) Apply(w *World, r *rand.Rand) (Work, error) {
	pid, work, err := w.victim(r)
	if err != nil || pid == 0 {
		return Work{}, err
	}
	cut, err := shutdownAll(pid)
	if err != nil || cut == 0 {
		return Work{}, err
	}
	return work, nil
}

// shutdownAll shuts down every connection on a unix socket with a path that a process
// holds, by copies of its descriptors.
func shutdownAll(pid int) (cut int, err error) {
	process, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return 0, nil // it has ended
	}
	defer unix.Close(process)
	accepted, err := connections(pid)
	if err != nil {
		return 0, nil
	}
	for _, fd := range accepted {
		own, err := unix.PidfdGetfd(process, fd, 0)
		if err != nil {
			return cut, fmt.Errorf("descriptor %d of process %d: %w", fd, pid, err)
		}
		if unix.Shutdown(own, unix.SHUT_RDWR) == nil {
			cut++
		}
		unix.Close(own)
	}
	return cut, nil
}

// connections are the descriptors of a process that are connected unix sockets with a
// path of a plugin's: those that its server has accepted.
func connections(pid int) ([]int, error) {
	table, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		return nil, err
	}
	connected := map[string]bool{}
	for line := range bytes.Lines(table) {
		// Num RefCount Protocol Flags Type St Inode Path; St 03 is connected.
		f := strings.Fields(string(line))
		if len(f) == 8 && f[5] == "03" && strings.Contains(f[7], "/plugin") {
			connected[f[6]] = true
		}
	}
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		return nil, err
	}
	var all []int
	for _, link := range links {
		to, err := os.Readlink(link)
		if err != nil {
			continue // it is closed
		}
		inode, ok := strings.CutPrefix(to, "socket:[")
		if ok && connected[strings.TrimSuffix(inode, "]")] {
			if fd, err := strconv.Atoi(filepath.Base(link)); err == nil {
				all = append(all, fd)
			}
		}
	}
	return all, nil
}

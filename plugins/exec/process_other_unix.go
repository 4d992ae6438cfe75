//go:build unix && !linux

package main

import "syscall"

// attributes of a program's process. That it ends with this one there is no way to say.
func attributes() *syscall.SysProcAttr { return apart() }

// apart are those of a process that outlives this one.
func apart() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// awaitExit would wait without reaping; there is no such call here.
func awaitExit(int) bool { return false }

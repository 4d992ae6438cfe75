//go:build linux

package host

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// sharedEnv tells tests that they run where no name space can be made.
const sharedEnv = "KELPIE_HOST_TEST_SHARED"

// lacksHere is what the first process's confinement lacks, besides name spaces where none
// can be made.
func lacksHere(t testing.TB, h *Host) []string {
	t.Helper()
	held := h.Status()[0].Confined
	lacks := held.Lacks
	if wants := os.Geteuid() == 0 || held.Limits.Processes > 0; os.Getenv(sharedEnv) == "" || !wants {
		return lacks
	}
	others := slices.DeleteFunc(slices.Clone(lacks), func(lack string) bool {
		return strings.Contains(lack, "allows no name space of its own") || strings.Contains(lack, "allows no user name spaces")
	})
	if len(others) == len(lacks) {
		t.Errorf("it does not tell that there are no name spaces, but %v", lacks)
	}
	return others
}

// Kelpie seldom runs as root, as tests often do: they are run once more as an account with
// no privileges, and as they would be in a container.
func TestElsewhere(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("who is not root can become nobody else, and has run the tests already")
	}
	const confinement = "^Test(NoNetwork|Confined|Unconfined|WhatIsNotEnforced|RunsAsAnother|Limits|Fact)"
	nobody := syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	for _, c := range []struct {
		name   string
		how    syscall.SysProcAttr
		before func() error // on the thread that starts the tests
		tests  string
	}{
		{name: "an account without privileges", how: nobody, tests: confinement},
		{name: "such an account of a container", how: nobody, before: forbidNameSpaces, tests: confinement},
		{name: "root of a container", before: dropMost, tests: confinement},
		{name: "root where nobody may be traced", before: forbidTracing, tests: "^Test(Limits|PluginIsFree)"},
		// It has the number that a plugin has in a name space of its own.
		{name: "the first process of a container", how: syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID}, tests: "^TestPluginIsFreeWithItself$"},
	} {
		t.Run(c.name, func(t *testing.T) {
			exe := ownExecutable(t, c.how.Credential)
			tests := exec.Command(exe, "-test.run="+c.tests, "-test.v")
			tests.Dir = filepath.Dir(exe)
			tests.Env = append(os.Environ(), "TMPDIR="+tests.Dir)
			tests.SysProcAttr = &c.how
			var said bytes.Buffer
			tests.Stdout, tests.Stderr = &said, &said
			ended := make(chan error, 1)
			go onThreadOfItsOwn(func() {
				if c.before != nil {
					tests.Env = append(tests.Env, sharedEnv+"=1")
					if err := c.before(); err != nil {
						ended <- err
						return
					}
				}
				ended <- tests.Run()
			})
			if err := <-ended; err != nil || !strings.Contains(said.String(), "--- PASS") {
				t.Errorf("%v\n%s", err, said.String())
			}
		})
	}
}

// forbidNameSpaces as containers do it, for what this thread starts.
func forbidNameSpaces() error {
	var f filter
	f.add(load(dataCall))
	f.argument(unix.SYS_CLONE, dataFirst, has(unix.CLONE_NEWUSER))
	f.argument(unix.SYS_UNSHARE, dataFirst, has(unix.CLONE_NEWUSER))
	f.add(answer(0))
	return install(f)
}

// forbidTracing as a hardened machine does it (kernel.yama.ptrace_scope=3).
func forbidTracing() error {
	var f filter
	f.add(load(dataCall))
	f.argument(unix.SYS_PTRACE, dataFirst, is(unix.PTRACE_TRACEME))
	f.add(answer(0))
	return install(f)
}

// dropMost rights of root's that a container does not have.
func dropMost() error {
	for _, capability := range []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_SYS_PTRACE, unix.CAP_SYS_RESOURCE} {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, capability, 0, 0, 0); err != nil {
			return err
		}
	}
	return nil
}

// ownExecutable is a copy of the tests in a folder, both of which are somebody's own.
func ownExecutable(t *testing.T, owner *syscall.Credential) string {
	t.Helper()
	text, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	exe := filepath.Join(shortDir(t), "host.test")
	if err := os.WriteFile(exe, text, 0o755); err != nil {
		t.Fatal(err)
	}
	if owner != nil {
		for _, path := range []string{filepath.Dir(exe), exe} {
			if err := os.Chown(path, int(owner.Uid), int(owner.Gid)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return exe
}

// A plugin may do to itself what any process may, though its numbers are those of the core.
func TestPluginIsFreeWithItself(t *testing.T) {
	for _, limits := range []Limits{{}, {Processes: 512}} {
		a := trying("enrichment.a", fakeConfig{Try: []string{"itself x"}})
		a.Confinement.Limits = limits
		h := started(t, settings(t, quick(), a), quiet())
		if said := tried(t, h, "enrichment.a")["itself x"]; said != "done" {
			t.Errorf("with limits %+v: %s", limits, said)
		}
	}
}

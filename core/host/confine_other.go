//go:build !linux

package host

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// kernel of another system confines nothing; that is told.
type kernel struct{}

func askKernel() kernel { return kernel{} }

func onFirstThread() bool { return false }

func (kernel) grants() bool { return false }

func (kernel) lacks(*confinement) (all, grave []string) {
	all = []string{fmt.Sprintf("anything: Kelpie confines plugins on Linux alone, and this is %s", runtime.GOOS)}
	return all, all
}

func (kernel) enter(*confinement, *os.File, []string) (ground, error) { return ground{}, nil }

func (c *confinement) as(*exec.Cmd, []string) error {
	if c.user != "" && !c.off {
		return &permanentError{fmt.Errorf("it is to run as user %q, which Kelpie can do on Linux alone", c.user)}
	}
	return nil
}

func (*confinement) give(*os.File) {}

func (*confinement) closed(string) string { return "" }

func loosen(_ *syscall.SysProcAttr, refusal error) (string, error) { return "", refusal }

func (*confinement) limit(int, *syscall.SysProcAttr) error { return nil }

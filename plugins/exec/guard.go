package main

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"time"
)

// guardEnv makes a process of this executable a guard.
const guardEnv = "KELPIE_EXEC_GUARD"

// guard is a process beside this one that ends what programs have started if this one
// is killed, and so cannot: the kernel ends the programs, and not their groups. The first
// instance makes it, and the last ends it.
type guard struct {
	mu    sync.Mutex
	users int
	cmd   *exec.Cmd
	to    *os.File // its standard input, which ends with this process; nil: there is none
}

// join is called once for each leave.
func (g *guard) join(log *slog.Logger) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.users++; g.users > 1 {
		return
	}
	if err := g.start(); err != nil {
		log.Warn("what programs start may go on if this plugin is killed: no process can be made to see to it", "error", err)
	}
}

func (g *guard) start() error {
	path := "/proc/self/exe" // whatever has its path by now
	if runtime.GOOS != "linux" {
		var err error
		if path, err = os.Executable(); err != nil {
			return err
		}
	}
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	defer read.Close()
	g.cmd = &exec.Cmd{
		Path: path, Args: []string{"kelpie-exec-guard"}, Env: []string{guardEnv + "=1"}, Dir: "/",
		Stdin: read, SysProcAttr: apart(),
	}
	if err := g.cmd.Start(); err != nil {
		write.Close()
		return err
	}
	g.to = write
	return nil
}

func (g *guard) leave() {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.users--; g.users > 0 || g.to == nil {
		return
	}
	g.to.Close()
	g.to = nil
	_ = g.cmd.Wait()
}

// tell it that a group has begun, or is about to be no more. A guard that does not
// listen any more holds nobody up for long.
func (g *guard) tell(pid int, begun bool) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.to == nil {
		return
	}
	if !begun {
		pid = -pid
	}
	_ = g.to.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = fmt.Fprintln(g.to, pid)
}

// keep is a guard's life: it learns of groups until who tells it is gone, and then ends
// those that are left.
func keep(in io.Reader) {
	groups := map[int]bool{}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		pid, err := strconv.Atoi(lines.Text())
		switch {
		case err != nil:
		case pid > 1:
			groups[pid] = true
		default:
			delete(groups, -pid)
		}
	}
	for pid := range groups {
		signalGroup(pid, signalKill)
	}
}

package sdk

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
)

// startDebug starts the test's binary by hand, and gives what its line names.
func startDebug(t *testing.T, dir string) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "--debug")
	cmd.Env = []string{childEnv + "=1", "TMPDIR=" + dir, "GORACE=atexit_sleep_ms=0"}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	// A shell takes it as it is.
	value, err := exec.Command("/bin/sh", "-c", line+`printf %s "$KELPIE_REATTACH"`).Output()
	if err != nil {
		t.Fatal(err)
	}
	var named map[string]struct {
		Socket string
		PID    int
	}
	if err := json.Unmarshal(value, &named); err != nil {
		t.Fatalf("%v in %q", err, line)
	}
	if named["fake"].PID != cmd.Process.Pid {
		t.Fatalf("it printed %q, and is process %d", line, cmd.Process.Pid)
	}
	return cmd, named["fake"].Socket
}

func TestServeDebug(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "it's ") // short enough for a socket, and odd in a shell
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	cmd, socket := startDebug(t, dir)
	info, err := os.Stat(filepath.Dir(socket))
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o700 {
		t.Errorf("the socket's folder has mode %o", got)
	}
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	about, err := pluginv1.NewPluginServiceClient(conn).Describe(testContext(t), &pluginv1.DescribeRequest{})
	if err != nil || about.GetName() != "fake" {
		t.Fatalf("Describe: %v, %v", about, err)
	}

	other := exec.Command(os.Args[0], "--debug")
	other.Env = cmd.Env
	if out, err := other.CombinedOutput(); err == nil || !strings.Contains(string(out), "another one serves") {
		t.Errorf("a second one: %v\n%s", err, out)
	}

	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
	if _, err := os.Lstat(socket); err == nil {
		t.Error("it left its socket")
	}

	// One that was killed leaves it, and the next takes its place.
	cmd, socket = startDebug(t, dir)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if _, again := startDebug(t, dir); again != socket {
		t.Errorf("served at %s, and before at %s", again, socket)
	}
}

func TestServeDebugTakesNobodyElsesFolder(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	name := "kelpie-debug-" + strconv.Itoa(os.Getuid())
	if err := os.Symlink(t.TempDir(), filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
	if l, err := listenDebug("fake"); err == nil {
		l.Close()
		t.Error("it serves in a folder that is a link")
	}
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// built is one plugin of ours, in a folder of its own.
func built(t *testing.T, name string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("runs real processes")
	}
	path := filepath.Join(t.TempDir(), name)
	if out, err := exec.Command("go", "build", "-o", path, "../../../plugins/"+name).CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v\n%s", name, err, out)
	}
	return path
}

// output may be written and read at once.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func written(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.hcl")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestCallTellsAWebhook: a dry run reaches nobody, and a call that is meant does.
func TestCallTellsAWebhook(t *testing.T) {
	plugin := built(t, "webhook")
	var bodies []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		bodies = append(bodies, string(body))
		if len(bodies) > 1 {
			w.WriteHeader(http.StatusTeapot)
		}
	}))
	defer server.Close()
	t.Setenv("KELPIE_SECRET_KEY", "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
	config := written(t, `action "webhook" "hook" {
  url    = "`+server.URL+`/x"
  secret = secret("key")
}`)
	call := func(args ...string) (int, string) {
		var out, err output
		code := program{in: strings.NewReader(""), out: &out, err: &err}.run(t.Context(),
			append([]string{"--json", "plugin", "call", plugin, "act", "--config", config}, args...))
		return code, out.String() + err.String()
	}
	code, text := call("notify", "soc@example.org", "--param", "subject=Hello", "--dry-run")
	if code != exitOK || len(bodies) != 0 || !strings.Contains(text, `"dry_run":true,"outcome":"done"`) {
		t.Fatalf("a dry run: exit code %d, %d requests\n%s", code, len(bodies), text)
	}
	code, text = call("run", "ip:10.1.2.3", "--param", "name=block", "--param", `data={"queue":"soc"}`, "--really")
	if code != exitOK || len(bodies) != 1 {
		t.Fatalf("exit code %d, %d requests\n%s", code, len(bodies), text)
	}
	for _, part := range []string{`"name":"block"`, `"kind":"ip","value":"10.1.2.3"`, `"data":{"queue":"soc"}`} {
		if !strings.Contains(bodies[0], part) {
			t.Errorf("sent %s, want it to have %s", bodies[0], part)
		}
	}
	if code, text = call("run", "ip:10.1.2.3", "--param", "name=block", "--really"); code != exitFailed {
		t.Errorf("a refusal: exit code %d\n%s", code, text)
	}
	if code, text = call("run", "ip:10.1.2.3", "--really"); code != exitUsage || !strings.Contains(text, "run needs --param name=…") {
		t.Errorf("without a parameter: exit code %d\n%s", code, text)
	}
}

// TestCallAnswersSenders: what is shown is acknowledged, so that a sender by HTTP is
// told that it has arrived; an interrupt ends it in good order.
func TestCallAnswersSenders(t *testing.T) {
	plugin := built(t, "http")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	config := written(t, `detector "http" "in" {
  listen   = "`+address+`"
  insecure = true
  wait     = "1s"
}`)
	post := func(ended <-chan int) int {
		deadline := time.Now().Add(patience)
		for {
			res, err := http.Post("http://"+address+"/", "application/json", strings.NewReader(`{"a":1}`))
			if err == nil {
				res.Body.Close()
				return res.StatusCode
			}
			select {
			case code := <-ended:
				t.Fatalf("it ended with %d before it listened", code)
			case <-time.After(20 * time.Millisecond):
			}
			if time.Now().After(deadline) {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		flag string
		want int
	}{{"--follow", http.StatusOK}, {"--no-ack", http.StatusServiceUnavailable}} {
		ctx, interrupt := context.WithCancel(t.Context())
		var out, errs output
		ended := make(chan int, 1)
		go func() {
			ended <- program{in: strings.NewReader(""), out: &out, err: &errs}.run(ctx,
				[]string{"--json", "plugin", "call", plugin, "detect", "--limit", "0", c.flag, "--config", config})
		}()
		if got := post(ended); got != c.want && !(c.want == http.StatusOK && got/100 == 2) {
			t.Errorf("%s: the sender got %d, want %d\n%s", c.flag, got, c.want, errs.String())
		}
		interrupt()
		if code := <-ended; code != exitOK {
			t.Errorf("%s: exit code %d\n%s", c.flag, code, errs.String())
		}
		first, _, _ := strings.Cut(strings.TrimSpace(out.String()), "\n")
		for line := range strings.SplitSeq(strings.TrimSpace(out.String()), "\n") {
			if !json.Valid([]byte(line)) {
				t.Errorf("%s: not JSON: %s", c.flag, line)
			}
		}
		if !strings.Contains(out.String(), `"raw":{"a":1}`) {
			t.Errorf("%s: no event\n%s", c.flag, first)
		}
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

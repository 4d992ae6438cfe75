package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/smtp"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs the sink and returns its address and folder, and what ends it.
func start(t *testing.T) (addr, dir string, stop func() string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "mails")
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	var running sync.WaitGroup
	running.Go(func() {
		err := run(ctx, []string{"-addr", "127.0.0.1:0", "-maildir", dir}, w)
		if err != nil {
			t.Error(err)
		}
		_ = w.Close()
	})
	lines := bufio.NewReader(r)
	first, err := lines.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	var rest bytes.Buffer
	var reading sync.WaitGroup
	reading.Go(func() { _, _ = io.Copy(&rest, lines) })
	return strings.TrimSpace(strings.TrimPrefix(first, "listening on ")), dir, func() string {
		cancel()
		running.Wait()
		reading.Wait()
		return rest.String()
	}
}

func TestSink(t *testing.T) {
	addr, dir, stop := start(t)
	for i := range 3 {
		id := fmt.Sprintf("<m%d@example.org>", i/2)
		mail := "Message-ID: " + id + "\r\nSubject: x\r\n\r\n..dots\r\n"
		if err := smtp.SendMail(addr, nil, "kelpie@example.org", []string{"kim@example.org"}, []byte(mail)); err != nil {
			t.Fatal(err)
		}
	}
	said := stop()
	if want := `mail "<m0@example.org>" to kim@example.org, number 2`; !strings.Contains(said, want) {
		t.Errorf("the sink said %q, want %q in it", said, want)
	}
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-count", "-maildir", dir}, &out); err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	decoder := json.NewDecoder(&out)
	for decoder.More() {
		var c counted
		if err := decoder.Decode(&c); err != nil {
			t.Fatal(err)
		}
		counts[c.ID] = c.Count
		content, err := os.ReadFile(filepath.Join(dir, c.Files[0]))
		if err != nil || !strings.HasPrefix(string(content), "Return-Path: <kelpie@example.org>\r\nDelivered-To: kim@example.org\r\n") || !strings.HasSuffix(string(content), "\r\n..dots\r\n") {
			t.Errorf("%s holds %q, %v", c.Files[0], content, err)
		}
	}
	if counts["<m0@example.org>"] != 2 || counts["<m1@example.org>"] != 1 || len(counts) != 2 {
		t.Errorf("counts = %v", counts)
	}
	if left, err := os.ReadDir(filepath.Join(dir, "tmp")); err != nil || len(left) > 0 {
		t.Errorf("left in tmp: %v, %v", left, err)
	}
}

func TestSinkListensOnLoopbackOnly(t *testing.T) {
	err := run(t.Context(), []string{"-addr", "0.0.0.0:0", "-maildir", t.TempDir()}, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "loopback") {
		t.Errorf("error = %v", err)
	}
}

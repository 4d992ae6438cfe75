// Command hooksink receives webhooks on loopback, checks their signatures as Standard
// Webhooks (www.standardwebhooks.com) says, and appends each to a file. The quickstart
// brings it up as the receiver of its webhook; tests of faults count what it took.
//
//	hooksink -addr 127.0.0.1:8421 -secret-file secrets/hook -out hooks.ndjson
package main

import (
	"context"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "hooksink:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("hooksink", flag.ContinueOnError)
	addr := flags.String("addr", "127.0.0.1:8421", "loopback `address` to listen at; with port 0 any free one")
	secretFile := flags.String("secret-file", "", "`file` with the secret, whsec_…")
	path := flags.String("out", "hooks.ndjson", "`file` to append to, one JSON object a line")
	if err := flags.Parse(args); err != nil {
		return err
	}
	where, err := netip.ParseAddrPort(*addr)
	if err != nil || !where.Addr().IsLoopback() {
		return fmt.Errorf("-addr %s is not a loopback address and port", *addr)
	}
	key, err := readSecret(*secretFile)
	if err != nil {
		return err
	}
	file, err := openJournal(*path)
	if err != nil {
		return err
	}
	defer func() { _ = file.close() }()
	listener, err := net.Listen("tcp", where.String())
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "listening on http://%s/\n", listener.Addr())
	return serve(ctx, listener, &sink{key: key, journal: file, now: time.Now})
}

func serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadTimeout: 30 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 64 << 10}
	ended := make(chan struct{})
	var closing sync.WaitGroup
	closing.Go(func() {
		select {
		case <-ctx.Done():
			grace, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			_ = server.Shutdown(grace)
		case <-ended:
		}
	})
	err := server.Serve(listener)
	close(ended)
	closing.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func readSecret(path string) ([]byte, error) {
	if path == "" {
		return nil, errors.New("-secret-file is missing")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	encoded, ok := strings.CutPrefix(strings.TrimSpace(string(text)), "whsec_")
	key, err := base64.StdEncoding.DecodeString(encoded)
	if !ok || err != nil || len(key) < 24 {
		return nil, fmt.Errorf("%s does not hold whsec_ and a key in base64", path)
	}
	return key, nil
}

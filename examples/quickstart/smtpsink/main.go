// Command smtpsink takes mails on loopback and writes each into a Maildir. The
// quickstart brings it up as its mail server; tests of faults count what it took.
//
//	smtpsink -addr 127.0.0.1:2525 -maildir mails    takes mails until SIGTERM
//	smtpsink -count -maildir mails                  tells how often each Message-ID is there
package main

import (
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "smtpsink:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("smtpsink", flag.ContinueOnError)
	addr := flags.String("addr", "127.0.0.1:2525", "loopback `address` to listen at; with port 0 any free one")
	dir := flags.String("maildir", "mails", "`folder` of the Maildir")
	cert := flags.String("cert", "", "PEM `file` of a certificate, to offer STARTTLS")
	key := flags.String("key", "", "PEM `file` of its key")
	count := flags.Bool("count", false, "print how often each Message-ID is in the Maildir, and end")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *count {
		return printCounts(*dir, out)
	}
	where, err := netip.ParseAddrPort(*addr)
	if err != nil || !where.Addr().IsLoopback() {
		return fmt.Errorf("-addr %s is not a loopback address and port; this takes every mail and asks for no password", *addr)
	}
	var settings *tls.Config
	if *cert != "" {
		pair, err := tls.LoadX509KeyPair(*cert, *key)
		if err != nil {
			return err
		}
		settings = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	}
	box, err := openMaildir(*dir)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", where.String())
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "listening on %s\n", listener.Addr())
	return serve(ctx, listener, settings, box, out)
}

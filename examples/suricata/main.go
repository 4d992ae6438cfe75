// Command suricata writes an event log as Suricata would, of any size, without a network and without Suricata. Every
// line is marked with "host":"generated".
//
//	go run ./examples/suricata -events 1000000 -seed 7 -alert-ratio 1000 -o eve.json
//	go run ./examples/suricata -follow 200 -o /var/log/generated/eve.json
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/kelpie-sec/kelpie/examples/suricata/eve"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "suricata:", err)
		os.Exit(1)
	}
}

// settings are the flags.
type settings struct {
	options eve.Options
	events  int
	follow  int
	output  string
}

func run(ctx context.Context, arguments []string, stdout, stderr io.Writer) error {
	s, err := parse(arguments, stderr)
	if err != nil {
		return err
	}
	if s.follow > 0 {
		s.options.Start = time.Now()
	}
	generator, err := eve.New(s.options)
	if err != nil {
		return err
	}
	if err := s.write(ctx, generator, stdout); err != nil {
		return err
	}
	fmt.Fprintln(stderr, summary(generator.Counts()))
	return nil
}

func parse(arguments []string, stderr io.Writer) (settings, error) {
	var s settings
	var kinds string
	flags := flag.NewFlagSet("suricata", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&s.events, "events", 0, "how many `events` to write; 0 means 100000, and without end with -follow")
	flags.Uint64Var(&s.options.Seed, "seed", 1, "equal seeds give equal logs (not with -follow, which takes the time of the clock)")
	flags.IntVar(&s.options.AlertRatio, "alert-ratio", 1000, "of each `N` events one is an alert of interest: severity 1")
	flags.IntVar(&s.options.Hosts, "hosts", 1000, "how many hosts of our own there are")
	flags.IntVar(&s.options.Signatures, "signatures", 500, "how many different rules raise alerts")
	flags.StringVar(&kinds, "kinds", "", "write only these kinds and the alerts of interest: alert,dns,http,tls,fileinfo,flow")
	flags.StringVar(&s.output, "o", "-", "the `file` to write, replaced if it exists (with -follow: appended to); - is standard output")
	flags.IntVar(&s.follow, "follow", 0, "write this many events a second, with the present time, until stopped")
	if err := flags.Parse(arguments); err != nil {
		return s, err
	}
	if flags.NArg() > 0 {
		return s, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if s.events < 0 || s.follow < 0 {
		return s, errors.New("-events and -follow must not be negative")
	}
	if s.events == 0 && s.follow == 0 {
		s.events = 100000
	}
	if kinds != "" {
		for name := range strings.SplitSeq(kinds, ",") {
			kind, err := eve.ParseKind(strings.TrimSpace(name))
			if err != nil {
				return s, fmt.Errorf("-kinds: %w", err)
			}
			s.options.Kinds = append(s.options.Kinds, kind)
		}
	}
	return s, nil
}

// write opens the output and fills it.
func (s settings) write(ctx context.Context, generator *eve.Generator, stdout io.Writer) (err error) {
	if s.output != "-" {
		mode := os.O_TRUNC
		if s.follow > 0 {
			mode = os.O_APPEND
		}
		file, err := os.OpenFile(s.output, os.O_WRONLY|os.O_CREATE|mode, 0o644)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		stdout = file
	}
	buffer := bufio.NewWriterSize(stdout, 1<<20)
	if s.follow > 0 {
		return s.keepWriting(ctx, generator, buffer)
	}
	var line []byte
	for range s.events {
		if ctx.Err() != nil {
			break
		}
		line = generator.Append(line[:0])
		if _, err := buffer.Write(line); err != nil {
			return err
		}
	}
	return buffer.Flush()
}

// keepWriting writes what is due every twentieth of a second, whole lines at a time.
func (s settings) keepWriting(ctx context.Context, generator *eve.Generator, buffer *bufio.Writer) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	began := time.Now()
	var line []byte
	for {
		now := time.Now()
		for written := generator.Counts().Events; written < s.due(now.Sub(began)); written++ {
			line = generator.AppendAt(line[:0], now)
			if _, err := buffer.Write(line); err != nil {
				return err
			}
		}
		if err := buffer.Flush(); err != nil {
			return err
		}
		if s.events > 0 && generator.Counts().Events == s.events {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// due is how many events should have been written after so long.
func (s settings) due(elapsed time.Duration) int {
	due := int(elapsed.Seconds() * float64(s.follow))
	if s.events > 0 {
		due = min(due, s.events)
	}
	return due
}

func summary(counts eve.Counts) string {
	var text strings.Builder
	fmt.Fprintf(&text, "%d events, %d alerts of interest;", counts.Events, counts.OfInterest)
	for kind, n := range counts.Kinds {
		fmt.Fprintf(&text, " %s %d", eve.Kind(kind), n)
	}
	return text.String()
}

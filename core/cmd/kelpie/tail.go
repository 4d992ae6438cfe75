package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kelpie-sec/kelpie/core/api"
)

// tailInterval is how often it is asked what has come.
const tailInterval = 250 * time.Millisecond

func (p program) tailCommand(o *options) *cobra.Command {
	t := tail{program: p, options: o}
	c := &cobra.Command{
		Use: "tail", Short: "Show events as they come, and what becomes of each", Args: cobra.NoArgs,
		Long: "Show events as they come, and what becomes of each, until it is interrupted: matched,\n" +
			"and by which rules; a fact for a rule over several; ignored, and by what; passed, since\n" +
			"nothing wanted it; or rejected, and why. An event is shown when it is decided, or as\n" +
			"waiting. With --json it prints one object a line.",
		RunE: func(c *cobra.Command, _ []string) error {
			t.from = c.Flags().Changed("after")
			return t.run(c.Context())
		},
	}
	c.Flags().StringVar(&t.source, "source", "", "only of this detector, as detector.NAME")
	c.Flags().StringVar(&t.rule, "rule", "", "only what this rule or pipeline reports, as rule.NAME")
	c.Flags().Uint64Var(&t.after, "after", 0, "begin after this message of the log, as the list says; 0: with the first")
	c.Flags().IntVar(&t.limit, "limit", 0, "end after so many; 0: never")
	return c
}

// tail follows the log.
type tail struct {
	program
	options      *options
	source, rule string
	after        uint64
	from         bool // after was given
	limit        int
	shown        int
}

func (t *tail) run(ctx context.Context) error {
	err := t.with(ctx, t.options, func(k *client) error { return t.follow(ctx, k) })
	if ctx.Err() != nil {
		return nil // that is how it ends
	}
	return err
}

func (t *tail) follow(ctx context.Context, k *client) error {
	q := url.Values{}
	for name, value := range map[string]string{"source": t.source, "rule": t.rule} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if t.from {
		q.Set("after", strconv.FormatUint(t.after, 10))
	}
	tick := time.NewTicker(tailInterval)
	defer tick.Stop()
	for {
		var page api.TailPage
		if err := k.get(ctx, "/v1/events/tail", q, &page); err != nil {
			return err
		}
		q.Set("after", strconv.FormatUint(page.After, 10))
		if done, err := t.show(page); done || err != nil {
			return err
		}
		if page.More {
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// show prints a page, and says whether that was all that was wanted.
func (t *tail) show(page api.TailPage) (done bool, err error) {
	if page.Skipped > 0 {
		fmt.Fprintf(t.err, "kelpie: %d messages of the log came too fast and are not shown\n", page.Skipped)
	}
	for i := range page.Events {
		if t.options.json {
			err = printLine(t.out, &page.Events[i])
		} else {
			if t.shown == 0 {
				fmt.Fprintf(t.out, "%-8s  %-12s  %-8s  %s\n", "UTC", "PLACE", "BECAME", "EVENT")
			}
			printTail(t.out, &page.Events[i])
		}
		if t.shown++; err != nil || t.limit > 0 && t.shown >= t.limit {
			return true, err
		}
	}
	return false, nil
}

// printLine prints JSON on one line.
func printLine(w io.Writer, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.Write(append(escapeJSON(text), '\n'))
	return err
}

func printTail(w io.Writer, e *api.TailLine) {
	text := e.Title
	switch {
	case text != "":
	case len(e.Raw) > 0:
		text = string(e.Raw)
	default:
		text = string(e.Bytes)
	}
	const left = 8 + 2 + 12 + 2 + 8 + 2
	place := fmt.Sprintf("%d/%d", e.Seq, e.Index)
	fmt.Fprintf(w, "%s  %s  %-8s  %s\n", e.Received.UTC().Format("15:04:05"), pad(place, 12), e.Became, line(e.Source+" "+text, width-left))
	if len(e.Rules) > 0 {
		indented(w, strings.Repeat(" ", left-2)+"> ", strings.Join(e.Rules, ", "))
	}
	if e.By != "" {
		indented(w, strings.Repeat(" ", left-2)+"> ", firstLine(e.By))
	}
}

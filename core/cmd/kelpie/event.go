package main

import (
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kelpie-sec/kelpie/core/api"
)

func (p program) eventCommand(o *options) *cobra.Command {
	c := &cobra.Command{Use: "event", Short: "The events in the log"}
	c.AddCommand(
		p.eventsCommand(o, "list", "List the newest events", "/v1/events"),
		p.eventsCommand(o, "rejected", "List the newest events that were set aside, and why", "/v1/rejected"),
		p.tailCommand(o),
	)
	return c
}

func (p program) eventsCommand(o *options, name, short, path string) *cobra.Command {
	var source string
	var limit int
	var before string
	c := &cobra.Command{
		Use: name, Short: short, Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			q := url.Values{"limit": {strconv.Itoa(limit)}}
			if source != "" {
				q.Set("source", source)
			}
			if before != "" {
				q.Set("before", before)
			}
			var page api.EventPage
			err := p.with(c.Context(), o, func(k *client) error { return k.get(c.Context(), path, q, &page) })
			if err != nil {
				return err
			}
			if o.json {
				return printJSON(p.out, page)
			}
			printEvents(p.out, page)
			return nil
		},
	}
	c.Flags().StringVar(&source, "source", "", "only of this detector, as detector.NAME")
	c.Flags().IntVar(&limit, "limit", 20, "at most so many")
	c.Flags().StringVar(&before, "before", "", "only older ones, as the last list said")
	return c
}

func printEvents(w io.Writer, page api.EventPage) {
	if len(page.Events) == 0 {
		fmt.Fprintln(w, "No events.")
		return
	}
	for _, e := range page.Events {
		place := fmt.Sprintf("%d/%d", e.Seq, e.Index)
		fmt.Fprintf(w, "%s  %s  %s\n", stamp(e.Received), pad(place, 10), line(e.Source+" "+e.ID, width-33))
		if e.Reason != "" {
			indented(w, "  set aside: ", firstLine(e.Reason))
		}
		switch {
		case len(e.Raw) > 0:
			fmt.Fprintln(w, "  "+line(string(e.Raw), width-2))
		case len(e.Bytes) > 0:
			fmt.Fprintln(w, "  "+line(string(e.Bytes), width-2))
		}
	}
	if page.Before != "" {
		fmt.Fprintf(w, "Older ones: --before %s\n", page.Before)
	}
}

func firstLine(s string) string {
	first, _, _ := strings.Cut(s, "\n")
	return first
}

package main

import (
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kelpie-sec/kelpie/core/api"
)

func (p program) profileCommand(o *options) *cobra.Command {
	var seconds int
	c := &cobra.Command{
		Use: "profile " + strings.Join(api.Profiles(), "|"), Short: "Measure what the running Kelpie does, or keeps in memory",
		Long: "Measure what the running Kelpie does, or keeps in memory, and write it in pprof's format:\n\n" +
			"  kelpie profile cpu --seconds 30 > cpu.pb.gz\n  go tool pprof -top cpu.pb.gz\n\n" +
			"It can be had over the socket in the data folder alone.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			most := int(api.MaxProfile.Seconds())
			switch {
			case !slices.Contains(api.Profiles(), args[0]):
				return usage("there is no profile %q; there are %s", args[0], strings.Join(api.Profiles(), ", "))
			case seconds < 1 || seconds > most:
				return usage("--seconds is a number from 1 to %d", most)
			case isTerminal(p.out):
				return usage("a profile is not for the eye; write it to a file: kelpie profile %s > %s.pb.gz", args[0], args[0])
			}
			k, err := o.kelpie()
			if err != nil {
				return err
			}
			if !answers(p.dataSettings(o, k).DataDir) {
				return &codeError{exitNothing, "kelpie does not run, so there is nothing to measure"}
			}
			return p.with(c.Context(), o, func(k *client) error {
				res, err := k.send(c.Context(), http.MethodGet, "/debug/profile/"+args[0],
					url.Values{"seconds": {strconv.Itoa(seconds)}}, nil)
				if err != nil {
					return err
				}
				defer res.Body.Close()
				_, err = io.Copy(p.out, res.Body)
				return err
			})
		},
	}
	c.Flags().IntVar(&seconds, "seconds", 30, "how long, for \"cpu\"")
	return c
}

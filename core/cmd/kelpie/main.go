// Command kelpie takes alerts to their end: looked into, put together, scored,
// acted on.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/kelpie-sec/kelpie/core/host"
)

// Exit codes, for scripts.
const (
	exitOK      = 0
	exitFailed  = 1 // it did not work
	exitUsage   = 2 // the command or the configuration is wrong
	exitNothing = 3 // there is no such thing
	exitTrouble = 4 // status: something is broken
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The second one ends the program at once, whatever it does.
	context.AfterFunc(ctx, stop)
	code := program{in: os.Stdin, out: os.Stdout, err: os.Stderr}.run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// codeError ends the program with a code. Its text, if any, is for people.
type codeError struct {
	code int
	text string
}

func (e *codeError) Error() string { return e.text }

func usage(format string, args ...any) error {
	return &codeError{exitUsage, fmt.Sprintf(format, args...)}
}

// run executes a command line and returns its exit code.
func (p program) run(ctx context.Context, args []string) int {
	root := p.root()
	root.SetArgs(args)
	root.SetIn(p.in)
	root.SetOut(p.out)
	root.SetErr(p.err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	var ce *codeError
	if !errors.As(err, &ce) {
		ce = &codeError{exitFailed, err.Error()}
		if strings.HasPrefix(ce.text, "unknown command ") {
			// Cobra's own, which has no type; it sets suggestions off by tabs.
			ce = &codeError{exitUsage, strings.TrimSpace(strings.ReplaceAll(ce.text, "\t", "  "))}
		}
	}
	switch start, ended := (*host.StartError)(nil), (*host.Error)(nil); {
	case errors.As(err, &start):
		printStartError(p.err, start)
	case ce.text != "":
		fmt.Fprintln(p.err, "kelpie: "+safe(ce.text))
		if errors.As(err, &ended) {
			printSaid(p.err, "  ", "", ended.Tail)
		}
	}
	return ce.code
}

// printStartError says why a file does not run as a plugin, and what it did instead.
func printStartError(w io.Writer, e *host.StartError) {
	indented(w, "kelpie: ", "this does not run as a plugin: "+e.Path)
	indented(w, "  why     ", e.Err.Error())
	printSaid(w, "  ", e.Line, e.Tail)
}

// printSaid shows the first line that a process printed and the last that it said.
func printSaid(w io.Writer, indent, first string, last []string) {
	if first != "" {
		indented(w, indent+"stdout  ", first)
	}
	head := indent + "stderr  "
	for _, text := range last {
		indented(w, head, text)
		head = indent + "        "
	}
}

func (p program) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "kelpie",
		Short:         "Takes alerts to their end: looked into, put together, scored, acted on",
		SilenceErrors: true,
		SilenceUsage:  true,
		CompletionOptions: cobra.CompletionOptions{
			HiddenDefaultCmd: true,
		},
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usage("%v\nSee \"%s --help\".", err, c.CommandPath())
	})
	o := &options{}
	flags := root.PersistentFlags()
	flags.StringVarP(&o.config, "config", "c", "config.hcl", "the configuration: a file, or a folder of *.hcl")
	flags.StringVar(&o.data, "data", "", "the data folder, instead of the configuration's")
	flags.StringArrayVar(&o.vars, "var", nil, "a variable of the configuration, as name=value")
	flags.BoolVar(&o.json, "json", false, "print JSON")
	root.AddCommand(
		p.initCommand(o), p.runCommand(o), p.validateCommand(o), p.fmtCommand(o),
		p.caseCommand(o), p.explainCommand(o), p.ruleCommand(o), p.signalCommand(o), p.eventCommand(o), p.traceCommand(o), p.consoleCommand(o), p.intentCommand(o),
		p.heldCommand(o), p.releaseCommand(o), p.extendCommand(o), p.questionCommand(o), p.answerCommand(o), p.proposalCommand(o), p.scheduleCommand(o),
		p.pluginCommand(o), p.statusCommand(o), p.auditCommand(o), p.profileCommand(o),
		p.ledgerCommand(o), p.shadowCommand(o), p.testCommand(o),
		p.applyCommand(o), p.pauseCommand(o), p.resumeCommand(o), p.versionCommand(o),
	)
	for _, c := range root.Commands() {
		args(c)
	}
	return root
}

// args makes wrong arguments a usage error.
func args(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, a []string) error {
			if err := check(c, a); err != nil { // which counts them, and says so in its own words
				return usage("it is called as \"%s\", and was given %s.\nSee \"%s --help\".",
					strings.TrimSuffix(c.UseLine(), " [flags]"), plural(len(a), "argument"), c.CommandPath())
			}
			return nil
		}
	}
	if c.HasSubCommands() && !c.Runnable() {
		c.Args = cobra.ArbitraryArgs
		c.RunE = func(c *cobra.Command, a []string) error { return group(c, a) }
	}
	for _, sub := range c.Commands() {
		args(sub)
	}
}

// group is what a command does that only has others below it.
func group(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return c.Help()
	}
	text := fmt.Sprintf("unknown command %q for %q", args[0], c.CommandPath())
	for _, near := range c.SuggestionsFor(args[0]) {
		text += "\n\nDid you mean this?\n  " + near
	}
	return usage("%s\nSee \"%s --help\".", text, c.CommandPath())
}

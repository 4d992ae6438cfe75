package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/kelpie-sec/kelpie/core/config"
	"github.com/kelpie-sec/kelpie/core/host"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
	"github.com/kelpie-sec/kelpie/sdk/conformance"
)

// checkOptions are the flags of "plugin check".
type checkOptions struct {
	acts   []string
	record string
	update bool
	only   []string
	free   bool
}

func (p program) pluginCheckCommand(o *options) *cobra.Command {
	var check checkOptions
	c := &cobra.Command{
		Use: "check BIN", Short: "Hold a plugin, in whatever language, to the contract", Args: cobra.ExactArgs(1),
		Long: "Hold a plugin, in whatever language, to the contract.\n\n" +
			"The program is started as Kelpie starts it, and confined to what it declares and what a block plugin grants. With --config the blocks of this plugin in that file are its instances: " +
			"they are configured, detectors are read, enrichments are asked about addresses and names that are reserved for documentation, " +
			"and actions do dry runs. Nothing is done for real but what --act names.\n\n" +
			"The program is run: check only what you would run.",
		RunE: func(c *cobra.Command, args []string) error {
			var given *config.Config
			if c.Flags().Changed("config") {
				var err error
				if given, err = p.connectorsFor(c.Context(), o, args[0]); err != nil {
					return err
				}
			}
			return p.checkPlugin(c.Context(), o, check, args[0], given)
		},
	}
	flags := c.Flags()
	flags.StringArrayVar(&check.acts, "act", nil, "really do this, several times, and leave it done: VERB=KIND:VALUE, such as notify=address:soc@example.org")
	flags.StringVar(&check.record, "record", "", "a file with the ids of the last release, to compare with")
	flags.BoolVar(&check.update, "update", false, "write the file of --record")
	flags.BoolVar(&check.free, "unconfined", false, "let it do whatever you may")
	flags.StringArrayVar(&check.only, "only", nil, "make this check alone; may be given more than once")
	return c
}

// connectorsFor reads the blocks of a plugin by the schema that it describes itself. nil:
// it cannot be asked, which the suite will say better.
func (p program) connectorsFor(ctx context.Context, o *options, binary string) (*config.Config, error) {
	if err := o.require(); err != nil {
		return nil, err
	}
	vars, err := o.variables()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, inspectTimeout)
	defer cancel()
	about, _, err := host.Inspect(ctx, binary)
	if err != nil {
		return nil, nil
	}
	about = o.labelled(about, binary)
	src, diags := config.Load(o.config, config.Options{Variables: vars, Schemas: map[string]model.Plugin{about.Name: about}})
	var c *config.Config
	if !diags.HasErrors() {
		c, diags = config.ParseOnly(src, about.Name)
	}
	if diags.HasErrors() {
		return nil, p.refuse(o, diags, src)
	}
	return c, nil
}

func (p program) checkPlugin(ctx context.Context, o *options, check checkOptions, binary string, given *config.Config) error {
	info, err := os.Stat(binary)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return &codeError{exitNothing, "there is no program " + safe(binary) + "; name the one that was built, such as plugins/acme"}
	case err == nil && info.IsDir():
		return usage("%s is a folder; name the program in it, such as %s", safe(binary), safe(filepath.Join(binary, "acme")))
	}
	settings := conformance.Settings{Binary: binary, Record: check.record, Update: check.update, Only: check.only}
	if check.update && check.record == "" {
		return usage("--update goes with --record")
	}
	for _, name := range check.only {
		if !slices.ContainsFunc(conformance.Checks(), func(c conformance.Check) bool { return c.Name == name }) {
			return usage("there is no check %q; there are %s", name, strings.Join(checkNames(), ", "))
		}
	}
	var granted []host.Instance
	var private []string
	if given != nil {
		instances, diags := given.Resolve(config.Secrets(given.Kelpie.SecretsDir))
		if diags.HasErrors() {
			return p.refuse(o, diags, given.Source)
		}
		for _, i := range instances {
			settings.Instances = append(settings.Instances, conformanceInstance(i))
			settings.Env = append(settings.Env, i.Env...)
		}
		granted, private = instances, []string{given.Kelpie.DataDir, given.Kelpie.SecretsDir}
		if len(instances) == 0 && !o.json {
			fmt.Fprintf(p.err, "%s has no block of this plugin; what needs one is skipped.\n", safe(o.config))
		}
	}
	if err := permit(settings.Instances, check.acts); err != nil {
		return err
	}
	if !check.free && runtime.GOOS == "linux" {
		launcher, remove, err := confining(host.GrantOf(granted), private)
		if err != nil {
			return err
		}
		defer remove()
		settings.Launcher = launcher
		for _, lack := range host.Lacking() {
			fmt.Fprintf(p.err, "The plugin is not wholly confined. Not held back are %s.\n", lack)
		}
	} else if !o.json {
		fmt.Fprintln(p.err, "The plugin is not confined: it may do whatever you may.")
	}
	if !o.json {
		settings.Each = p.printResults()
	}
	report, err := conformance.Run(ctx, settings)
	if errors.Is(err, context.Canceled) {
		return &codeError{exitFailed, "the check was broken off"}
	}
	if err != nil {
		return err
	}
	if err := p.printReport(o, report, len(settings.Instances)); err != nil {
		return err
	}
	if !report.Conforms() {
		return &codeError{code: exitFailed}
	}
	return nil
}

func checkNames() []string {
	var names []string
	for _, c := range conformance.Checks() {
		names = append(names, c.Name)
	}
	return names
}

var sdkKinds = map[model.ConnectorKind]sdk.Kind{
	model.Detector: sdk.KindDetector, model.Enrichment: sdk.KindEnrichment, model.Action: sdk.KindAction,
}

func conformanceInstance(i host.Instance) conformance.Instance {
	return conformance.Instance{
		Name: i.Address, Kind: sdkKinds[i.Kind], Connector: i.Connector,
		Config: object(i.Config), Connection: object(i.Connection), Secrets: i.Secrets,
	}
}

// object reads a JSON object that config has made.
func object(data json.RawMessage) map[string]any {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var out map[string]any
	_ = d.Decode(&out)
	return out
}

// permit lets the actions do what the operator names.
func permit(instances []conformance.Instance, acts []string) error {
	for _, text := range acts {
		verb, target, ok := strings.Cut(text, "=")
		kind, value, found := strings.Cut(target, ":")
		if !ok || !found || verb == "" || kind == "" || value == "" {
			return usage("--act takes VERB=KIND:VALUE, such as notify=address:soc@example.org, not %q", text)
		}
		permitted := false
		for n := range instances {
			if i := &instances[n]; i.Kind == sdk.KindAction {
				i.Acts = append(i.Acts, conformance.Act{Verb: verb, Target: sdk.Target{Kind: kind, Value: value}})
				permitted = true
			}
		}
		if !permitted {
			return usage("--act needs an action block of this plugin; --config names the file that has one")
		}
	}
	return nil
}

// resultColumn is where the text of a result begins.
const resultColumn = 9

// printResults prints each result; of a plugin that does not start there are no others.
func (p program) printResults() func(conformance.Result) {
	dead := false
	return func(r conformance.Result) {
		if dead {
			return
		}
		printResult(p.out, r)
		if dead = r.Check == "handshake" && r.Outcome == conformance.Failed; dead {
			printResult(p.out, conformance.Result{Check: "all others", Outcome: conformance.Skipped, Seen: "the plugin does not start"})
		}
	}
}

func printResult(w io.Writer, r conformance.Result) {
	what := pad(r.Check, 18) + " " + r.Subject
	switch r.Outcome {
	case conformance.Passed:
		fmt.Fprintf(w, "%s%s\n", pad("ok", resultColumn), line(strings.TrimSpace(what), width-resultColumn))
	case conformance.Skipped:
		text := r.Seen
		if r.Subject != "" {
			text = r.Subject + ": " + r.Seen
		}
		indented(w, pad("skipped", resultColumn)+pad(r.Check, 18)+" ", text)
	default:
		fmt.Fprintf(w, "%s%s\n", pad("FAILED", resultColumn), line(strings.TrimSpace(what), width-resultColumn))
		for _, part := range []struct{ name, text string }{{"seen", r.Seen}, {"do", r.Do}, {"why", r.Why}} {
			if part.text != "" {
				indented(w, strings.Repeat(" ", resultColumn)+pad(part.name, 6), part.text)
			}
		}
	}
}

// checkReport is the report as JSON, with what is made of it.
type checkReport struct {
	*conformance.Report
	Conforms bool   `json:"conforms"`
	Summary  string `json:"summary"`
	Badge    string `json:"badge"`
}

func (p program) printReport(o *options, r *conformance.Report, given int) error {
	if o.json {
		return printJSON(p.out, checkReport{r, r.Conforms(), r.Summary(), r.Badge()})
	}
	name := strings.TrimSpace(r.Plugin + " " + r.Version)
	if name == "" {
		name = r.Binary
	}
	if given == 0 && r.Plugin != "" {
		fmt.Fprintln(p.out, "\nMost of what was skipped needs a configured instance: give blocks of this plugin\nwith --config FILE.")
	}
	_, err := fmt.Fprintf(p.out, "\n%s: %s.\nFor its README: %s\n", line(name, width-30), r.Summary(), r.Badge())
	return err
}

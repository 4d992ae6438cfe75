package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kelpie-sec/kelpie/core/config"
	"github.com/kelpie-sec/kelpie/core/host"
	"github.com/kelpie-sec/kelpie/core/model"
)

const callLong = `Drive one connector of a plugin by hand, as Kelpie would: the same start, checks,
limits of time and scrubbing of secrets, with a state folder of its own.

PLUGIN is a path, or the name of a plugin in plugin_dir. It need not be locked.
Without --config the connector gets an empty block; if it needs more, a block to
fill in is printed. With --config its block is read from there, and what is not of
this plugin is passed over.

  detect                      shows events, and the cursor to go on with
  enrich KIND VALUE…          asks about one or several values
  act VERB [KIND:]VALUE       tries an action: without --really, a dry run

What detect shows is acknowledged unless --no-ack is given: a source that waits for
that, such as a mailbox or a queue, then takes it for read.`

const callExample = `  kelpie plugin call bin/plugins/file detect >x.hcl      # a block to fill in
  kelpie plugin call bin/plugins/file detect --config x.hcl --limit 3
  kelpie plugin call table enrich ip 198.51.100.7 --config x.hcl
  kelpie plugin call webhook act notify soc@example.org --param subject=Hello --config x.hcl`

// callFlags are the flags of all three; each says which it is for.
type callFlags struct {
	instance, connector, state string
	timeout                    time.Duration
	verbose                    bool

	limit         int
	cursor        string
	follow, noAck bool

	at string

	params                    []string
	dryRun, really, checkUndo bool
	key, undo, check          string
}

// callKinds are what a connector of each kind is told to do.
var callKinds = map[string]model.ConnectorKind{"detect": model.Detector, "enrich": model.Enrichment, "act": model.Action}

// callOnly are flags that one of them alone takes.
var callOnly = map[string][]string{
	"detect": {"limit", "cursor", "follow", "no-ack"},
	"enrich": {"at"},
	"act":    {"param", "dry-run", "really", "key", "undo", "check", "of-undo"},
}

func (p program) pluginCallCommand(o *options) *cobra.Command {
	var f callFlags
	c := &cobra.Command{
		Use: "call PLUGIN detect|enrich|act …", Short: "Drive one connector by hand", Args: cobra.MinimumNArgs(2),
		Long: callLong, Example: callExample,
		RunE: func(c *cobra.Command, args []string) error {
			kind, ok := callKinds[args[1]]
			if !ok {
				return usage("a connector is told to detect, enrich or act, not to %q", args[1])
			}
			if err := callFlagsFit(c.Flags(), args[1]); err != nil {
				return err
			}
			k := &calling{program: p, o: o, flags: f, kind: kind, args: args[2:], configured: c.Flags().Changed("config")}
			return k.run(c.Context(), args[0])
		},
	}
	flags := c.Flags()
	flags.StringVar(&f.instance, "instance", "", "of several blocks in --config this one, as detector.NAME")
	flags.StringVar(&f.connector, "connector", "", "of several connectors of the kind this one")
	flags.StringVar(&f.state, "state", "", "the connector's state folder; by default one that is removed afterwards")
	flags.DurationVar(&f.timeout, "timeout", 0, "how long one call may take, instead of the block's own")
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "show what the plugin logs, on the standard error")
	flags.IntVar(&f.limit, "limit", 10, "detect: stop after so many events; 0: go on")
	flags.StringVar(&f.cursor, "cursor", "", "detect: go on here, as an earlier call said")
	flags.BoolVar(&f.follow, "follow", false, "detect: wait for more where the source has an end")
	flags.BoolVar(&f.noAck, "no-ack", false, "detect: acknowledge nothing; some sources give one batch then")
	flags.StringVar(&f.at, "at", "", "enrich: the time asked about, as 2026-11-30T12:00:00Z; else now")
	flags.StringArrayVar(&f.params, "param", nil, "act: a parameter, as name=value; all but texts as JSON")
	flags.BoolVar(&f.dryRun, "dry-run", false, "act: say what would be done, which is the default")
	flags.BoolVar(&f.really, "really", false, "act: do it")
	flags.StringVar(&f.key, "key", "", "act: the idempotency key, instead of a new one")
	flags.StringVar(&f.undo, "undo", "", "act: undo what gave this token")
	flags.StringVar(&f.check, "check", "", "act: ask what became of the call with this key")
	flags.BoolVar(&f.checkUndo, "of-undo", false, "act: with --check, the key is that of an undo")
	return c
}

func callFlagsFit(flags *pflag.FlagSet, what string) error {
	var wrong error
	flags.Visit(func(f *pflag.Flag) {
		for other, names := range callOnly {
			if other != what && slices.Contains(names, f.Name) {
				wrong = usage("--%s goes with %s, not with %s", f.Name, other, what)
			}
		}
	})
	return wrong
}

// calling is one connector that is driven by hand.
type calling struct {
	program
	o          *options
	flags      callFlags
	kind       model.ConnectorKind
	args       []string // after the word
	configured bool     // by --config

	path      string
	plugin    model.Plugin
	connector model.Connector
	config    *config.Config
	host      *host.Host
	address   string
}

func (k *calling) run(ctx context.Context, name string) error {
	var err error
	if k.path, err = k.executable(name); err != nil {
		return err
	}
	inspecting, cancel := context.WithTimeout(ctx, inspectTimeout)
	defer cancel()
	var sum string
	if k.plugin, sum, err = host.Inspect(inspecting, k.path); err != nil {
		return err
	}
	if k.configured {
		k.plugin = k.o.labelled(k.plugin, k.path)
	}
	instance, err := k.instance()
	if err != nil {
		return err
	}
	do, err := k.question()
	if err != nil {
		return err
	}
	stop, err := k.start(ctx, instance, sum)
	if err != nil {
		return err
	}
	return errors.Join(do(ctx), stop())
}

// question reads what is to be done; nothing has been started for it.
func (k *calling) question() (func(context.Context) error, error) {
	switch k.kind {
	case model.Detector:
		return k.detect()
	case model.Enrichment:
		return k.enrich()
	}
	return k.act()
}

// executable is a path, or a name in the configuration's plugin_dir.
func (k *calling) executable(name string) (string, error) {
	tried := []string{name}
	if !strings.ContainsRune(name, filepath.Separator) {
		settings, err := k.o.kelpie()
		if err != nil {
			return "", err
		}
		tried = []string{filepath.Join(settings.PluginDir, name), name}
	}
	for _, path := range tried {
		if _, err := os.Stat(path); err == nil {
			return filepath.Abs(path)
		}
	}
	return "", &codeError{exitNothing, "there is no plugin " + strings.Join(tried, ", nor ")}
}

// instance reads the connector's block, or makes an empty one.
func (k *calling) instance() (host.Instance, error) {
	src, err := k.source()
	if err != nil {
		return host.Instance{}, err
	}
	c, diags := config.ParseOnly(src, k.plugin.Name)
	if diags.HasErrors() {
		return host.Instance{}, k.refuse(k.o, diags, src)
	}
	in, err := k.choose(c)
	if err != nil {
		return in, err
	}
	c.Only(in.Address)
	all, more := c.Resolve(config.Secrets(c.Kelpie.SecretsDir))
	if diags = append(diags, more...); diags.HasErrors() {
		return in, k.refuse(k.o, diags, src)
	}
	if !k.o.json {
		if err := k.say(k.o, diags, src); err != nil {
			return in, err
		}
	}
	in = all[0]
	in.Path = k.path
	if k.flags.timeout > 0 {
		in.Timeout = k.flags.timeout
	}
	k.config, k.address = c, in.Address
	k.connector, err = k.offered(in.Connector)
	return in, err
}

// source of the configuration: the file, or an empty block if that will do.
func (k *calling) source() (*config.Source, error) {
	schemas := map[string]model.Plugin{k.plugin.Name: k.plugin}
	if k.configured {
		if err := k.o.require(); err != nil {
			return nil, err
		}
		vars, err := k.o.variables()
		if err != nil {
			return nil, err
		}
		src, diags := config.Load(k.o.config, config.Options{Variables: vars, Schemas: schemas})
		if diags.HasErrors() {
			return nil, k.refuse(k.o, diags, src)
		}
		return src, nil
	}
	connector, err := k.offered(k.flags.connector)
	if err != nil {
		return nil, err
	}
	if needs := config.Needs(k.plugin, connector); len(needs) > 0 {
		return nil, k.wants(connector, fmt.Sprintf("%s of plugin %s needs %s", connector.Kind, k.plugin.Name, strings.Join(needs, ", ")))
	}
	text := config.Blank(k.plugin, connector, byHand)
	return &config.Source{Files: []config.File{{Name: "no --config", Text: text}}, Plugins: []model.Plugin{k.plugin}}, nil
}

// byHand names the instance that no configuration has.
const byHand = "by_hand"

// wants prints a block to fill in, and says why.
func (k *calling) wants(connector model.Connector, why string) error {
	if _, err := io.WriteString(k.out, config.Blank(k.plugin, connector, byHand)); err != nil {
		return err
	}
	return usage("%s.\nWrite the block above into a file, fill it in, and name the file with --config.", why)
}

// offered is the plugin's connector of the kind with this name; an empty one is that
// of the only one.
func (k *calling) offered(name string) (model.Connector, error) {
	var found []model.Connector
	var names, kinds []string
	for _, c := range k.plugin.Connectors {
		if kinds = append(kinds, string(c.Kind)); c.Kind != k.kind {
			continue
		}
		if names = append(names, c.Name); c.Name == name {
			return c, nil
		}
		found = append(found, c)
	}
	switch {
	case len(found) == 0:
		slices.Sort(kinds)
		return model.Connector{}, usage("plugin %s has no %s; it has: %s", k.plugin.Name, k.kind, joined(slices.Compact(kinds)))
	case len(found) == 1 && name == "":
		return found[0], nil
	}
	return model.Connector{}, usage("which %s of plugin %s? --connector is one of: %s", k.kind, k.plugin.Name, joined(names))
}

// choose finds the block that is meant.
func (k *calling) choose(c *config.Config) (host.Instance, error) {
	var fit []host.Instance
	var addresses []string
	for _, in := range c.Instances() {
		if in.Kind != k.kind || k.flags.connector != "" && in.Connector != k.flags.connector {
			continue
		}
		if in.Address == k.flags.instance {
			return in, nil
		}
		fit, addresses = append(fit, in), append(addresses, in.Address)
	}
	switch {
	case len(fit) == 0:
		return host.Instance{}, &codeError{exitNothing, fmt.Sprintf("%s has no enabled %s block of plugin %s", k.o.config, k.kind, k.plugin.Name)}
	case k.flags.instance != "":
		return host.Instance{}, &codeError{exitNothing, fmt.Sprintf("there is no %s; of plugin %s there is: %s", k.flags.instance, k.plugin.Name, joined(addresses))}
	case len(fit) > 1:
		return host.Instance{}, usage("there are several: --instance is one of %s", joined(addresses))
	}
	return fit[0], nil
}

// start starts the plugin with the one instance. What it returns stops it.
func (k *calling) start(ctx context.Context, in host.Instance, sum string) (stop func() error, err error) {
	state := k.flags.state
	remove := func() error { return nil }
	if state == "" {
		if state, err = os.MkdirTemp("", "kelpie-call"); err != nil {
			return nil, err
		}
		remove = func() error { return os.RemoveAll(state) }
	}
	lock := host.Lock{Plugins: []host.LockedPlugin{{
		Name: k.plugin.Name, Own: k.plugin.OwnName, Version: k.plugin.Version, SHA256: map[string]string{host.Platform(): sum},
	}}}
	settings := host.Settings{Lock: lock, LockFile: "what was inspected", StateDir: state, Instances: []host.Instance{in}}
	for _, folder := range []string{k.config.Kelpie.DataDir, k.config.Kelpie.SecretsDir} {
		if path, err := filepath.Abs(folder); folder != "" && err == nil {
			settings.Private = append(settings.Private, path)
		}
	}
	h, err := host.New(settings, k.log())
	if err != nil {
		return nil, errors.Join(err, remove())
	}
	stop = func() error {
		ctx, cancel := context.WithTimeout(context.Background(), callStop)
		defer cancel()
		return errors.Join(h.Stop(ctx), remove())
	}
	found, err := h.Start(ctx)
	if err == nil {
		err = k.accepted(h, found)
	}
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	k.host = h
	return stop, nil
}

// callStop bounds the end of the plugin.
const callStop = 10 * time.Second

// accepted shows what the plugin says of its configuration.
func (k *calling) accepted(h *host.Host, found []host.Diagnostic) error {
	if status := h.Status()[0]; status.State != host.Running {
		return &codeError{exitFailed, fmt.Sprintf("plugin %s does not run: %s", k.plugin.Name, status.LastError)}
	}
	diags := k.config.Diagnose(found)
	if !diags.HasErrors() {
		if k.o.json {
			return nil
		}
		return k.say(k.o, diags, k.config.Source)
	}
	err := k.refuse(k.o, diags, k.config.Source)
	if !k.configured && !k.o.json {
		err = k.wants(k.connector, "without a configuration it does not work")
	}
	return err
}

// log is where the plugin's own words go. It is asked for what an operator would see,
// also where nobody looks: its last words are shown if it ends.
func (k *calling) log() *slog.Logger {
	if k.flags.verbose {
		return slog.New(slog.NewTextHandler(k.err, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return slog.New(slog.NewTextHandler(io.Discard, nil))
}

// line prints one JSON object on one line.
func (k *calling) line(v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	_, err := k.out.Write(escapeJSON(b.Bytes()))
	return err
}

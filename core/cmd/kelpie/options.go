package main

import (
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/core/config"
)

// program is one run of the command line.
type program struct {
	in       io.Reader
	out, err io.Writer
}

// options are the flags that every command takes.
type options struct {
	config string
	data   string
	vars   []string
	json   bool
	level  string
	// attached is for run alone.
	attached attached
}

// folder of the configuration, where the lock file is.
func (o *options) folder() string {
	if info, err := os.Stat(o.config); err == nil && info.IsDir() {
		return o.config
	}
	return filepath.Dir(o.config)
}

func (o *options) variables() (map[string]string, error) {
	vars := map[string]string{}
	for _, v := range o.vars {
		name, value, ok := strings.Cut(v, "=")
		if !ok || name == "" {
			return nil, usage("--var takes name=value, not %q", v)
		}
		vars[name] = value
	}
	return vars, nil
}

// parsed is a configuration as read; config is nil if it is wrong.
type parsed struct {
	source *config.Source
	config *config.Config
	diags  config.Diagnostics
}

func (o *options) parse() (parsed, error) {
	vars, err := o.variables()
	if err != nil {
		return parsed{}, err
	}
	schemas, err := o.attached.schemas(o.folder())
	if err != nil {
		return parsed{}, err
	}
	src, diags := config.Load(o.config, config.Options{Variables: vars, Schemas: schemas})
	if diags.HasErrors() {
		return parsed{source: src, diags: diags}, nil
	}
	c, more := config.Parse(src)
	diags = append(diags, more...)
	if !diags.HasErrors() {
		diags = append(diags, c.Expiring(time.Now())...)
	}
	return parsed{src, c, diags}, nil
}

// require says what to do where there is no configuration at all.
func (o *options) require() error {
	if _, err := os.Stat(o.config); errors.Is(err, fs.ErrNotExist) {
		return usage("there is no configuration %s; --config names another, and config.hcl.example is one to start from", o.config)
	}
	return nil
}

// kelpie reads the kelpie block, whatever else is wrong with the configuration: a case
// can be looked at all the same, and a plugin that is to be locked has no schema yet.
func (o *options) kelpie() (config.Kelpie, error) {
	src, err := o.source()
	return config.Peek(src), err
}

// source is the configuration as it was read, whatever is wrong with it; nil: it cannot
// be read at all.
func (o *options) source() (*config.Source, error) {
	p, err := o.parse()
	return p.source, err
}

// logger writes what happens to the standard error.
func (p program) logger(o *options) *slog.Logger {
	level := slog.LevelWarn
	if o.level != "" {
		// The flag's values were checked; anything else leaves the level.
		_ = level.UnmarshalText([]byte(o.level))
	}
	return slog.New(slog.NewTextHandler(p.err, &slog.HandlerOptions{Level: level}))
}

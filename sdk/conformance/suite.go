package conformance

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
)

const (
	// checkLimit bounds one check of one instance.
	checkLimit = 2 * time.Minute
	// callLimit bounds a call that answers at once where all is well.
	callLimit = 5 * time.Second
	// standardPatience is for Settings.Patience.
	standardPatience = 10 * time.Second
	// tries of a check that fails by the clock.
	tries = 3
)

// suite is one run.
type suite struct {
	settings Settings
	binary   string // absolute
	sha256   string
	dir      string // of what the processes write; its path is short
	client   tls.Certificate
	encoded  string // client's, as PEM
	about    *pluginv1.DescribeResponse
	broken   bool // it does not start
	seen     *witness
	recorded *record
}

func newSuite(settings Settings) (*suite, error) {
	if err := settings.check(); err != nil {
		return nil, err
	}
	if settings.Patience <= 0 {
		settings.Patience = standardPatience
	}
	s := &suite{settings: settings, seen: newWitness()}
	var err error
	if s.binary, err = filepath.Abs(settings.Binary); err != nil {
		return nil, err
	}
	if s.sha256, err = sumOf(s.binary); err != nil {
		return nil, err
	}
	if s.recorded, err = readRecord(settings.Record, settings.Update); err != nil {
		return nil, err
	}
	if s.client, s.encoded, err = newCertificate(); err != nil {
		return nil, err
	}
	for _, i := range settings.Instances {
		s.seen.know(i.Secrets...)
	}
	// A socket's path may have a hundred bytes: not below a test's own folder.
	s.dir, err = os.MkdirTemp("", "kelpie-check-")
	return s, err
}

func (s *suite) close() { _ = os.RemoveAll(s.dir) }

func sumOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// results makes one check, of the plugin or of each instance that it is about.
func (s *suite) results(ctx context.Context, c Check) []Result {
	if s.about == nil && !s.broken && c.Name != "handshake" {
		s.broken = s.describe(ctx) != nil
	}
	if s.broken && c.Name != "handshake" {
		return []Result{{Check: c.Name, Outcome: Skipped, Seen: "the plugin does not start"}}
	}
	if c.of == wholePlugin {
		return []Result{s.result(ctx, c, nil)}
	}
	var all []Result
	for n := range s.settings.Instances {
		if i := &s.settings.Instances[n]; c.of.takes(i.Kind) {
			all = append(all, s.result(ctx, c, i))
		}
	}
	if len(all) == 0 {
		all = append(all, Result{Check: c.Name, Outcome: Skipped, Seen: s.lacking(c.of)})
	}
	return all
}

// lacking says why there is no instance to check.
func (s *suite) lacking(of scope) string {
	for _, c := range s.about.GetConnectors() {
		if of.takes(sdk.Kind(c.GetKind())) {
			return "it needs a configured instance, and was given none"
		}
	}
	kind := map[scope]sdk.Kind{eachDetector: sdk.KindDetector, eachEnrichment: sdk.KindEnrichment, eachAction: sdk.KindAction}[of]
	return fmt.Sprintf("the plugin offers no %s", kind)
}

func (s *suite) result(ctx context.Context, c Check, i *Instance) Result {
	ctx, cancel := context.WithTimeout(ctx, checkLimit)
	defer cancel()
	began := time.Now()
	err := s.try(ctx, c, i)
	for n := 1; n < tries && c.timed && isFailure(err); n++ {
		err = s.try(ctx, c, i)
	}
	r := Result{Check: c.Name, Outcome: Passed, Took: time.Since(began)}
	if i != nil {
		r.Subject = i.Name
	}
	var skipped *skip
	var failed *failure
	switch {
	case err == nil:
	case errors.As(err, &skipped):
		r.Outcome, r.Seen = Skipped, skipped.why
	case errors.As(err, &failed):
		r.Outcome, r.Why, r.Seen, r.Do = Failed, c.Why, failed.seen, failed.do
	default:
		r.Outcome, r.Why, r.Seen = Failed, c.Why, err.Error()
	}
	if r.Outcome == Failed {
		r.Seen = s.seen.hide(r.Seen)
	}
	return r
}

func (s *suite) try(ctx context.Context, c Check, i *Instance) error {
	t := &trial{suite: s, check: c.Name, instance: i}
	defer t.end()
	if err := t.missing(); err != nil {
		return err
	}
	return c.run(ctx, t)
}

func isFailure(err error) bool {
	var f *failure
	return errors.As(err, &f)
}

// describe starts the plugin once to learn what it offers.
func (s *suite) describe(ctx context.Context) error {
	t := &trial{suite: s, check: "describe"}
	defer t.end()
	p, err := t.start(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	s.about, err = p.plugin.Describe(ctx, &pluginv1.DescribeRequest{})
	return err
}

// trial is one check of one instance, or of the plugin.
type trial struct {
	*suite
	check    string
	instance *Instance // nil: the plugin
	running  []*process
}

// missing says that the plugin does not offer what the instance is of.
func (t *trial) missing() error {
	if t.instance == nil || t.connector() != nil {
		return nil
	}
	return fail("Configure a connector that the plugin describes.", "Describe names no %s %q", t.instance.Kind, t.instance.Connector)
}

// connector is what the instance is one of.
func (t *trial) connector() *pluginv1.Connector {
	return connectorOf(t.about, t.instance)
}

func connectorOf(about *pluginv1.DescribeResponse, i *Instance) *pluginv1.Connector {
	all := about.GetConnectors()
	n := slices.IndexFunc(all, func(c *pluginv1.Connector) bool {
		return sdk.Kind(c.GetKind()) == i.Kind && c.GetName() == i.Connector
	})
	if n < 0 {
		return nil
	}
	return all[n]
}

// end ends all processes of the trial.
func (t *trial) end() {
	for _, p := range t.running {
		p.kill()
	}
	t.running = nil
}

// configured starts a process with the trial's instance in it.
func (t *trial) configured(ctx context.Context) (*process, error) {
	p, err := t.start(ctx)
	if err != nil {
		return nil, err
	}
	return p, p.configure(ctx, t.instance, t.instance.Name)
}

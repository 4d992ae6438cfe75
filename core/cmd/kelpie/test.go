package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kelpie-sec/kelpie/core/config"
	"github.com/kelpie-sec/kelpie/core/rehearsal"
)

const testLong = `Run the tests that stand in the configuration: the test blocks of its rules, pipelines
and responses, and of the score.

Made-up events and answers go through the pipelines, rules, score and responses as they
are, in memory: no plugin is started, and no secret and no network is needed. A NAME is
a block, as rule.beacon or beacon, or a test. The exit code is 1 if a test fails.`

// testOptions is what the test command is asked to do.
type testOptions struct {
	names            []string
	watch, coverage  bool
	junit, navigator string
}

func (p program) testCommand(o *options) *cobra.Command {
	t := testOptions{}
	c := &cobra.Command{
		Use: "test [NAME…]", Short: "Run the tests in the configuration; starts nothing and needs no secret", Long: testLong,
		Example: "  kelpie test\n  kelpie test rule.beacon --watch\n  kelpie test --coverage --junit tests.xml",
		RunE: func(c *cobra.Command, args []string) error {
			t.names = args
			if err := o.require(); err != nil {
				return err
			}
			if t.watch {
				return p.watchTests(c.Context(), o, t)
			}
			_, err := p.test(o, t)
			return err
		},
	}
	c.Flags().BoolVar(&t.watch, "watch", false, "stay, and run them again whenever a file of the configuration changes")
	c.Flags().BoolVar(&t.coverage, "coverage", false, "say which rules have no test, and which parts of conditions were never true")
	c.Flags().StringVar(&t.junit, "junit", "", "write the results to this file, as JUnit's XML")
	c.Flags().StringVar(&t.navigator, "navigator", "", "write the techniques of the rules to this file, as a layer of the ATT&CK Navigator")
	return c
}

// test runs the tests once, and says what they depend on.
func (p program) test(o *options, t testOptions) (files []string, err error) {
	files = []string{o.config}
	vars, err := o.variables()
	if err != nil {
		return files, err
	}
	schemas, err := o.attached.schemas(o.folder())
	if err != nil {
		return files, err
	}
	began := time.Now()
	src, diags := config.Load(o.config, config.Options{Variables: vars, Schemas: schemas, Tests: true})
	if diags.HasErrors() {
		return files, p.refuse(o, diags, src)
	}
	r, diags := config.ParseTests(src)
	files = r.Files
	if diags.HasErrors() {
		return files, p.refuse(o, diags, src)
	}
	diags = append(diags, r.Config.NotBuilt...)
	if len(diags) > 0 { // beside JSON they go where a person sees them
		if err := config.WriteText(p.err, diags, src.Listing(), isTerminal(p.err)); err != nil {
			return files, err
		}
	}
	report, err := rehearse(r.Settings, t, src.Listing())
	if err != nil {
		return files, err
	}
	report.took = time.Since(began)
	return files, p.reportTests(o, t, report)
}

// rehearse runs the tests that are asked for.
func rehearse(s *rehearsal.Settings, t testOptions, files map[string]string) (*testReport, error) {
	chosen, err := chosenTests(s, t.names)
	if err != nil {
		return nil, err
	}
	report := &testReport{settings: s, files: files}
	runner := rehearsal.New(s)
	if t.coverage {
		runner.Cover()
	}
	for i := range chosen {
		res := runner.Run(chosen[i])
		if len(res.Failures) > 0 {
			report.failed++
		}
		report.results = append(report.results, res)
	}
	if t.coverage {
		c := runner.Coverage()
		report.coverage = &c
	}
	return report, nil
}

// noTests says what to write where there are none.
const noTests = `there is no test. Write one into a rule, such as:

  test "fires" {
    given "detector.NAME" {
      events = [{ … }]
    }
    want {
      signals = 1
    }
  }`

// chosenTests are all tests, or those that are named: of a block, or themselves.
func chosenTests(s *rehearsal.Settings, names []string) ([]*rehearsal.Test, error) {
	if len(s.Tests) == 0 {
		return nil, &codeError{exitNothing, noTests}
	}
	used := make([]bool, len(names))
	var chosen []*rehearsal.Test
	for i := range s.Tests {
		test := &s.Tests[i]
		wanted := len(names) == 0
		for n, name := range names {
			if isNamed(test, name) {
				wanted, used[n] = true, true
			}
		}
		if wanted {
			chosen = append(chosen, test)
		}
	}
	for n, name := range names {
		if used[n] {
			continue
		}
		for _, subject := range s.Subjects {
			if subject.Name == name || strings.TrimPrefix(subject.Name, subject.Kind+".") == name {
				return nil, &codeError{exitNothing, subject.Name + " has no test"}
			}
		}
		return nil, &codeError{exitNothing, fmt.Sprintf("there is no block and no test %q; \"kelpie test\" runs all there are", name)}
	}
	return chosen, nil
}

func isNamed(t *rehearsal.Test, name string) bool {
	short := strings.TrimPrefix(t.Subject.Name, t.Subject.Kind+".")
	return slices.Contains([]string{t.Subject.Name, short, t.Name, t.Subject.Name + "/" + t.Name}, name)
}

// reportTests prints what came of the tests, writes the files that are wanted, and fails
// if a test did.
func (p program) reportTests(o *options, t testOptions, r *testReport) error {
	write := func(path string, make func() ([]byte, error)) error {
		if path == "" {
			return nil
		}
		doc, err := make()
		if err != nil {
			return err
		}
		return os.WriteFile(path, doc, 0o644)
	}
	if err := errors.Join(write(t.junit, r.junit), write(t.navigator, r.layer)); err != nil {
		return err
	}
	if o.json {
		if err := printJSON(p.out, r.document()); err != nil {
			return err
		}
	} else {
		r.print(p.out)
	}
	if r.failed > 0 {
		return &codeError{code: exitFailed}
	}
	return nil
}

// look is how often the files are looked at while they are watched.
const look = 200 * time.Millisecond

// watchTests runs the tests again whenever one of their files changes, until it is told
// to stop.
func (p program) watchTests(ctx context.Context, o *options, t testOptions) error {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		before := watched(o, nil)
		files, err := p.test(o, t)
		var ce *codeError
		switch {
		case err == nil:
		case errors.As(err, &ce):
			if ce.text != "" {
				fmt.Fprintln(p.err, "kelpie: "+safe(ce.text))
			}
		default:
			fmt.Fprintln(p.err, "kelpie: "+safe(err.Error()))
		}
		state := watched(o, files)
		fmt.Fprintf(p.err, "Watching %s; Ctrl-C ends it.\n", plural(len(files), "file"))
		if changed := watched(o, nil) != before; changed { // while they ran
			continue
		}
		for watched(o, files) == state {
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
			}
		}
		fmt.Fprintln(p.err)
	}
}

// watched is the state of files: the configuration's own, its lock's, and those given.
func watched(o *options, files []string) string {
	own := []string{o.config, filepath.Join(o.folder(), config.LockName)}
	more, _ := filepath.Glob(filepath.Join(o.folder(), "*.hcl")) // the pattern is right
	var b strings.Builder
	for _, path := range slices.Concat(own, more, files) {
		if info, err := os.Stat(path); err == nil {
			fmt.Fprintf(&b, "%s %d %d\n", path, info.Size(), info.ModTime().UnixNano())
		}
	}
	return b.String()
}

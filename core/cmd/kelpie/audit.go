package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/audit"
	"github.com/kelpie-sec/kelpie/core/model"
)

func (p program) auditCommand(o *options) *cobra.Command {
	c := &cobra.Command{Use: "audit", Short: "The trail of what was decided, done and changed"}
	c.AddCommand(p.auditListCommand(o), p.auditVerifyCommand(o), p.auditExportCommand(o))
	return c
}

func (p program) auditListCommand(o *options) *cobra.Command {
	var limit int
	var after uint64
	c := &cobra.Command{
		Use: "list", Short: "List the latest entries, the oldest of them first", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if limit < 1 || limit > api.AuditPage {
				return usage("--limit is a number from 1 to %d; \"kelpie audit export\" gives all", api.AuditPage)
			}
			var all []audit.Entry
			err := p.with(c.Context(), o, func(k *client) error {
				if !c.Flags().Changed("after") {
					var last audit.Head
					if err := k.get(c.Context(), "/v1/audit/head", nil, &last); err != nil {
						return err
					}
					after = last.Seq - min(last.Seq, uint64(limit))
				}
				return k.get(c.Context(), "/v1/audit", page(after, limit), &all)
			})
			if err != nil {
				return err
			}
			if o.json {
				return printJSON(p.out, all)
			}
			return printEntries(p.out, all)
		},
	}
	c.Flags().IntVar(&limit, "limit", screenful, "at most so many")
	c.Flags().Uint64Var(&after, "after", 0, "those after this number, instead of the latest")
	return c
}

func page(after uint64, limit int) url.Values {
	return url.Values{"after": {strconv.FormatUint(after, 10)}, "limit": {strconv.Itoa(limit)}}
}

func (p program) auditVerifyCommand(o *options) *cobra.Command {
	var heads []string
	var export string
	c := &cobra.Command{
		Use: "verify", Short: "Show that nothing in the trail was changed, taken out or put in", Args: cobra.NoArgs,
		Long: `Follows the trail's chain of hashes from its first entry, and compares what it
says of the steps with the tables.

Whoever can write Kelpie's files could write a whole new trail. So keep the head
that this prints somewhere else, now and then, and give it back with --head: then
it must come by again. An export kept elsewhere is verified with --export.`,
		RunE: func(c *cobra.Command, _ []string) error {
			for _, h := range heads {
				if _, err := audit.ParseHead(h); err != nil {
					return usage("--head: %v", err)
				}
			}
			r, err := p.verify(c.Context(), o, heads, export)
			if err != nil {
				return err
			}
			if o.json {
				err = printJSON(p.out, r)
			} else {
				printReport(p.out, r)
			}
			if err == nil && !r.Holds {
				err = &codeError{code: exitFailed}
			}
			return err
		},
	}
	c.Flags().StringArrayVar(&heads, "head", nil, "a head that was kept, as sequence:hash")
	c.Flags().StringVar(&export, "export", "", "verify this export instead; - is standard input")
	return c
}

func (p program) verify(ctx context.Context, o *options, heads []string, export string) (r api.AuditReport, err error) {
	if export != "" {
		return p.verifyExport(export, heads)
	}
	err = p.with(ctx, o, func(k *client) error {
		return k.get(ctx, "/v1/audit/verify", url.Values{"head": heads}, &r)
	})
	return r, err
}

// verifyExport needs no Kelpie: a file and what was kept.
func (p program) verifyExport(name string, heads []string) (api.AuditReport, error) {
	in := p.in
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return api.AuditReport{}, err
		}
		defer f.Close()
		in = f
	}
	var v audit.Verifier
	for _, text := range heads {
		h, err := audit.ParseHead(text)
		if err != nil {
			return api.AuditReport{}, err
		}
		v.Keep(h)
	}
	err := audit.Read(in, v.Add)
	if err == nil {
		err = v.End()
	}
	var broken *audit.BrokenError
	if errors.As(err, &broken) {
		return api.AuditReport{Head: v.Head(), Broken: broken.Seq, Why: broken.Why}, nil
	}
	return api.AuditReport{Holds: err == nil, Head: v.Head()}, err
}

func (p program) auditExportCommand(o *options) *cobra.Command {
	var after uint64
	c := &cobra.Command{
		Use: "export", Short: "Print the trail, an entry of JSON a line", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return p.with(c.Context(), o, func(k *client) error { return p.export(c.Context(), k, after) })
		},
	}
	c.Flags().Uint64Var(&after, "after", 0, "only entries after this number; such an export can't be verified by itself")
	return c
}

func (p program) export(ctx context.Context, k *client, after uint64) error {
	for {
		var all []audit.Entry
		if err := k.get(ctx, "/v1/audit", page(after, api.AuditPage), &all); err != nil {
			return err
		}
		for _, e := range all {
			if err := audit.Write(p.out, e); err != nil {
				return err
			}
			after = e.Seq
		}
		if len(all) < api.AuditPage {
			return nil
		}
	}
}

func printReport(w io.Writer, r api.AuditReport) {
	switch {
	case r.Broken > 0:
		fmt.Fprintf(w, "THE AUDIT IS BROKEN at entry %d: %s.\n", r.Broken, safe(r.Why))
		if r.Head.Seq > 0 {
			fmt.Fprintf(w, "What comes before it, up to entry %d, holds.\n", r.Head.Seq)
		}
	case len(r.Differ) > 0:
		fmt.Fprintln(w, "THE AUDIT DOES NOT AGREE with the tables:")
		for _, d := range r.Differ {
			fmt.Fprintf(w, "  %s\n", safe(d))
		}
	case r.Head.Seq == 0:
		fmt.Fprintln(w, "The audit is empty.")
		return
	case !r.Holds:
		fmt.Fprintln(w, "THE AUDIT DOES NOT HOLD.")
	default:
		fmt.Fprintf(w, "The audit holds, up to entry %d.\n", r.Head.Seq)
	}
	if r.Holds {
		fmt.Fprintf(w, "\nIts head, to be kept somewhere else and given back with --head:\n%s\n", r.Head)
	}
}

func printEntries(w io.Writer, all []audit.Entry) error {
	if len(all) == 0 {
		fmt.Fprintln(w, "The audit is empty.")
		return nil
	}
	fmt.Fprintf(w, "%7s  %-16s  %-8s  %s\n", "ENTRY", "TIME (UTC)", "KIND", "WHAT")
	const left = 7 + 2 + 16 + 2 + 8 + 2
	for _, e := range all {
		var r model.Record
		if err := json.Unmarshal(e.Record, &r); err != nil {
			return fmt.Errorf("entry %d: %w", e.Seq, err)
		}
		lines := wrap(sentence(r), width-left)
		if len(lines) == 0 {
			lines = []string{""}
		}
		fmt.Fprintf(w, "%7d  %s  %-8s  %s\n", e.Seq, r.At.UTC().Format("2006-01-02 15:04"), r.Kind, lines[0])
		for _, l := range lines[1:] {
			fmt.Fprintf(w, "%s%s\n", strings.Repeat(" ", left), l)
		}
	}
	return nil
}

// sentence says what a record is about.
func sentence(r model.Record) string {
	var parts []string
	switch r.Kind {
	case model.RecordConfig:
		parts = append(parts, "configuration "+head(r.Subject)+" is in force")
	case model.RecordPause, model.RecordResume:
		parts = append(parts, pauseText(r))
		r.Subject = ""
	case model.RecordDecision, model.RecordUndo:
		parts = append(parts, decisionText(r))
	case model.RecordFinding:
		parts = append(parts, findingRecord(r))
	case model.RecordQuestion, model.RecordAsked, model.RecordChoice:
		parts = append(parts, askedRecord(r))
	case model.RecordProposal:
		parts = append(parts, "a proposal, "+r.Message+", is "+r.To)
		r.Message = ""
	case model.RecordBegan:
		parts = append(parts, "the audit begins here, with steps planned before it")
	default:
		parts = append(parts, fmt.Sprintf("%s of %s by %s: %s", r.Verb, r.Target, r.Action, state(r)))
	}
	if r.DryRun {
		parts = append(parts, "a dry run")
	}
	if r.By != "" {
		parts = append(parts, "by "+r.By)
	}
	if r.Because != "" {
		parts = append(parts, r.Because)
	}
	if r.Message != "" {
		parts = append(parts, r.Message)
	}
	if r.Subject != "" && r.Kind != model.RecordConfig && r.Kind != model.RecordFinding {
		parts = append(parts, r.Subject)
	}
	return strings.Join(parts, "; ")
}

// pauseText says what was held back, or goes on.
func pauseText(r model.Record) string {
	switch {
	case r.Kind == model.RecordPause && r.Subject == "":
		return "actions are paused" + ending(r.Until)
	case r.Kind == model.RecordPause:
		return r.Subject + " is paused" + ending(r.Until)
	case r.Subject == "":
		return "actions go on"
	}
	return r.Subject + " goes on"
}

// askedRecord says what became of a question, or of asking somebody, or what a person
// chose.
func askedRecord(r model.Record) string {
	of := strings.TrimPrefix(r.Response, "response.") + "." + r.Step
	address := strings.TrimPrefix(r.Target, "address:")
	switch {
	case r.Kind == model.RecordAsked:
		text := map[string]string{"asked": "is asked", "accepted": "was reached", "failed": "was not reached"}[r.To]
		return address + " " + text + " by " + of
	case r.Kind == model.RecordChoice && address != "":
		return r.To + " is chosen of " + of + " at " + address + " by " + string(r.Road)
	case r.Kind == model.RecordChoice:
		return r.To + " is chosen of " + of + " by " + string(r.Road)
	case r.From == "" && r.To == string(model.QuestionOpen):
		return of + " asks"
	}
	return of + " is " + strings.ReplaceAll(r.To, "_", " ")
}

// decisionText says what a person decided about cases, or took back.
func decisionText(r model.Record) string {
	text := map[model.CommandKind]string{
		model.MergeCases: "cases " + r.Case + " are one", model.SplitCase: "signals are split off case " + r.Case,
		model.NeverJoin: r.Target + " joins no signals",
	}[model.CommandKind(r.To)]
	if r.Kind == model.RecordUndo {
		return "taken back: " + text
	}
	return text
}

// findingRecord says that a case has ended, or goes on.
func findingRecord(r model.Record) string {
	switch {
	case r.To == "":
		return fmt.Sprintf("case %s goes on, which had ended as %s", r.Subject, r.From)
	case r.Because != "": // why it does not count
		return fmt.Sprintf("case %s does not end as %s", r.Subject, r.To)
	case r.From != "":
		return fmt.Sprintf("case %s has ended as %s, and not as %s", r.Subject, r.To, r.From)
	}
	return fmt.Sprintf("case %s has ended as %s", r.Subject, r.To)
}

func state(r model.Record) string {
	if r.Kind == model.RecordIntent {
		return "planned"
	}
	if r.From == "" {
		return r.To
	}
	return r.From + " → " + r.To
}

// head is as much of a hash as people compare.
func head(hash string) string {
	const digits = 12
	return hash[:min(len(hash), digits)]
}

package store

import (
	"errors"
	"strings"
	"testing"

	"github.com/kelpie-sec/kelpie/core/audit"
	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/model"
)

// planned are changes that plan n intents, with their records.
func planned(first, n int) decide.Changes {
	c := changes(first, n)
	for _, in := range c.Intents {
		c.Records = append(c.Records, model.Record{At: c.At, Kind: model.RecordIntent, Subject: in.ID, To: string(in.State)})
	}
	return c
}

func verified(t *testing.T, s *Store, kept ...audit.Head) (audit.Head, []string, error) {
	t.Helper()
	var v audit.Verifier
	v.Keep(kept...)
	differ, err := s.VerifyAudit(t.Context(), &v)
	return v.Head(), differ, err
}

// TestAudit: each record is written once, however often its changes are committed.
func TestAudit(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	mustCommit(t, s, planned(0, 20))
	mustCommit(t, s, planned(20, 20))
	mustCommit(t, s, planned(20, 20))
	head, differ, err := verified(t, s)
	if err != nil || len(differ) > 0 || head.Seq != 40 {
		t.Errorf("head %v, differ %v, %v", head, differ, err)
	}
	all, err := s.Audit(t.Context(), 38, 10)
	if err != nil || len(all) != 2 || all[1].Head() != head || !strings.Contains(string(all[0].Record), `"kind":"intent"`) {
		t.Errorf("the end is %+v, %v", all, err)
	}
}

// TestAuditBegins: of what there was before the audit, it says how much.
func TestAuditBegins(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	mustCommit(t, s, changes(0, 20))
	mustCommit(t, s, planned(20, 20))
	if head, differ, err := verified(t, s); err != nil || len(differ) > 0 || head.Seq != 21 {
		t.Errorf("head %v, differ %v, %v", head, differ, err)
	}
}

// TestAuditTampered: what somebody does to the tables shows.
func TestAuditTampered(t *testing.T) {
	for name, c := range map[string]struct {
		do     string
		seq    uint64
		differ string
	}{
		"an entry changed":      {`UPDATE audit SET record = replace(record, 'pending', 'done') WHERE seq = 7`, 7, ""},
		"an entry taken out":    {`DELETE FROM audit WHERE seq = 7`, 7, ""},
		"the first taken out":   {`DELETE FROM audit WHERE seq = 1`, 1, ""},
		"the end cut off":       {`DELETE FROM audit WHERE seq > 7`, 8, ""},
		"an intent changed":     {`UPDATE intents SET state = 'done' WHERE id = (SELECT min(id) FROM intents)`, 0, "0 intents are done by the trail, 1 by the tables"},
		"an intent taken out":   {`DELETE FROM intents WHERE id = (SELECT min(id) FROM intents)`, 0, "20 intents are pending by the trail, 19 by the tables"},
		"a hash of other bytes": {`UPDATE audit SET hash = x'00' WHERE seq = 3`, 3, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := mustOpen(t, t.TempDir())
			mustCommit(t, s, planned(0, 20))
			head, _, err := verified(t, s)
			if err != nil {
				t.Fatal(err)
			}
			tamper := func(statements ...string) error {
				return s.transact(t.Context(), func(w *writer) error {
					for _, q := range statements {
						w.exec(q)
					}
					return nil
				})
			}
			if strings.Contains(c.do, "audit") {
				if err := tamper(c.do); err == nil || !strings.Contains(err.Error(), "the audit is only added to") {
					t.Errorf("without taking the triggers out: %v", err)
				}
			}
			if err := tamper(`DROP TRIGGER audit_unchanged`, `DROP TRIGGER audit_undeleted`, c.do); err != nil {
				t.Fatal(err)
			}
			_, differ, err := verified(t, s, head)
			var broken *audit.BrokenError
			if c.seq > 0 && (!errors.As(err, &broken) || broken.Seq != c.seq) {
				t.Errorf("%v, want it broken at %d", err, c.seq)
			}
			if c.differ != "" && (err != nil || !strings.Contains(strings.Join(differ, "\n"), c.differ)) {
				t.Errorf("differ %q, %v", differ, err)
			}
		})
	}
}

// TestTheAuditsEndAfterAFailure: what a transaction that failed had added to the chain is
// not gone on from.
func TestTheAuditsEndAfterAFailure(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	record := func(seq uint64, bad bool) decide.Changes {
		c := changes(int(seq)*3, 3)
		c.Position = decide.Position{Seq: seq}
		c.Records = []model.Record{{At: epoch0, Kind: model.RecordPause, By: "kim"}}
		if bad {
			c.Answers[0].Answers[0].Details = []byte("{")
		}
		return c
	}
	mustCommit(t, s, record(1, false))
	if err := s.Commit(t.Context(), record(2, true)); err == nil {
		t.Fatal("it was committed")
	}
	mustCommit(t, s, record(2, false))
	mustCommit(t, s, record(3, false))
	entries, err := s.Audit(t.Context(), 0, 10)
	if err != nil || len(entries) != 3 {
		t.Fatalf("%d entries, %v; want 3", len(entries), err)
	}
	var v audit.Verifier
	for _, e := range entries {
		if err := v.Add(e); err != nil {
			t.Error(err)
		}
	}
}

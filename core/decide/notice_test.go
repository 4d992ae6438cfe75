package decide

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// theNotice is what is told of the one case.
func (f *feed) theNotice() sdk.Notice {
	f.t.Helper()
	if len(f.m.cases) != 1 {
		f.t.Fatalf("%d cases", len(f.m.cases))
	}
	for _, cs := range f.m.cases {
		return newView(f.m, cs).notice()
	}
	return sdk.Notice{}
}

// TestNoticeOfState: the state of a machine and of an account is told as far as it is known.
func TestNoticeOfState(t *testing.T) {
	f := newFeed(t)
	f.signals(sig("s-1", minutes(0), 50, "subject ip:10.1.2.3"))
	f.answer("enrichment.assets", "ip:10.1.2.3", model.Reply{State: model.Known, Answers: []model.Answer{
		{Asset: &model.Asset{
			Name: "ws-17", OS: "Debian", OSVersion: "12", Patches: map[string]int{"critical": 2}, Managed: ptr(false), SeenAt: minutes(-9),
			Protection: &model.Protection{Installed: ptr(true), Running: ptr(false)},
		}},
		{Identity: &model.Identity{Name: "kim", State: "enabled", LastLogon: minutes(-5), PasswordSet: minutes(-60)}},
	}})
	n := f.theNotice()
	assets := []sdk.NoticeAsset{{
		Name: "ws-17", OS: "Debian 12", Missing: map[string]int{"critical": 2}, Managed: ptr(false), SeenAt: minutes(-9),
		Protection: map[string]*bool{"installed": ptr(true), "running": ptr(false)},
	}}
	if diff := cmp.Diff(assets, n.Assets); diff != "" {
		t.Error(diff)
	}
	identities := []sdk.NoticeIdentity{{Name: "kim", State: "enabled", LastLogon: minutes(-5), PasswordSet: minutes(-60)}}
	if diff := cmp.Diff(identities, n.Identities); diff != "" {
		t.Error(diff)
	}
}

// TestNoticeOfThread: a case that others became part of keeps its thread, and names theirs.
func TestNoticeOfThread(t *testing.T) {
	f := newFeed(t)
	f.signals(sig("s-1", minutes(0), 50, "subject host:a"))
	first := f.theNotice()
	if first.Thread != first.Case || len(first.Joined) != 0 {
		t.Fatalf("thread %q of %q, joined %v", first.Thread, first.Case, first.Joined)
	}
	f.now = f.now.Add(time.Second)
	f.signals(sig("s-2", minutes(-1), 50, "subject host:b"))
	f.signals(sig("s-3", minutes(1), 50, "subject host:a", "subject host:b"))
	n := f.theNotice()
	if n.Case != model.CaseID("s-2") || n.Thread != first.Thread {
		t.Errorf("case %q, thread %q, want that of %q", n.Case, n.Thread, first.Case)
	}
	if diff := cmp.Diff([]string{model.CaseID("s-2")}, n.Joined); diff != "" {
		t.Error(diff)
	}
}

// TestNoticeOfHold: what is held is told with its end, until it has ended.
func TestNoticeOfHold(t *testing.T) {
	f := newHolding(t, "base held")
	f.alert(0)
	f.done(f.step(0))
	f.tick(0)
	isolated := func() sdk.NoticeAction {
		t.Helper()
		for _, a := range f.theNotice().Actions {
			if a.Verb == f.step(0).Verb {
				return a
			}
		}
		t.Fatal("it is not told")
		return sdk.NoticeAction{}
	}
	if got, want := isolated().UndoAt, f.now.Add(time.Hour); !got.Equal(want) {
		t.Errorf("ends at %s, want %s", got, want)
	}
	f.tick(time.Hour)
	f.done(f.undo())
	if got := isolated().UndoAt; !got.IsZero() {
		t.Errorf("released, it ends at %s", got)
	}
}

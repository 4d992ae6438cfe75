package conformance

import (
	"context"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
)

// actionChecks are about effects: that there are those that were ordered, and no others.
func actionChecks() []Check {
	return []Check{
		{
			Name: "dry_run", of: eachAction, run: dryRun,
			Why: "Operators try a response with dry runs on real targets; one that acts isolates a real machine.",
		},
		{
			Name: "effect", of: eachAction, run: effect,
			Why: "Kelpie tells people that it is done. Nothing may be claimed that did not happen.",
		},
		{
			Name: "one_effect", of: eachAction, run: oneEffect,
			Why: "After a crash an intent may be tried again under its key; what Describe calls idempotent must then not happen twice.",
		},
		{
			Name: "undo", of: eachAction, run: undo,
			Why: "A containment is lifted by its undo; what stays behind locks somebody out for good.",
		},
		{
			Name: "not_after", of: eachAction, run: notAfter,
			Why: "A late attempt would isolate a machine that people have released meanwhile.",
		},
		{
			Name: "check", of: eachAction, run: outcomeKnown,
			Why: "When an answer is lost Kelpie asks what became of the call; a wrong answer means a second effect, or none.",
		},
	}
}

var outcomes = map[pluginv1.Outcome]string{
	pluginv1.Outcome_OUTCOME_UNSPECIFIED: "none", pluginv1.Outcome_OUTCOME_DONE: "done", pluginv1.Outcome_OUTCOME_ALREADY: "already",
	pluginv1.Outcome_OUTCOME_REFUSED: "refused", pluginv1.Outcome_OUTCOME_FAILED: "failed", pluginv1.Outcome_OUTCOME_UNKNOWN: "unknown",
}

func outcomeText(o pluginv1.Outcome) string {
	if text, ok := outcomes[o]; ok {
		return text
	}
	return fmt.Sprintf("%d, which is none", o)
}

func took(o pluginv1.Outcome) bool {
	return o == pluginv1.Outcome_OUTCOME_DONE || o == pluginv1.Outcome_OUTCOME_ALREADY
}

func soon(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(time.Now().Add(d)) }

func (t *trial) execute(ctx context.Context, p *process, request *pluginv1.ExecuteRequest) (*pluginv1.ExecuteResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, actLimit)
	defer cancel()
	return p.act.Execute(ctx, request)
}

// state is what the far end of an act holds.
func (a Act) state() string {
	if a.State == nil {
		return ""
	}
	return a.State()
}

// unwatched collects the acts whose answers are right and whose effects nobody saw.
type unwatched []string

func (u *unwatched) note(a Act, text string) {
	if a.State == nil {
		*u = append(*u, a.Verb+" "+a.Target.Value+text)
	}
}

// or is the error of what was done or, where all was well, that nobody saw it.
func (u unwatched) or(err error) error {
	if err != nil || len(u) == 0 {
		return err
	}
	return skipf("the answers are as they should be, but nobody looked at the far end; look yourself: %s", strings.Join(u, ", "))
}

// each makes a trial of every act that may really be done.
func (t *trial) each(ctx context.Context, concerned func(*pluginv1.Verb) bool, none string, do func(context.Context, *process, Act) error) error {
	if len(t.instance.Acts) == 0 {
		return skipf("the suite was given nothing to do, and does nothing by itself but dry runs")
	}
	tried := 0
	for _, act := range t.permitted() {
		verb := t.verb(act)
		if verb == nil {
			return fail("Give the suite a verb that the connector offers.", "%s offers no verb %q", t.instance.Name, act.Verb)
		}
		if !concerned(verb) {
			continue
		}
		tried++
		p, err := t.configured(ctx)
		if err == nil {
			err = do(ctx, p, act)
		}
		if err != nil {
			return err
		}
	}
	if tried == 0 {
		return skipf("%s", none)
	}
	return nil
}

func dryRun(ctx context.Context, t *trial) error {
	p, err := t.configured(ctx)
	if err != nil {
		return err
	}
	var unseen unwatched
	refused := 0
	for _, act := range t.acts() {
		before, key := act.state(), newKey()
		got, err := t.execute(ctx, p, t.request(act, t.instance.Name, key, true))
		if err != nil && len(t.instance.Acts) == 0 && status.Code(err) == codes.InvalidArgument {
			refused++ // what the suite made up is not what it takes
			continue
		}
		if err != nil {
			return p.told(fail("Answer a dry run with what would be done, or why not.", "a dry run of %s is answered: %s", act.Verb, text(err)))
		}
		if o := got.GetOutcome(); o == pluginv1.Outcome_OUTCOME_UNSPECIFIED || o == pluginv1.Outcome_OUTCOME_UNKNOWN {
			return fail("A dry run changes nothing, so that its outcome is always known.", "the outcome of a dry run of %s is %s", act.Verb, outcomeText(o))
		}
		if after := act.state(); after != before {
			return fail("With dry_run say what would be done; change nothing and send nothing.", "a dry run of %s changed the far end from %q to %q", act.Verb, clip(before), clip(after))
		}
		if t.verb(act).GetCheck() {
			found, err := t.checkKey(ctx, p, act, key)
			if err == nil && took(found.GetOutcome()) {
				return fail("With dry_run say what would be done; change nothing and send nothing.", "after a dry run of %s, Check says %s", act.Verb, outcomeText(found.GetOutcome()))
			}
			if err == nil {
				continue // the far end was asked
			}
		}
		unseen.note(act, "")
	}
	if refused > 0 && refused == len(t.acts()) {
		return skipf("the targets and parameters that the suite made up are refused; give it some")
	}
	return unseen.or(nil)
}

func effect(ctx context.Context, t *trial) error {
	var unseen unwatched
	err := t.each(ctx, func(*pluginv1.Verb) bool { return true }, "", func(ctx context.Context, p *process, act Act) error {
		before, key := act.state(), newKey()
		got, err := t.execute(ctx, p, t.request(act, t.instance.Name, key, false))
		if err != nil {
			return p.told(fail("Answer what became of it; an error leaves it unknown, and puts it before a person.", "%s is answered: %s", act.Verb, text(err)))
		}
		changed := act.State != nil && act.state() != before
		switch o := got.GetOutcome(); {
		case o == pluginv1.Outcome_OUTCOME_DONE && act.State != nil && !changed:
			return fail("Say done when the far end has said so.", "%s is said to be done, and the far end is as it was: %q", act.Verb, clip(before))
		case !took(o) && changed:
			return fail("Say failed or refused only where nothing has happened.", "%s is said to be %s, and the far end has changed", act.Verb, outcomeText(o))
		case !took(o):
			return p.told(fail("Give the suite something that can be done.", "the outcome of %s is %s: %s", act.Verb, outcomeText(o), clip(got.GetMessage())))
		}
		unseen.note(act, " (key "+key+")")
		return nil
	})
	return unseen.or(err)
}

// oneEffect repeats a call in the same process, and in a new one after a kill.
func oneEffect(ctx context.Context, t *trial) error {
	const do = "Give the vendor the key, or look whether it is so already; if neither can be, do not say idempotent in Describe."
	var unseen unwatched
	err := t.each(ctx, (*pluginv1.Verb).GetIdempotent, "Describe says of no verb among them that it is idempotent", func(ctx context.Context, p *process, act Act) error {
		key, once := newKey(), ""
		for attempt := int32(1); attempt <= 3; attempt++ {
			if attempt == 3 {
				p.kill()
				var err error
				if p, err = t.configured(ctx); err != nil {
					return err
				}
			}
			request := t.request(act, t.instance.Name, key, false)
			request.Attempt = attempt
			got, err := t.execute(ctx, p, request)
			switch {
			case err != nil:
				return p.told(fail(do, "attempt %d of %s is answered: %s", attempt, act.Verb, text(err)))
			case !took(got.GetOutcome()):
				return fail(do, "the outcome of attempt %d of %s under one key is %s: %s", attempt, act.Verb, outcomeText(got.GetOutcome()), clip(got.GetMessage()))
			case attempt > 1 && got.GetOutcome() == pluginv1.Outcome_OUTCOME_ALREADY && !got.GetSameKey():
				return fail("Set same_key where it is so because of an earlier call with this key: Kelpie undoes its own doing only.",
					"attempt %d of %s is said to be so already, and not by this key", attempt, act.Verb)
			case attempt == 1:
				once = act.state()
			case act.state() != once:
				return fail(do, "attempt %d of %s under one key changed the far end from %q to %q", attempt, act.Verb, clip(once), clip(act.state()))
			}
		}
		unseen.note(act, " (key "+key+")")
		return nil
	})
	return unseen.or(err)
}

func undo(ctx context.Context, t *trial) error {
	var unseen unwatched
	err := t.each(ctx, (*pluginv1.Verb).GetUndo, "Describe says of no verb among them that it can be undone", func(ctx context.Context, p *process, act Act) error {
		before := act.state()
		done, err := t.execute(ctx, p, t.request(act, t.instance.Name, newKey(), false))
		if err != nil || done.GetOutcome() != pluginv1.Outcome_OUTCOME_DONE {
			return p.told(fail("Give the suite something that can be done.", "%s comes to %s (%v), so that there is nothing to undo", act.Verb, outcomeText(done.GetOutcome()), err))
		}
		key := newKey()
		for n := range 2 { // the second with the same key
			ctx, cancel := context.WithTimeout(ctx, actLimit)
			got, err := p.act.Undo(ctx, &pluginv1.UndoRequest{
				Instance: t.instance.Name, Verb: act.Verb, Target: targetOf(act.Target),
				UndoToken: done.GetUndoToken(), IdempotencyKey: key, NotAfter: soon(actLimit),
			})
			cancel()
			if err != nil || !took(got.GetOutcome()) {
				return p.told(fail("Undo restores what Execute changed, and is done or already so.", "undo %d of %s under one key comes to %s: %s (%v)", n+1, act.Verb, outcomeText(got.GetOutcome()), clip(got.GetMessage()), err))
			}
			if after := act.state(); after != before {
				return fail("Undo restores what Execute changed.", "after %s and its undo the far end is %q, and before it was %q", act.Verb, clip(after), clip(before))
			}
		}
		unseen.note(act, "")
		return nil
	})
	return unseen.or(err)
}

func notAfter(ctx context.Context, t *trial) error {
	const do = "Look at not_after right before what takes effect; when it has passed, answer failed."
	var unseen unwatched
	err := t.each(ctx, func(*pluginv1.Verb) bool { return true }, "", func(ctx context.Context, p *process, act Act) error {
		before, key := act.state(), newKey()
		request := t.request(act, t.instance.Name, key, false)
		request.NotAfter = soon(-time.Minute)
		got, err := t.execute(ctx, p, request)
		switch {
		case act.state() != before:
			return fail(do, "%s with a not_after that has passed took effect: the far end went from %q to %q", act.Verb, clip(before), clip(act.state()))
		case err == nil && got.GetOutcome() != pluginv1.Outcome_OUTCOME_FAILED && got.GetOutcome() != pluginv1.Outcome_OUTCOME_REFUSED:
			return fail(do, "the outcome of %s with a not_after that has passed is %s", act.Verb, outcomeText(got.GetOutcome()))
		}
		unseen.note(act, " (key "+key+")")
		return nil
	})
	return unseen.or(err)
}

func (t *trial) checkKey(ctx context.Context, p *process, act Act, key string) (*pluginv1.CheckResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, actLimit)
	defer cancel()
	return p.act.Check(ctx, &pluginv1.CheckRequest{Instance: t.instance.Name, Verb: act.Verb, Target: targetOf(act.Target), IdempotencyKey: key})
}

// outcomeKnown asks about a call that was made, in a new process, and about one that was not.
func outcomeKnown(ctx context.Context, t *trial) error {
	const do = "Ask the vendor by the key what became of it; where it cannot tell, answer unknown."
	return t.each(ctx, (*pluginv1.Verb).GetCheck, "Describe says of no verb among them that it can be checked", func(ctx context.Context, p *process, act Act) error {
		other, err := t.checkKey(ctx, p, act, newKey())
		if err == nil && took(other.GetOutcome()) {
			return fail(do, "Check of %s says %s of a key that was never used", act.Verb, outcomeText(other.GetOutcome()))
		}
		key := newKey()
		done, err := t.execute(ctx, p, t.request(act, t.instance.Name, key, false))
		if err != nil || !took(done.GetOutcome()) {
			return p.told(fail("Give the suite something that can be done.", "%s comes to %s (%v)", act.Verb, outcomeText(done.GetOutcome()), err))
		}
		p.kill()
		if p, err = t.configured(ctx); err != nil {
			return err
		}
		found, err := t.checkKey(ctx, p, act, key)
		if err != nil || !took(found.GetOutcome()) && found.GetOutcome() != pluginv1.Outcome_OUTCOME_UNKNOWN {
			return p.told(fail(do, "%s was %s, and Check says %s (%v)", act.Verb, outcomeText(done.GetOutcome()), outcomeText(found.GetOutcome()), err))
		}
		return nil
	})
}

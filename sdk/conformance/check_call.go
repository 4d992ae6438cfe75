package conformance

import (
	"context"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/kelpie-sec/kelpie/sdk"
	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
)

// cancelLimit is how long what is cancelled may take to end.
const cancelLimit = time.Second

// callChecks are about calls of any kind.
func callChecks() []Check {
	return []Check{
		{
			Name: "health", of: eachInstance, run: health, timed: true,
			Why: "Kelpie starts a process again that does not say within a second how it is.",
		},
		{
			Name: "hostile_calls", run: hostileCalls,
			Why: "Values come from attackers: what one of them breaks must be one call, not the process with all its instances.",
		},
		{
			Name: "large_message", run: largeMessage,
			Why: "Messages may have 16 MiB; gRPC's own limit of 4 MiB refuses large cases and batches.",
		},
		{
			Name: "cancellation", of: eachInstance, run: cancellation, timed: true,
			Why: "At a reload or a stop Kelpie cancels what is under way; what goes on holds up everybody else.",
		},
	}
}

func health(ctx context.Context, t *trial) error {
	p, err := t.configured(ctx)
	if err != nil {
		return err
	}
	for _, id := range []string{"", t.instance.Name} {
		what := "of the process"
		if id != "" {
			what = "of the instance"
		}
		ctx, cancel := context.WithTimeout(ctx, cancelLimit)
		answer, err := p.plugin.Health(ctx, &pluginv1.HealthRequest{Instance: id})
		cancel()
		switch {
		case err != nil:
			return p.told(fail("Answer Health from memory, without asking anybody.", "Health %s is answered: %s", what, text(err)))
		case !answer.GetOk() && answer.GetMessage() == "":
			return fail("Say in message what is wrong.", "Health %s is not ok, and does not say why", what)
		}
	}
	return nil
}

// awkward are texts that break programs which expect none of them.
func awkward() []string {
	return []string{
		"", " ", "\x00", "a\x00b", "line\r\nBcc: all@example.org", "\x1b[2J\a", "\u202Egnp.exe", "\uFEFF\u2028\u200D",
		"Grüße 世界 🐕", "e\u0301", "' OR 1=1 --", "$(id)`id`", "../../etc/passwd", "%s%n%x", "{{7*7}}", "*", "{", "[[[[",
		strings.Repeat("A", 64<<10), strings.Repeat("🐕", 20_000),
	}
}

// hostileCalls makes calls that no core makes. Each must be answered, however; and then the
// process must be there.
func hostileCalls(ctx context.Context, t *trial) error {
	p, err := t.start(ctx)
	if err != nil {
		return err
	}
	for n := range t.settings.Instances {
		if i := &t.settings.Instances[n]; connectorOf(t.about, i) != nil {
			if err := p.configure(ctx, i, i.Name); err != nil {
				return err
			}
		}
	}
	h := &hostility{t: t, p: p}
	for _, of := range t.subjects() {
		h.configure(ctx, of)
	}
	h.names(ctx)
	for n := range t.settings.Instances {
		i := &t.settings.Instances[n]
		if connectorOf(t.about, i) == nil {
			continue
		}
		own := &trial{suite: t.suite, check: t.check, instance: i}
		switch i.Kind {
		case sdk.KindDetector:
			h.detect(ctx, i)
		case sdk.KindEnrichment:
			h.enrich(ctx, own)
		case sdk.KindAction:
			h.execute(ctx, own)
		}
	}
	if h.wrong == nil {
		h.call(ctx, "Describe, after all of them", func(ctx context.Context) error {
			_, err := p.plugin.Describe(ctx, &pluginv1.DescribeRequest{})
			return err
		})
	}
	return h.wrong
}

// hostility makes calls until one does harm.
type hostility struct {
	t     *trial
	p     *process
	wrong error
}

func (h *hostility) call(ctx context.Context, what string, do func(context.Context) error) {
	if h.wrong != nil {
		return
	}
	const advice = "Catch what a call throws, in whatever thread it runs, and answer INTERNAL; the log is the place for the stack."
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	err := do(ctx)
	lost := status.Code(err) == codes.Unavailable
	if lost && h.p.endsWithin(outputGrace) || h.p.endsWithin(0) {
		h.wrong = h.p.told(fail(advice, "%s ended the process (%s)", what, h.p.ending()))
	} else if ctx.Err() != nil {
		h.wrong = h.p.told(fail("Answer whatever comes, if only by an error.", "%s has no answer after %s", what, callLimit))
	}
}

func (h *hostility) configure(ctx context.Context, of subject) {
	deep := strings.Repeat(`{"a":`, 5000) + "1" + strings.Repeat("}", 5000)
	for _, config := range []string{"{", "null", "[]", `"text"`, "\x00", deep, `{"a":1e999}`, `{"\u0000":"\ud800"}`} {
		h.call(ctx, fmt.Sprintf("Configure of %s with %q", of.label, clip(config)), func(ctx context.Context) error {
			_, err := h.p.tryConfigure(ctx, of.kind(), of.connector.GetName(), "hostile", []byte(config), []byte(config))
			return err
		})
	}
	h.call(ctx, "Configure of a connector that there is not", func(ctx context.Context) error {
		_, err := h.p.tryConfigure(ctx, 9, "no_such", "hostile", nil, nil)
		return err
	})
}

// names are of instances that are not there.
func (h *hostility) names(ctx context.Context) {
	for _, id := range awkward() {
		h.call(ctx, fmt.Sprintf("Close of %q", clip(id)), func(ctx context.Context) error {
			_, err := h.p.plugin.Close(ctx, &pluginv1.CloseRequest{Instance: id})
			return err
		})
		h.call(ctx, fmt.Sprintf("Health of %q", clip(id)), func(ctx context.Context) error {
			_, err := h.p.plugin.Health(ctx, &pluginv1.HealthRequest{Instance: id})
			return err
		})
	}
}

func (h *hostility) enrich(ctx context.Context, t *trial) {
	kinds := append([]string{"", "no_such_kind"}, t.connector().GetTakes()...)
	values := awkward()
	if !t.mayBePestered() {
		kinds, values = []string{t.questions()[0].Kind}, []string{"\x00\x1b[2J\r\n\u202E\xc3\xa9", strings.Repeat("A", 64<<10)}
	}
	for _, kind := range kinds {
		for _, value := range values {
			h.call(ctx, fmt.Sprintf("a question about %s %q", kind, clip(value)), func(ctx context.Context) error {
				_, err := t.askOnce(ctx, h.p, t.instance.Name, []sdk.Observable{{Kind: kind, Value: value}})
				return err
			})
		}
	}
	for what, request := range map[string]*pluginv1.EnrichRequest{
		"no question":           {Instance: t.instance.Name},
		"a question of nothing": {Instance: t.instance.Name, Questions: []*pluginv1.Question{{}}},
		"a question about the year 1": {Instance: t.instance.Name, Questions: []*pluginv1.Question{{
			Observable: &pluginv1.Observable{Kind: sdk.IP, Value: "198.51.100.7"}, At: &timestamppb.Timestamp{Seconds: -62135596800},
		}}},
	} {
		h.call(ctx, what, func(ctx context.Context) error {
			_, err := h.p.enrich.Enrich(ctx, request)
			return err
		})
	}
}

// execute asks for dry runs alone.
func (h *hostility) execute(ctx context.Context, t *trial) {
	var values []string
	if t.mayBePestered() { // or else a plugin that acts all the same does so to real machines
		values = awkward()
	}
	for _, act := range t.acts() {
		for _, value := range values {
			h.call(ctx, fmt.Sprintf("a dry run of %s at %q", act.Verb, clip(value)), func(ctx context.Context) error {
				request := t.request(act, t.instance.Name, newKey(), true)
				request.Target.Value = value
				_, err := h.p.act.Execute(ctx, request)
				return err
			})
		}
		for what, spoil := range map[string]func(*pluginv1.ExecuteRequest){
			"without a target":                 func(r *pluginv1.ExecuteRequest) { r.Target = nil },
			"with parameters that are no JSON": func(r *pluginv1.ExecuteRequest) { r.Parameters = []byte("{") },
			"with parameters that are a list":  func(r *pluginv1.ExecuteRequest) { r.Parameters = []byte("[1]") },
			"without a key":                    func(r *pluginv1.ExecuteRequest) { r.IdempotencyKey = "" },
			"with a key of 64 KiB":             func(r *pluginv1.ExecuteRequest) { r.IdempotencyKey = strings.Repeat("k", 64<<10) },
			"without an end":                   func(r *pluginv1.ExecuteRequest) { r.NotAfter = nil },
			"of a verb that there is not":      func(r *pluginv1.ExecuteRequest) { r.Verb = "no_such_verb" },
		} {
			h.call(ctx, "a dry run "+what, func(ctx context.Context) error {
				request := t.request(act, t.instance.Name, newKey(), true)
				spoil(request)
				_, err := h.p.act.Execute(ctx, request)
				return err
			})
		}
	}
}

// detect begins sessions as nobody should; each is broken off.
func (h *hostility) detect(ctx context.Context, i *Instance) {
	ack := &pluginv1.DetectRequest{Message: &pluginv1.DetectRequest_Ack{Ack: &pluginv1.DetectAck{Batch: 99}}}
	owed := &pluginv1.DetectRequest{Message: &pluginv1.DetectRequest_Credit{Credit: &pluginv1.DetectCredit{Batches: -5}}}
	for what, do := range map[string]func(*session){
		"that is broken off":                            func(*session) {},
		"that acknowledges what was not sent":           func(s *session) { s.send(ack) },
		"that gives negative credit":                    func(s *session) { s.send(owed) },
		"that stops twice":                              func(s *session) { s.stop(); s.stop() },
		"with a message that holds nothing":             func(s *session) { s.send(&pluginv1.DetectRequest{}) },
		"that starts twice":                             func(s *session) { s.send(&pluginv1.DetectRequest{Message: &pluginv1.DetectRequest_Start{}}) },
		"that ends its requests without having stopped": func(s *session) { _ = s.stream.CloseSend() },
	} {
		h.session(ctx, i, "a session "+what, nil, do)
	}
	for _, cursor := range []string{"\x00", "{", `{"version":99}`, "not a cursor of this plugin", strings.Repeat("c", 64<<10)} {
		h.session(ctx, i, fmt.Sprintf("a session from the cursor %q", clip(cursor)), []byte(cursor), func(*session) {})
	}
}

func (h *hostility) session(ctx context.Context, i *Instance, what string, cursor []byte, do func(*session)) {
	h.call(ctx, what, func(ctx context.Context) error {
		s, err := h.p.open(ctx, i.Name, sessionStart{cursor: cursor})
		if err != nil {
			return err
		}
		defer s.end()
		_, _ = s.next(sessionBegins)
		do(s)
		_, err = s.next(sessionBegins / 5)
		return err
	})
}

// largeMessage sends more than gRPC takes where nobody tells it otherwise.
func largeMessage(ctx context.Context, t *trial) error {
	p, err := t.start(ctx)
	if err != nil {
		return err
	}
	large := strings.Repeat("x", 8<<20)
	all := t.subjects()
	if len(all) == 0 {
		return skipf("the plugin offers no connector")
	}
	of := all[0]
	found, err := p.tryConfigure(ctx, of.kind(), of.connector.GetName(), "large", encode(change(of.config, "no_such_attribute", large)), encode(of.connection))
	if err != nil && status.Code(err) != codes.InvalidArgument {
		return p.told(fail(fmt.Sprintf("Set the limits of messages received and sent to %d bytes (grpc.max_receive_message_length and …send…).", sdk.MaxMessage),
			"a request of 8 MiB is answered: %s", text(err)))
	}
	for _, d := range found {
		if size := len(d.GetSummary()) + len(d.GetDetail()); size > 64<<10 {
			return fail("Shorten values in messages.", "a complaint about a long value has %d bytes", size)
		}
	}
	return nil
}

// cancellation ends what is under way: sessions, and calls while the far end holds its
// answers.
func cancellation(ctx context.Context, t *trial) error {
	if t.instance.Kind == sdk.KindDetector {
		return t.cancelSessions(ctx)
	}
	if t.instance.Stall == nil {
		return skipf("the suite has no far end that it can make slow")
	}
	if t.instance.Kind == sdk.KindAction && len(t.instance.Acts) == 0 {
		return skipf("the suite was given nothing to do")
	}
	p, err := t.configured(ctx)
	if err != nil {
		return err
	}
	held, release := t.instance.Stall()
	defer release()
	call, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan struct{})
	go func() { // ends with its context, and is waited for
		defer close(ended)
		if t.instance.Kind == sdk.KindEnrichment {
			_, _ = p.enrich.Enrich(call, &pluginv1.EnrichRequest{Instance: t.instance.Name, Questions: questionsOf(t.questions()[:1])})
			return
		}
		_, _ = p.act.Execute(call, t.request(t.acts()[0], t.instance.Name, newKey(), false))
	}()
	defer func() { <-ended }()
	defer cancel()
	limit := time.NewTimer(t.settings.Patience)
	defer limit.Stop()
	select {
	case <-held:
	case <-ended:
		return skipf("the call was answered, and the far end held no request")
	case <-limit.C:
		return skipf("no request came to the far end within %s", t.settings.Patience)
	}
	cancel()
	return t.closesInTime(ctx, p, "a cancelled call")
}

// closesInTime closes the instance, which waits for what is under way.
func (t *trial) closesInTime(ctx context.Context, p *process, what string) error {
	ctx, cancel := context.WithTimeout(ctx, cancelLimit)
	defer cancel()
	if _, err := p.plugin.Close(ctx, &pluginv1.CloseRequest{Instance: t.instance.Name}); err != nil {
		return p.told(fail("Give the call's context to whatever it waits for.", "%s is still under way %s later: Close is answered: %s", what, cancelLimit, text(err)))
	}
	return nil
}

func (t *trial) cancelSessions(ctx context.Context) error {
	const do = "End what a session does when its stream ends, when stop comes, and when its instance is closed."
	p, err := t.configured(ctx)
	if err != nil {
		return err
	}
	begin := func() (*session, error) {
		s, err := p.open(ctx, t.instance.Name, sessionStart{})
		if err == nil {
			_, _ = s.next(sessionBegins)
		}
		return s, err
	}
	stopped, err := begin()
	if err != nil {
		return err
	}
	defer stopped.end()
	stopped.stop()
	if !stopped.endsWithin(cancelLimit) {
		return p.told(fail(do, "%s after stop the session has not ended", cancelLimit))
	}
	if stopped.err != nil {
		return p.told(fail("End a session that was stopped without an error.", "a session that was stopped ends with: %s", text(stopped.err)))
	}
	broken, err := begin()
	if err != nil {
		return err
	}
	broken.end()
	if err := t.closesInTime(ctx, p, "a session that was broken off"); err != nil {
		return err
	}
	if err := p.configure(ctx, t.instance, t.instance.Name); err != nil {
		return err
	}
	open, err := begin()
	if err != nil {
		return err
	}
	defer open.end()
	return t.closesInTime(ctx, p, "a session whose instance is closed")
}

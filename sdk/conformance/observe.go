package conformance

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/kelpie-sec/kelpie/sdk"
	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
)

// observe has an instance do what it does, without an effect, and returns what it said in a
// form that can be compared.
func (t *trial) observe(ctx context.Context, p *process, id string) (string, error) {
	switch t.instance.Kind {
	case sdk.KindDetector:
		return t.observeDetector(ctx, p, id)
	case sdk.KindEnrichment:
		return t.observeEnrichment(ctx, p, id)
	}
	ctx, cancel := context.WithTimeout(ctx, t.settings.Patience)
	defer cancel()
	answer, err := p.act.Execute(ctx, t.request(t.acts()[0], id, newKey(), true))
	if err == nil && answer.GetInstance() != id {
		err = fmt.Errorf("it answers for the instance %q", clip(answer.GetInstance()))
	}
	return answer.GetOutcome().String(), err
}

func (t *trial) observeDetector(ctx context.Context, p *process, id string) (string, error) {
	payloads := t.instance.samples(3)
	withdraw, err := t.offer(ctx, payloads)
	if err != nil {
		return "", err
	}
	defer withdraw()
	as := *t.instance
	as.Name = id
	got, err := (&trial{suite: t.suite, check: t.check, instance: &as}).gather(ctx, p, gathering{want: t.wanted(len(payloads))})
	said, n := sha256.New(), 0
	for _, b := range got {
		for _, e := range b.GetEvents() { // how their ids are made is for other checks
			if n < enough {
				said.Write(e.GetRaw())
				n++
			}
		}
	}
	return fmt.Sprintf("%d events (%x)", n, said.Sum(nil)[:4]), err
}

func (t *trial) observeEnrichment(ctx context.Context, p *process, id string) (string, error) {
	questions := t.questions()
	if !t.mayBePestered() {
		questions = questions[:1]
	}
	answers, err := t.ask(ctx, p, id, questions)
	if err != nil {
		return "", err
	}
	var said strings.Builder
	for _, a := range answers {
		a = proto.Clone(a).(*pluginv1.QuestionAnswer)
		a.Ttl = nil
		for _, one := range a.GetAnswers() {
			one.At = nil
		}
		for _, found := range a.GetObservables() {
			found.At = nil
		}
		// prototext varies its spaces so that nobody depends on them.
		said.WriteString(strings.Join(strings.Fields(prototext.Format(a)), " ") + "; ")
	}
	return said.String(), nil
}

// ask asks in calls of the connector's size.
func (t *trial) ask(ctx context.Context, p *process, id string, questions []sdk.Observable) ([]*pluginv1.QuestionAnswer, error) {
	var all []*pluginv1.QuestionAnswer
	for chunk := range slices.Chunk(questions, max(1, int(t.connector().GetBatchLimit()))) {
		answer, err := t.askOnce(ctx, p, id, chunk)
		if err != nil {
			return nil, err
		}
		if answer.GetInstance() != id {
			return nil, fmt.Errorf("it answers for the instance %q", clip(answer.GetInstance()))
		}
		all = append(all, answer.GetAnswers()...)
	}
	return all, nil
}

func (t *trial) askOnce(ctx context.Context, p *process, id string, questions []sdk.Observable) (*pluginv1.EnrichResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, t.settings.Patience)
	defer cancel()
	return p.enrich.Enrich(ctx, &pluginv1.EnrichRequest{Instance: id, Questions: questionsOf(questions)})
}

func questionsOf(observables []sdk.Observable) []*pluginv1.Question {
	var all []*pluginv1.Question
	for _, o := range observables {
		all = append(all, &pluginv1.Question{Observable: &pluginv1.Observable{Kind: o.Kind, Value: o.Value}, At: timestamppb.Now()})
	}
	return all
}

// questions are the instance's, or one of each kind that the connector takes.
func (t *trial) questions() []sdk.Observable {
	if len(t.instance.Questions) > 0 {
		return t.instance.Questions
	}
	var all []sdk.Observable
	for _, kind := range t.connector().GetTakes() {
		all = append(all, sdk.Observable{Kind: kind, Value: example(kind)})
	}
	if len(all) == 0 { // which the check of the schema complains about
		all = append(all, sdk.Observable{Kind: sdk.IP, Value: example(sdk.IP)})
	}
	return all
}

// mayBePestered says that whoever is asked is the test's own, or the organisation's: nobody's
// quota is used up, and no real machine is meant.
func (t *trial) mayBePestered() bool {
	i := t.instance
	watched := slices.ContainsFunc(i.Acts, func(a Act) bool { return a.State != nil })
	return t.connector().GetLocal() || i.Limit != nil || i.Stall != nil || watched
}

// example is a value that is nobody's: addresses of RFC 5737, names of RFC 2606.
func example(kind string) string {
	values := map[string]string{
		sdk.Host: "ws-17.example.org", sdk.User: "kim", sdk.Account: "kim@example.org", sdk.IP: "198.51.100.7",
		sdk.MAC: "00:00:5e:00:53:01", sdk.Domain: "example.org", sdk.URL: "https://www.example.org/a?b=c",
		sdk.Email: "kim@example.org", sdk.Process: "sample.exe", sdk.File: "/tmp/sample.txt", sdk.Resource: "sample/one",
		sdk.Hash: strings.Repeat("0", 64), "address": "kim@example.org",
	}
	return values[kind]
}

// acts are the instance's, or else one of each verb, which are good for dry runs alone.
func (t *trial) acts() []Act {
	if len(t.instance.Acts) > 0 {
		return t.permitted()
	}
	var all []Act
	for _, v := range t.connector().GetVerbs() {
		act := Act{Verb: v.GetName(), Parameters: sample(v.GetParameters())}
		if len(v.GetTargets()) > 0 {
			act.Target = sdk.Target{Kind: v.GetTargets()[0], Value: example(v.GetTargets()[0])}
		}
		all = append(all, act)
	}
	if len(all) == 0 { // likewise
		all = append(all, Act{Verb: "notify"})
	}
	return all
}

// permitted are the acts that may really be done.
func (t *trial) permitted() []Act {
	all := slices.Clone(t.instance.Acts)
	for n := range all {
		if all[n].Parameters == nil {
			all[n].Parameters = sample(t.verb(all[n]).GetParameters())
		}
	}
	return all
}

// verb is what the connector says of an act's verb.
func (t *trial) verb(a Act) *pluginv1.Verb {
	verbs := t.connector().GetVerbs()
	n := slices.IndexFunc(verbs, func(v *pluginv1.Verb) bool { return v.GetName() == a.Verb })
	if n < 0 {
		return nil
	}
	return verbs[n]
}

// actLimit is how long an act may take.
const actLimit = 20 * time.Second

func (t *trial) request(a Act, id, key string, dry bool) *pluginv1.ExecuteRequest {
	parameters, _ := json.Marshal(a.Parameters)
	if len(a.Parameters) == 0 {
		parameters = nil
	}
	return &pluginv1.ExecuteRequest{
		Instance: id, Verb: a.Verb, Target: targetOf(a.Target), Parameters: parameters,
		IdempotencyKey: key, NotAfter: timestamppb.New(time.Now().Add(actLimit)), DryRun: dry, Attempt: 1,
	}
}

func targetOf(t sdk.Target) *pluginv1.Target {
	return &pluginv1.Target{Kind: t.Kind, Value: t.Value, Known: t.Known}
}

// newKey is an idempotency key that nobody has used.
func newKey() string { return "check-" + strings.ToLower(rand.Text()) }

package rehearsal

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
)

// choose is what the people of a test choose now: each choice once of every question that
// its step has asked.
func (o *outcome) choose() []model.Input {
	var all []model.Input
	for _, id := range slices.Sorted(maps.Keys(o.questions)) {
		q := o.questions[id]
		if !q.Open() || !told(&q) {
			continue
		}
		for i := range o.test.Choices {
			c := &o.test.Choices[i]
			if c.Step != q.Response+"."+q.Step || o.chosen[i][id] {
				continue
			}
			if o.chosen[i] == nil {
				o.chosen[i] = map[string]bool{}
			}
			o.chosen[i][id] = true
			all = append(all, model.Input{Command: &model.Command{
				Kind: model.Choose, Question: id, Option: c.Option, Because: c.Reason,
				By: o.by(c, &q), Road: model.RoadCommand,
			}})
		}
	}
	return all
}

// told tells whether anybody is asked.
func told(q *model.Question) bool {
	return slices.ContainsFunc(q.Asked, func(a model.Asked) bool { return a.Intent != "" })
}

// by is who makes a choice.
func (o *outcome) by(c *Choice, q *model.Question) string {
	if c.By != "" {
		return c.By
	}
	for _, a := range q.Asked {
		switch {
		case a.Intent == "" || a.Subject:
		case a.Person != "":
			return a.Person
		default:
			return a.Address
		}
	}
	return q.Asked[0].Address
}

// asking are the steps that have asked people something about cases, sorted, each once.
func (o *outcome) asking(cases []model.Case) []string {
	names := namesOf(cases)
	var steps []string
	for _, q := range o.questions {
		if names[q.Case] && told(&q) && (o.test.Responses == nil || slices.Contains(o.test.Responses, q.Response)) {
			steps = append(steps, q.Response+"."+q.Step)
		}
	}
	slices.Sort(steps)
	return slices.Compact(steps)
}

// unchosen are the choices that could not be made, or did not count.
func (o *outcome) unchosen() []Failure {
	var all []Failure
	for i := range o.test.Choices {
		c := &o.test.Choices[i]
		what := fmt.Sprintf("choose %q", c.Option)
		if len(o.chosen[i]) == 0 {
			all = append(all, Failure{what, c.Name + " to ask", "it did not"})
		}
		for _, id := range slices.Sorted(maps.Keys(o.chosen[i])) {
			q := o.questions[id]
			n := slices.IndexFunc(q.Choices, func(made model.Choice) bool { return made.Option == c.Option && made.By == o.by(c, &q) })
			switch {
			case n < 0:
				all = append(all, Failure{what, "it to count", "nothing came of it"})
			case !q.Choices[n].Counts:
				all = append(all, Failure{what, "it to count", q.Choices[n].Why})
			}
		}
	}
	return all
}

// maxWaits bounds how often time passes while people are waited for.
const maxWaits = 200

// silence passes time until nobody is waited for any more.
func (o *outcome) silence(began time.Time) error {
	for range maxWaits {
		waits := false
		for _, q := range o.questions {
			waits = waits || q.Open()
		}
		if !waits || o.due == nil {
			return nil
		}
		o.at = o.at.Add(max(*o.due, time.Second))
		if err := o.tick(began); err != nil {
			return err
		}
	}
	return nil
}

func (o *outcome) tick(began time.Time) error {
	return o.input(model.Input{Tick: &model.Tick{Boot: "rehearsal", Uptime: o.at.Sub(began), Wall: o.at}})
}

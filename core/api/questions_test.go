package api

import (
	"strings"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/model"
)

// TestQuestionRequests: what becomes of a choice is what decide has made of it.
func TestQuestionRequests(t *testing.T) {
	w := newWorld(t)
	casesAndIntents(w)
	q := model.Question{
		ID: "q-aa1", Kind: model.QuestionChoice, Case: "c-aa11", Response: "response.ask", Step: "ask", State: model.QuestionOpen,
		OpenedAt: noon, Options: []model.Option{{Name: "contain"}, {Name: "ignore", NeedsReason: true}},
		Levels: []model.Level{{To: []string{"kim@example.org"}}}, Asked: []model.Asked{{Address: "kim@example.org", Intent: "i-1", At: noon}},
	}
	over := q
	over.ID, over.State, over.Case, over.OpenedAt = "q-aa2", model.QuestionTimedOut, "c-bb33", noon.Add(time.Second)
	seq := uint64(100)
	commit := func(all ...model.Question) {
		seq++
		w.commit(decide.Changes{Position: decide.Position{Seq: seq}, At: noon, Questions: all})
	}
	commit(q, over)
	w.engine.decide = func(c model.Command) { // as decide would, by the reason
		ch := model.Choice{ID: c.ID, Option: c.Option, By: c.By, Reason: c.Because, Road: c.Road, Counts: c.Because == "counts"}
		switch c.Because {
		case "counts":
			q.State, q.Choice, q.By = model.QuestionAnswered, c.Option, c.By
		case "many":
			return
		case "subject":
			ch.Subject, ch.Why = true, "kim is a subject of the case"
		default:
			ch.Why = "it is over"
		}
		q.Choices = append(q.Choices, ch)
		commit(q)
	}
	choice := func(because, more string) string {
		return `{"by":"kim","option":"contain","because":"` + because + `"` + more + `}`
	}
	for _, c := range []struct {
		name, method, path, body string
		code                     int
		want                     string // part of the answer
	}{
		{"all", "GET", "/v1/questions", "", 200, `"q-aa2"`},
		{"of a state", "GET", "/v1/questions?state=open", "", 200, `[{"id":"q-aa1"`},
		{"of none", "GET", "/v1/questions?state=failed", "", 200, `[]`},
		{"of an odd state", "GET", "/v1/questions?state=lost", "", 400, "state must be one of open, answered, timed_out"},
		{"of a case", "GET", "/v1/questions?case=bb", "", 200, `[{"id":"q-aa2"`},
		{"of an older id", "GET", "/v1/questions?case=c-cc44", "", 200, `"case_now":"c-aa11"`},
		{"of a case in a state", "GET", "/v1/questions?case=bb&state=open", "", 200, `[]`},
		{"of no case", "GET", "/v1/questions?case=zz", "", 404, "there is no case c-zz"},
		{"to somebody", "GET", "/v1/questions?address=KIM@example.org&state=open", "", 200, `[{"id":"q-aa1"`},
		{"a page", "GET", "/v1/questions?after=q-aa1", "", 200, `[{"id":"q-aa2"`},
		{"after none", "GET", "/v1/questions?after=q-zz", "", 404, "there is no question q-zz"},
		{"too many", "GET", "/v1/questions?limit=1001", "", 400, "limit must be a number"},
		{"one", "GET", "/v1/questions/q-aa1", "", 200, `"told":{"i-1":{"state":"unknown"`},
		{"without its prefix", "GET", "/v1/questions/aa2", "", 200, `"q-aa2"`},
		{"ambiguous", "GET", "/v1/questions/q-a", "", 409, "q-aa1, q-aa2"},
		{"unknown", "GET", "/v1/questions/q-zz", "", 404, `there is no question q-zz; \"kelpie question list\" lists them`},
		{"in a case", "GET", "/v1/cases/c-aa11", "", 200, `"questions":[{"id":"q-aa1"`},
		{"in a case without any", "GET", "/v1/cases/c-aa22", "", 200, `"questions":[]`},
		{"choose nothing", "POST", "/v1/questions/q-aa1/choose", `{"by":"kim"}`, 400, "names an option"},
		{"choose by nobody", "POST", "/v1/questions/q-aa1/choose", `{"by":" ","option":"contain"}`, 400, "by whom"},
		{"choose by a link", "POST", "/v1/questions/q-aa1/choose", choice("counts", `,"road":"link"`), 400, `\"api\" or \"command\"`},
		{"a long reason", "POST", "/v1/questions/q-aa1/choose", choice(strings.Repeat("a", 5000), ""), 400, "4096"},
		{"an unknown question", "POST", "/v1/questions/q-zz/choose", choice("counts", ""), 404, "there is no question q-zz"},
		{"it is over", "POST", "/v1/questions/q-aa1/choose", choice("late", ""), 409, "it does not count: it is over"},
		{"a subject", "POST", "/v1/questions/q-aa1/choose", choice("subject", ""), 403, "kim is a subject of the case"},
		{"too many before", "POST", "/v1/questions/q-aa1/choose", choice("many", ""), 409, "too many before it"},
		{"it counts", "POST", "/v1/questions/q-aa1/choose", choice("counts", `,"road":"command","address":"kim@example.org"`), 200, `"state":"answered"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.t = t
			code, body := w.do(c.method, c.path, strings.NewReader(c.body))
			if code != c.code || !strings.Contains(string(body), c.want) {
				t.Errorf("%s %s: %d %.300s, want %d with %s", c.method, c.path, code, body, c.code, c.want)
			}
		})
	}
	last := w.engine.orders[len(w.engine.orders)-1]
	if last.Kind != model.Choose || last.Question != "q-aa1" || last.Road != model.RoadCommand || last.Address != "kim@example.org" || last.ID == "" {
		t.Errorf("order %+v", last)
	}
}

package engine

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/faulttest"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/store"
)

// chatting is a configuration that asks for each address that alerts come from.
const chatting = `
kelpie {
  actions = "on"
}

detector "file" "feed" {
  path     = "feed.json"
  interval = "10ms"
}

pipeline "alerts" {
  from    = [detector.feed]
  when    = event.raw.kind == "alert"
  alerts  = true
  respond = [response.look]

  map {
    title      = "alert of ${event.raw.from}"
    time       = event.raw.time
    severity   = 70
    indicators = { ip = event.raw.from }
  }
}

score {
  preset = "balanced"
}

user "kim" {
  mail  = ["kim@example.org"]
  roles = ["responder"]
}

response "look" {
  step "ask" {
    do   = action.chat.notify
    to   = "kim@example.org"
    wait = "9h"

    option "tell" {
      run = [step.tell]
    }
    option "ignore" {}
  }

  step "tell" {
    do   = action.sink.notify
    to   = "soc@example.org"
    when = false
  }
}

action "chat" "chat" {
  answers = "answers"
  notes   = "notes"
}

action "counter" "sink" {
  file = "calls"
}
`

func (r *running) questions() []model.Question {
	r.w.t.Helper()
	all, err := r.k.Store().Questions(r.w.t.Context(), store.QuestionQuery{Limit: store.MostQuestions})
	r.w.check(err)
	return all
}

// told are the questions that were delivered, and the keys they were delivered by.
func (r *running) told(n int) (keys []string) {
	r.w.t.Helper()
	r.until("the questions", func() bool {
		keys = nil
		for _, q := range r.questions() {
			if !q.AcceptedAt.IsZero() {
				keys = append(keys, q.Asked[0].Intent)
			}
		}
		return len(keys) == n
	})
	return keys
}

// answer appends lines to what people answer.
func (w *world) answer(lines ...string) {
	w.t.Helper()
	f, err := os.OpenFile(w.path("answers"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	w.check(err)
	_, err = f.WriteString(strings.Join(lines, "\n") + "\n")
	w.check(err)
	w.check(f.Close())
}

// cursor that decide has of the stream.
func (r *running) cursor() string {
	cursor, err := r.k.Store().AnswerCursor(r.w.t.Context(), "action.chat")
	r.w.check(err)
	return string(cursor)
}

func (r *running) untilCursor(n int) {
	r.w.t.Helper()
	want := fmt.Sprintf("chat/%s\n%d", r.connector(), n)
	r.until(fmt.Sprintf("cursor %q", want), func() bool { return r.cursor() == want })
}

func (r *running) connector() string {
	a, err := r.k.running.host.Action("action.chat")
	r.w.check(err)
	return a.Connector()
}

// choices of all questions.
func (r *running) choices() (counting, refused int) {
	for _, q := range r.questions() {
		for _, c := range q.Choices {
			if c.Counts {
				counting++
			} else {
				refused++
			}
		}
	}
	return counting, refused
}

func (r *running) trouble(what string) *api.Trouble {
	for _, t := range r.status().Troubles {
		if strings.Contains(t.What, what) {
			return &t
		}
	}
	return nil
}

// TestAnswersDecide: what people answer by an action decides its questions, once, however
// often it comes and whatever is killed meanwhile; what is no answer only moves the cursor.
func TestAnswersDecide(t *testing.T) {
	w := newWorld(t, chatting)
	w.write("answers", "")
	w.feed("feed.json", feed, 0, feed.Events)
	n := len(feed.Cases())
	r := w.live(nil)
	keys := r.told(n)

	first := keys[0] + " kim@example.org tell"
	w.answer("i-nobody kim tell", "Not_A_Key kim tell", keys[0]+" kim dance", keys[0]+" joe tell", first, first, keys[0]+" kim ignore")
	r.untilCursor(7)
	q, err := r.k.Store().Question(t.Context(), r.questionOf(keys[0]))
	w.check(err)
	if q.State != model.QuestionAnswered || q.Choice != "tell" || q.By != "kim" || q.Road != model.RoadAnswers {
		t.Errorf("%+v", q)
	}
	// dance, joe's, and the one that came too late; the same again is none.
	if counting, refused := r.choices(); counting != 1 || refused != 3 {
		t.Errorf("%d choices count, %d do not: %+v", counting, refused, q.Choices)
	}
	r.until("the step", func() bool { return w.calls("calls") == 1 })

	// The plugin is killed while answers come.
	w.answer(keys[1] + " kim tell")
	w.check(syscall.Kill(r.pids()["chat"][0], syscall.SIGKILL))
	w.answer(keys[2] + " kim tell")
	r.untilCursor(9)
	r.until("the steps", func() bool { return w.calls("calls") == 3 })

	// Kelpie is killed: it goes on from a copy of its data, which is older.
	w.check(faulttest.CopyData(w.path("killed"), w.settings.DataDir))
	w.answer(keys[3]+" kim tell", keys[4]+" kim ignore") // which needs a reason
	r.untilCursor(11)
	r.until("the steps", func() bool { return w.calls("calls") == 4 })
	r.end()
	w.check(os.RemoveAll(w.settings.DataDir))
	w.check(os.Rename(w.path("killed"), w.settings.DataDir))
	w.write("calls", "") // whoever was called knows the key; the counter does not
	r = w.live(nil)
	r.untilCursor(11)
	if counting, refused := r.choices(); counting != 4 || refused != 4 {
		t.Errorf("%d choices count, %d do not", counting, refused)
	}
	r.until("the step", func() bool { return w.calls("calls") == 1 })
	if c := r.trouble("action.chat"); c != nil {
		t.Errorf("trouble %+v", c)
	}
	r.end()

	// A start with nothing new goes on from the cursor.
	r = w.live(nil)
	r.until("a stream", func() bool { return strings.HasSuffix(w.readFile("notes"), "from \"11\"\n") })
	r.end()
}

// questionOf the intent that tells it.
func (r *running) questionOf(key string) string {
	in, err := r.k.Store().Intent(r.w.t.Context(), key)
	r.w.check(err)
	return in.Question
}

// TestAnswersThatAreBroken: a stream that ends, or that no answer may come by, is told as
// trouble, tried again, and hurts nobody else; a flood is taken slowly, and told too.
func TestAnswersThatAreBroken(t *testing.T) {
	for name, tt := range map[string]struct {
		line, trouble string
	}{
		"ended":    {"end", "action.chat hands back no answers: the plugin ended its stream of answers"},
		"too long": {"huge", "a cursor of 70000 bytes, more than 65536"},
		"flood":    {"flood", "the plugin sends more answers than people give"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, chatting)
			w.write("answers", "")
			w.feed("feed.json", feed, 0, feed.Events)
			r := w.live(nil)
			keys := r.told(len(feed.Cases()))
			w.answer(tt.line)
			r.until("the trouble", func() bool { return r.trouble(tt.trouble) != nil })

			// Others go on.
			w.check(r.k.Order(t.Context(), model.Command{
				Kind: model.Choose, Question: r.questionOf(keys[0]), Option: "tell", By: "kim", Road: model.RoadCommand,
			}))
			r.until("the step", func() bool { return w.calls("calls") == 1 })
			if tt.line == "flood" {
				if n := strings.Count(w.log.String(), "is to nothing that was asked"); n > 3 {
					t.Errorf("%d answers were logged", n)
				}
				if n := strings.Count(w.readFile("notes"), "flooded"); n > 100 {
					t.Errorf("%d hundred answers were sent", n)
				}
			}

			// What mends it is a product that says something else.
			w.write("answers", keys[1]+" kim tell\n")
			if tt.line == "flood" {
				w.check(syscall.Kill(r.pids()["chat"][0], syscall.SIGKILL))
			}
			r.until("the answer", func() bool { return w.calls("calls") == 2 })
			if tt.line != "flood" {
				r.until("no trouble", func() bool { return r.trouble("action.chat") == nil })
			}
			r.end()
		})
	}
}

// TestAnswersFollowTheConfiguration: a stream opens with the instance that hands it back,
// ends with it, and goes on where it was when it comes back; another block of the same
// connector goes on too.
func TestAnswersFollowTheConfiguration(t *testing.T) {
	quiet := edit(t, chatting, "do   = action.chat.notify", "do   = action.mail.notify",
		"action \"chat\" \"chat\" {\n  answers = \"answers\"\n  notes   = \"notes\"\n}",
		"action \"email\" \"mail\" {\n  server   = \"smtp://127.0.0.1:9\"\n  from     = \"kelpie@example.org\"\n}")
	w := newWorld(t, chatting)
	w.write("answers", "")
	r := w.live(nil)
	apply := func(text string) {
		t.Helper()
		w.configure(text)
		if a := r.apply(false); a.Outcome != api.Applied {
			t.Fatalf("%s: %s\n%s", a.Outcome, a.Error, a.Diagnostics)
		}
	}
	opened := func(n int, cursor string) {
		t.Helper()
		r.until("a stream", func() bool {
			notes := w.readFile("notes")
			return strings.Count(notes, "from ") == n && strings.HasSuffix(notes, fmt.Sprintf("from %q\n", cursor))
		})
	}
	opened(1, "")
	w.answer("i-nobody kim tell", "i-nobody kim tell")
	r.untilCursor(2)
	apply(edit(t, chatting, "notes   = \"notes\"", "notes   = \"notes\"\n  mark    = \"other\""))
	opened(2, "2")
	apply(quiet)
	r.until("its end", func() bool {
		r.k.running.answering.mu.Lock()
		defer r.k.running.answering.mu.Unlock()
		return len(r.k.running.answering.streams) == 0
	})
	w.answer("i-nobody kim tell")
	apply(chatting)
	opened(3, "2")
	r.untilCursor(3)
	r.end()
}

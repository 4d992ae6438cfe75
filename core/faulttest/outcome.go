//go:build linux

package faulttest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/mail"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/model"
)

// Outcome is what a world came to, as the program says and as its surroundings saw.
type Outcome struct {
	Cases   []api.Explanation
	Intents []model.Intent
	// Log holds the events of each source, in the order of the log.
	Log     map[string][]api.EventLine
	Effects map[string][]Effect
	Mails   []letter
	// Contained is, by verb and target, what was in force when the world had come to
	// rest; Held is what the program says is held at the very end.
	Contained map[string]string
	Held      []api.Held
	// Resting are the books of the program at rest, Final those of its data folder when
	// it had ended.
	Resting, Final Books
}

// letter is one mail that the server took.
type letter struct {
	id     string
	repeat bool // marked as a possible repeat
}

// outcome asks the running program, stops it in good order, and asks what is on the
// disk: both must say the same.
func (w *World) outcome() (Outcome, error) {
	var o Outcome
	if err := w.explain(&o); err != nil {
		return o, err
	}
	fence, err := w.fence()
	if err != nil {
		return o, err
	}
	o.Contained = fence.Contained
	o.Resting = w.books("at rest")
	if err := w.Stop(); err != nil {
		return o, err
	}
	before, err := w.kelpie("--json", "case", "list")
	if err != nil {
		return o, err
	}
	// Once more to the end of all sources: nothing is left to be done, or done again.
	if _, err := w.kelpie("run", "--once"); err != nil {
		return o, err
	}
	o.Final = w.books("at the end", o.Resting.Audit.Head.String())
	after, err := w.kelpie("--json", "case", "list")
	if err != nil {
		return o, err
	}
	if before != after {
		return o, fmt.Errorf("the cases are others after one more run:\n%s\nbefore\n%s", after, before)
	}
	if err := w.decode(&o.Intents, "--json", "intent", "list"); err != nil {
		return o, err
	}
	if err := w.decode(&o.Held, "--json", "held"); err != nil {
		return o, err
	}
	if o.Log, err = w.log(); err != nil {
		return o, err
	}
	o.Effects = w.Far.Effects()
	o.Mails, err = w.mails()
	return o, err
}

func (w *World) explain(o *Outcome) error {
	var lines []api.CaseLine
	if err := w.ask("cases", &lines); err != nil {
		return err
	}
	o.Cases = make([]api.Explanation, len(lines))
	for i, l := range lines {
		if err := w.ask("cases/"+url.PathEscape(l.ID)+"?raw=1", &o.Cases[i]); err != nil {
			return err
		}
	}
	return nil
}

// ask waits longer than get.
func (w *World) ask(path string, into any) error {
	return w.Until(path, func() (bool, error) {
		if err := w.alive(); err != nil {
			return false, err
		}
		return w.get(path, into) == nil, nil
	})
}

// log reads the events of all sources.
func (w *World) log() (map[string][]api.EventLine, error) {
	all := map[string][]api.EventLine{}
	for _, f := range w.Feeds {
		var newest []api.EventLine
		before := ""
		for {
			args := []string{"--json", "event", "list", "--source", "detector." + f.Name(), "--limit", "10000"}
			if before != "" {
				args = append(args, "--before", before)
			}
			var page api.EventPage
			if err := w.decode(&page, args...); err != nil {
				return nil, err
			}
			newest = append(newest, page.Events...)
			if before = page.Before; before == "" {
				break
			}
		}
		for i := len(newest) - 1; i >= 0; i-- {
			all[f.Name()] = append(all[f.Name()], newest[i])
		}
	}
	return all, nil
}

// payload of a line of the log.
func payload(l api.EventLine) []byte {
	if l.Raw != nil {
		return l.Raw
	}
	return l.Bytes
}

// mails reads what the mail server kept.
func (w *World) mails() ([]letter, error) {
	files, err := filepath.Glob(filepath.Join(w.dir, "mail", "new", "*"))
	if err != nil {
		return nil, err
	}
	var all []letter
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		m, err := mail.ReadMessage(bytes.NewReader(data))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, letter{
			id:     m.Header.Get("Message-Id"),
			repeat: strings.Contains(strings.ToLower(m.Header.Get("Subject")), "possible repeat"),
		})
	}
	return all, nil
}

// left names processes that outlive the core: on a machine with much to do they need a
// moment to be gone.
func (w *World) left() []string {
	var found []string
	err := w.within(leftPatience, "plugins to be gone", func() (bool, error) {
		found = w.processes()
		return len(found) == 0, nil
	})
	if err != nil {
		return found
	}
	return nil
}

const leftPatience = 2 * time.Second

// processes are those that work in the world's folder.
func (w *World) processes() []string {
	var found []string
	cwds, _ := filepath.Glob("/proc/[0-9]*/cwd")
	for _, link := range cwds {
		to, err := os.Readlink(link)
		if err != nil || !strings.HasPrefix(to, w.dir+"/") {
			continue
		}
		args, _ := os.ReadFile(filepath.Join(filepath.Dir(link), "cmdline"))
		found = append(found, fmt.Sprintf("process %s outlives the core", bytes.ReplaceAll(args, []byte{0}, []byte{' '})))
	}
	return found
}

// text of a value, for messages.
func text(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

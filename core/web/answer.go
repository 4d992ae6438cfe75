package web

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/kelpie-sec/kelpie/core/link"
	"github.com/kelpie-sec/kelpie/core/model"
)

// asked is a question to the reader of a link.
type asked struct {
	model.Question
	reader *model.Asked
}

// chosen is what the reader chose that counts or, if nothing does, last; nil: nothing.
func (a *asked) chosen() *model.Choice {
	var last *model.Choice
	for i := range a.Choices {
		c := &a.Choices[i]
		if last != nil && last.Counts {
			break
		}
		if c.Address == a.reader.Address || c.By == a.reader.Address || a.reader.Person != "" && c.By == a.reader.Person {
			last = c
		}
	}
	return last
}

// answerable tells whether the reader can choose now.
func (a *asked) answerable() bool {
	c := a.chosen()
	return a.Open() && (c == nil || !c.Counts && !a.reader.Subject)
}

// claim reads a token. With another outcome than ok nothing of the case is to be told.
func (p *Page) claim(token string) (link.Claim, outcome) {
	now := p.Now()
	c, err := p.Key.Read(token, now)
	switch {
	case errors.Is(err, link.ErrExpired):
		return c, expired
	case err != nil:
		return c, forged
	case !p.tokens.take(string(c.Kind)+c.ID+" "+c.Address, perToken, now):
		return c, tooMany
	}
	return c, ok
}

// questions gives what a claim's reader is asked. Of a digest those that are theirs.
func (p *Page) questions(ctx context.Context, c link.Claim) ([]asked, outcome) {
	ids := []string{c.ID}
	if c.Kind == link.Digest {
		var err error
		ids, err = p.Questions.Gathered(ctx, c.ID)
		if errors.Is(err, ErrNone) {
			return nil, foreign
		} else if err != nil {
			return nil, p.failed(err)
		}
		ids = ids[:min(len(ids), mostGathered)]
	}
	var all []asked
	for _, id := range ids {
		q, err := p.Questions.Question(ctx, id)
		if errors.Is(err, ErrNone) {
			continue
		} else if err != nil {
			return nil, p.failed(err)
		}
		a := asked{Question: q}
		a.reader = a.Asks(c.Address)
		if a.reader == nil || c.Kind == link.Question && link.Hash(optionNames(q.Options)) != c.Options {
			continue
		}
		all = append(all, a)
	}
	if len(all) == 0 {
		return nil, foreign
	}
	return all, ok
}

func optionNames(options []model.Option) []string {
	names := make([]string, len(options))
	for i, o := range options {
		names[i] = o.Name
	}
	return names
}

func (p *Page) failed(err error) outcome {
	p.Logger.Error("the answer page can't be made", "error", err)
	return unavailable
}

// show answers a GET.
func (p *Page) show(w http.ResponseWriter, r *http.Request, token string) {
	c, out := p.claim(token)
	if out != ok {
		p.tell(w, r, out)
		return
	}
	all, out := p.questions(r.Context(), c)
	if out != ok {
		p.tell(w, r, out)
		return
	}
	p.render(w, r, c, all, given{option: r.URL.Query().Get(optionField)}, http.StatusOK)
}

// given is what a form has, or what a link chooses beforehand.
type given struct {
	question, option, reason, note string
	problem                        string // why it was not taken
}

// post answers a POST: it gives decide the choice, and then leads to what became of it.
func (p *Page) post(w http.ResponseWriter, r *http.Request, token string) {
	if !sameOrigin(r, p.Origin()) {
		p.tell(w, r, crossSite)
		return
	}
	c, out := p.claim(token)
	if out != ok {
		p.tell(w, r, out)
		return
	}
	fields, fine := form(w, r)
	if !fine {
		p.tell(w, r, unreadable)
		return
	}
	all, out := p.questions(r.Context(), c)
	if out != ok {
		p.tell(w, r, out)
		return
	}
	a, g, out := readChoice(all, c, fields)
	if out != ok {
		p.tell(w, r, out)
		return
	}
	if !a.answerable() {
		p.render(w, r, c, all, given{}, http.StatusConflict)
		return
	}
	reason := ""
	if reason, g.problem = reasonOf(a.Option(g.option), g); g.problem != "" {
		p.render(w, r, c, all, g, http.StatusUnprocessableEntity)
		return
	}
	err := p.Questions.Choose(r.Context(), model.Command{
		Kind: model.Choose, Question: a.ID, Option: g.option, Because: reason,
		By: by(a.reader), Address: a.reader.Address, Road: model.RoadLink,
	})
	if err != nil {
		p.Logger.Error("an answer is not known to be taken", "question", a.ID, "error", err)
		p.tell(w, r, notTaken)
		return
	}
	to := Path + token
	if c.Kind == link.Digest {
		to += "#" + url.PathEscape(a.ID)
	}
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
}

func by(reader *model.Asked) string {
	if reader.Person != "" {
		return reader.Person
	}
	return reader.Address
}

// readChoice finds the question that a form answers, and what it chooses. A form names
// options and reasons by their numbers.
func readChoice(all []asked, c link.Claim, fields url.Values) (*asked, given, outcome) {
	id := fields.Get("question")
	if id == "" && c.Kind == link.Question {
		id = c.ID
	}
	at := slices.IndexFunc(all, func(a asked) bool { return a.ID == id })
	if at < 0 {
		return nil, given{}, foreign
	}
	a := &all[at]
	g := given{question: id, note: strings.TrimSpace(strings.ToValidUTF8(fields.Get("note"), ""))}
	if fields.Get(optionField) == "" {
		return a, g, ok
	}
	n, fine := numbered(fields.Get(optionField), len(a.Options))
	if !fine {
		return nil, given{}, unreadable
	}
	o := a.Options[n]
	g.option = o.Name
	if reason := fields.Get("reason-" + strconv.Itoa(n)); reason != "" {
		n, fine := numbered(reason, len(o.Reasons))
		if !fine {
			return nil, given{}, unreadable
		}
		g.reason = o.Reasons[n]
	}
	return a, g, ok
}

// numbered reads the number of one of so many.
func numbered(text string, of int) (int, bool) {
	n, err := strconv.Atoi(text)
	return n, err == nil && 0 <= n && n < of
}

// reasonOf puts a reason together, or says what is missing.
func reasonOf(o *model.Option, g given) (reason, problem string) {
	switch {
	case o == nil:
		return "", "Choose one of these."
	case len(g.note) > maxNote:
		return "", "The note is too long."
	case o.NeedsReason && len(o.Reasons) > 0 && g.reason == "":
		return "", "Choose a reason as well."
	case o.NeedsReason && len(o.Reasons) == 0 && g.note == "":
		return "", "Say why, in the note."
	case g.reason != "" && g.note != "":
		return g.reason + ": " + g.note, ""
	}
	return g.reason + g.note, ""
}

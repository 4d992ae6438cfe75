package engine

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"slices"
	"sync"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/link"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/store"
	"github.com/kelpie-sec/kelpie/core/web"
	"github.com/kelpie-sec/kelpie/sdk"
)

// page is the answer page of a run, at the address that the generation in force says.
type page struct {
	flow *flow
	web  *web.Page

	mu      sync.Mutex
	now     *web.Listener // nil: there is none
	serving bool
}

// openPage takes the address and the key of links; nothing is answered yet. A run with an
// end has no page: it does not wait for people.
func (f *flow) openPage() error {
	key, err := link.Open(f.k.path(link.File))
	if err != nil {
		return err
	}
	f.page = &page{flow: f, web: &web.Page{
		Questions: questions{f.k}, Key: key, Logger: f.logger, Now: f.k.clock.now,
		Origin: func() string { return f.changes.generation().Config.Web.PublicURL },
	}}
	if f.options.Once {
		return nil
	}
	take, _, err := f.page.prepare(f.options.Config.Web)
	if err != nil {
		return err
	}
	take()
	return nil
}

// prepare opens what other settings say, as far as that is new. take goes on by it, and
// drop leaves all as it is; one of the two has to be called, and from one goroutine at a
// time.
func (p *page) prepare(s web.Settings) (take, drop func(), err error) {
	p.mu.Lock()
	was := p.now
	p.mu.Unlock()
	nothing := func() {}
	switch {
	case s.Listen == "":
		return func() { p.put(nil) }, nothing, nil
	case was != nil && was.Settings.Listen == s.Listen:
		keep, err := was.Become(s)
		return keep, nothing, err
	}
	l, err := web.Open(s, p.flow.logger, p.flow.k.clock.now)
	if err != nil {
		if was != nil && samePort(was.Settings.Listen, s.Listen) {
			err = errors.New("listen = \"" + s.Listen + "\": it is the port of the address of now, " + was.Settings.Listen + ", which is let go when the configuration is in force; write another port, or stop Kelpie and start it again")
		}
		return nil, nil, err
	}
	return func() { p.put(l) }, func() { _ = l.Close() }, nil
}

func samePort(a, b string) bool {
	_, one, err := net.SplitHostPort(a)
	_, other, otherErr := net.SplitHostPort(b)
	return err == nil && otherErr == nil && one == other
}

// put has another listener, or none, instead of the one of now.
func (p *page) put(l *web.Listener) {
	p.mu.Lock()
	was := p.now
	p.now = l
	if l != nil && p.serving {
		p.begin()
	}
	p.mu.Unlock()
	if was == nil {
		return
	}
	if err := was.Close(); err != nil {
		p.flow.logger.Warn("the answer page's address was not let go well", "error", err)
	}
}

// serve begins to answer.
func (p *page) serve() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.serving = true
	if p.now != nil {
		p.begin()
	}
}

func (p *page) begin() {
	p.now.Serve(p.web)
	p.flow.logger.Info("people answer here", "listen", p.now.Addr().String(), "public_url", p.now.Settings.PublicURL)
}

// stop answers nobody any more.
func (f *flow) stopPage() error {
	if f.page == nil {
		return nil
	}
	f.page.put(nil)
	return nil
}

func (p *page) troubles() []api.Trouble {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now == nil {
		return nil
	}
	if what := p.now.Trouble(); what != "" {
		return []api.Trouble{{What: what, Do: "look at listen and tls in the kelpie block, and at the files that tls names"}}
	}
	return nil
}

// questions are the store's and decide's, as the page sees them.
type questions struct{ k *Kelpie }

// Question gives one by its id.
func (q questions) Question(ctx context.Context, id string) (model.Question, error) {
	found, err := q.k.store.Question(ctx, id)
	return found, none(err)
}

// Told gives what an intent tells.
func (q questions) Told(ctx context.Context, intent string) (sdk.Notice, error) {
	in, err := q.k.store.Intent(ctx, intent)
	if err != nil {
		return sdk.Notice{}, none(err)
	}
	_, n, ok := noticeOf(in.Parameters)
	if !ok {
		return n, web.ErrNone
	}
	return n, nil
}

// Gathered gives what a message asks that tells of several questions. Since it lists the
// worst alone, it is also what its reader is asked besides; what is open comes first.
func (q questions) Gathered(ctx context.Context, intent string) ([]string, error) {
	n, err := q.Told(ctx, intent)
	if err != nil {
		return nil, err
	}
	in, err := q.k.store.Intent(ctx, intent)
	if err != nil {
		return nil, none(err)
	}
	open, err := q.k.store.QuestionsOpenTo(ctx, in.Target.Value, mostGathered)
	if err != nil {
		return nil, err
	}
	isOpen := func(id string) bool {
		return slices.ContainsFunc(open, func(o model.Question) bool { return o.ID == id })
	}
	var ids, closed []string
	for _, c := range n.Gathered {
		switch {
		case c.Question == "":
		case isOpen(c.Question):
			ids = append(ids, c.Question)
		default:
			closed = append(closed, c.Question)
		}
	}
	for i := range open {
		if !slices.Contains(ids, open[i].ID) {
			ids = append(ids, open[i].ID)
		}
	}
	return append(ids, closed...), nil
}

// mostGathered bounds the open questions that are looked at for one page.
const mostGathered = 1000

// Choose gives an order.
func (q questions) Choose(ctx context.Context, c model.Command) error { return q.k.Order(ctx, c) }

func none(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return web.ErrNone
	}
	return err
}

// noticeName is the parameter that the core fills with a case.
const noticeName = "notice"

// noticeOf reads the notice of a verb's parameters.
func noticeOf(parameters []byte) (map[string]json.RawMessage, sdk.Notice, bool) {
	var all map[string]json.RawMessage
	var n sdk.Notice
	if json.Unmarshal(parameters, &all) != nil || len(all[noticeName]) == 0 {
		return nil, n, false
	}
	return all, n, json.Unmarshal(all[noticeName], &n) == nil
}

package engine

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/host"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/respond"
	"github.com/kelpie-sec/kelpie/core/store"
)

const (
	// answersInterval is how often it is looked whether other actions hand back answers,
	// where no change of the configuration tells.
	answersInterval = time.Second
	// A stream of answers that ended is opened again after answersBackoff, which doubles
	// up to answersBackoffMost, and begins anew after a stream that lasted that long.
	answersBackoff     = 500 * time.Millisecond
	answersBackoffMost = 30 * time.Second
	// An instance's answers are taken at once up to answersBurst, and then one each
	// answersEvery. People are slower; what sends more waits, and nobody else. A stream
	// that has waited for answersPatience is cut, with what is on its way, and goes on
	// later from the last answer that was taken.
	answersBurst    = 200
	answersEvery    = 100 * time.Millisecond
	answersPatience = 5 * time.Second
	// answersSlowed is how long it is told that more comes, once it does not.
	answersSlowed = 10 * time.Second
	// answersTold is how often it is logged that answers are to nothing.
	answersTold = time.Minute
)

// answering keeps a stream of answers of each action that hands them back.
type answering struct {
	poke chan struct{} // what is in force is another now

	mu      sync.Mutex
	streams map[string]*answerStream // by address
}

// answerStream is the stream of one instance. What is not under mu is its goroutine's.
type answerStream struct {
	flow    *flow
	address string
	key     string // of the instance
	stop    context.CancelFunc
	done    chan struct{}

	cursor []byte // as INPUTS has it last
	known  bool   // that it is
	tokens int
	filled time.Time

	waited  time.Time // when an answer had to wait last, and since when they do
	waiting time.Time
	nothing int       // answers to nothing
	told    time.Time // when that was logged last

	mu      sync.Mutex
	trouble string
	since   time.Time
	slowed  time.Time // when more came last than is taken
	slow    time.Time // since when it does
}

func newAnswering() *answering {
	return &answering{poke: make(chan struct{}, 1), streams: map[string]*answerStream{}}
}

// changed tells that another configuration is in force.
func (a *answering) changed() {
	select {
	case a.poke <- struct{}{}:
	default:
	}
}

// followAnswers opens a stream for each instance in force that hands back answers, and
// ends those of instances that are not any more. It returns when ctx and all of them have
// ended.
func (f *flow) followAnswers(ctx context.Context) error {
	t := time.NewTicker(answersInterval)
	defer t.Stop()
	for {
		f.openAnswers(ctx)
		select {
		case <-ctx.Done():
			f.answering.retain(nil)
			return nil
		case <-f.answering.poke:
		case <-t.C:
		}
	}
}

func (f *flow) openAnswers(ctx context.Context) {
	wanted := map[string]string{}
	for address, settings := range f.changes.generation().Config.Respond.Actions {
		if !settings.Answers {
			continue
		}
		if action, err := f.host.Action(address); err == nil {
			wanted[address] = action.Key()
		}
	}
	// Those that go end before others begin: at an address there is one at a time.
	f.answering.retain(wanted)
	for address, key := range wanted {
		f.answering.mu.Lock()
		if f.answering.streams[address] == nil && ctx.Err() == nil {
			own, stop := context.WithCancel(ctx)
			s := &answerStream{flow: f, address: address, key: key, stop: stop, done: make(chan struct{}), tokens: answersBurst}
			f.answering.streams[address] = s
			go s.run(own)
		}
		f.answering.mu.Unlock()
	}
}

// retain ends the streams of all but these instances, and waits for them.
func (a *answering) retain(wanted map[string]string) {
	a.mu.Lock()
	var going []*answerStream
	for address, s := range a.streams {
		if key, ok := wanted[address]; !ok || key != s.key {
			s.stop()
			going = append(going, s)
			delete(a.streams, address)
		}
	}
	a.mu.Unlock()
	for _, s := range going {
		<-s.done
	}
}

// run keeps the stream open until ctx ends.
func (s *answerStream) run(ctx context.Context) {
	defer close(s.done)
	defer s.stop()
	for wait := answersBackoff; ; wait = min(2*wait, answersBackoffMost) {
		began := time.Now()
		err := s.follow(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, errSwapped): // a change is being made, after which this one ends
			wait = answersBackoff
		}
		why := strings.TrimPrefix(err.Error(), s.address+": ")
		if !errors.Is(err, errSwapped) && s.note(why, s.flow.k.clock.now()) {
			s.flow.logger.Warn("what people answer can't be read; it is tried again", "instance", s.address, "error", why)
		}
		if time.Since(began) >= answersBackoffMost {
			wait = answersBackoff
		}
		if !pause(ctx, wait) {
			return
		}
	}
}

var (
	errAnswersEnded = errors.New("the plugin ended its stream of answers")
	errAnswersFlood = errors.New("the plugin sends more answers than people give")
)

// follow reads one stream to its end.
func (s *answerStream) follow(ctx context.Context) error {
	action, err := s.flow.host.Action(s.address)
	if err != nil {
		return err
	}
	if action.Key() != s.key {
		return errSwapped
	}
	if err := s.begin(ctx); err != nil {
		return err
	}
	maker := makerOf(action)
	from, own := bytes.CutPrefix(s.cursor, maker)
	if !own {
		from = nil // another connector made it
	}
	s.waited = time.Time{}
	stream, err := action.Answers(ctx, from)
	if err != nil {
		return err
	}
	defer stream.Close()
	// It is open when something comes, or when nothing is said against it for a while.
	well := time.AfterFunc(answersInterval, func() { s.note("", time.Time{}) })
	defer well.Stop()
	for {
		answer, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			err = errAnswersEnded
		}
		if err == nil {
			err = s.take(ctx, answer, maker)
		}
		if err != nil {
			well.Stop()
			return err
		}
	}
}

// makerOf heads the cursors of a connector, so that no other is given them.
func makerOf(a *host.Action) []byte { return []byte(a.Plugin() + "/" + a.Connector() + "\n") }

// begin finds out from where on answers are wanted, once: later it is known.
func (s *answerStream) begin(ctx context.Context) error {
	if s.known {
		return nil
	}
	// A stream before it, of another instance, may have told what is not decided yet.
	end, err := s.flow.k.log.InputsEnd(ctx)
	if err != nil {
		return err
	}
	s.flow.decided(ctx, end)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if s.cursor, err = s.flow.k.store.AnswerCursor(ctx, s.address); err != nil {
		return err
	}
	s.known = true
	return nil
}

// take puts one answer into INPUTS. When it returns nil the answer, or that it answers
// nothing, is durable together with the cursor.
func (s *answerStream) take(ctx context.Context, answer host.PersonAnswer, maker []byte) error {
	if err := s.turn(ctx); err != nil {
		return err
	}
	order, why, err := s.order(ctx, answer)
	if err != nil {
		return err
	}
	if order.Cursor = s.cursor; len(answer.Cursor) > 0 {
		order.Cursor = slices.Concat(maker, answer.Cursor)
	}
	if why != "" {
		s.tellNothing(answer.Key, why)
		if bytes.Equal(order.Cursor, s.cursor) {
			return nil // nothing is to be told
		}
	}
	if _, err := s.flow.people.input(ctx, model.Input{Command: &order}); err != nil {
		return err
	}
	s.cursor = order.Cursor
	return nil
}

// tellNothing logs that an answer is to nothing, once in a while.
func (s *answerStream) tellNothing(key, why string) {
	s.nothing++
	if now := time.Now(); now.Sub(s.told) >= answersTold {
		s.flow.logger.Warn("an answer is to nothing that was asked", "instance", s.address, "key", key, "because", why, "so_far", s.nothing)
		s.told = now
	}
}

// order is the command that an answer comes to. Where it answers nothing, why says so, and
// the command moves the cursor alone.
func (s *answerStream) order(ctx context.Context, answer host.PersonAnswer) (order model.Command, why string, err error) {
	// The same answer again is the same order.
	at := ""
	if !answer.At.IsZero() {
		at = answer.At.UTC().Format(time.RFC3339Nano)
	}
	order = model.Command{
		ID:   model.ID("o", s.address, answer.Key, answer.Option, answer.Reason, answer.User, at),
		Kind: model.Choose, Road: model.RoadAnswers, Feed: s.address,
	}
	question, address, why, err := s.asked(ctx, answer.Key)
	if err != nil || why != "" {
		return order, why, err
	}
	order.Question, order.Address = question, address
	order.By, order.Option, order.Because = answer.User, answer.Option, answer.Reason
	return order, "", nil
}

// asked finds what a notify asked, and where; else why it asked nothing.
func (s *answerStream) asked(ctx context.Context, key string) (question, address, why string, err error) {
	if key == "" {
		return "", "", "it has no key", nil
	}
	in, err := s.flow.k.store.Intent(ctx, key)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return "", "", "no step has this key", nil
	case err != nil:
		return "", "", "", err
	case in.Action != s.address:
		return "", "", "the step is of " + in.Action, nil
	case in.Verb != respond.Notify || in.DryRun || in.Preview:
		return "", "", "the step told nobody", nil
	case in.Question != "":
		return in.Question, in.Target.Value, "", nil
	}
	// A message that tells of several cases is answered where it asks one thing.
	if _, n, ok := noticeOf(in.Parameters); ok {
		for _, c := range n.Gathered {
			if question != "" && c.Question != "" && c.Question != question {
				return "", "", "the message asks several things", nil
			}
			question = cmp.Or(question, c.Question)
		}
	}
	if question == "" {
		return "", "", "the step asked nothing", nil
	}
	return question, in.Target.Value, "", nil
}

// turn waits until another answer may be taken.
func (s *answerStream) turn(ctx context.Context) error {
	for {
		now := time.Now()
		if more := int(now.Sub(s.filled) / answersEvery); more > 0 {
			s.tokens, s.filled = min(s.tokens+more, answersBurst), now
		}
		if s.tokens > 0 {
			s.tokens--
			return nil
		}
		if s.noteSlow(); now.Sub(s.waited) > answersInterval {
			s.waiting = now
		}
		if s.waited = now; now.Sub(s.waiting) > answersPatience {
			return errAnswersFlood
		}
		if !pause(ctx, answersEvery) {
			return ctx.Err()
		}
	}
}

// note keeps what is wrong, empty: nothing, and tells whether that is news.
func (s *answerStream) note(trouble string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.trouble == trouble {
		return false
	}
	if s.trouble == "" || trouble == "" {
		s.since = now
	}
	s.trouble = trouble
	return true
}

// noteSlow notes that more comes than is taken.
func (s *answerStream) noteSlow() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.flow.k.clock.now()
	if now.Sub(s.slowed) > answersSlowed {
		s.slow = now
		s.flow.logger.Warn("the plugin sends more answers than people give; they are taken slowly", "instance", s.address)
	}
	s.slowed = now
}

func (a *answering) troubles(now time.Time) []api.Trouble {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []api.Trouble
	for address, s := range a.streams {
		s.mu.Lock()
		switch {
		case s.trouble != "":
			all = append(all, api.Trouble{
				What: address + " hands back no answers: " + s.trouble, Since: s.since, Waits: "what people answer by it",
				Do: "its stream is opened again by itself; \"kelpie answer\" takes an answer meanwhile",
			})
		case now.Sub(s.slowed) <= answersSlowed:
			all = append(all, api.Trouble{
				What: address + ": the plugin sends more answers than people give", Since: s.slow, Waits: "the rest of its answers",
				Do: "they are taken ten a second; look at its plugin and its product",
			})
		}
		s.mu.Unlock()
	}
	slices.SortFunc(all, func(a, b api.Trouble) int { return strings.Compare(a.What, b.What) })
	return all
}

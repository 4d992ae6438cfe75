package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kelpie-sec/kelpie/core/api"
	"github.com/kelpie-sec/kelpie/core/config"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/oncall"
	"github.com/kelpie-sec/kelpie/sdk"
)

const (
	// scheduleInterval is how often it is looked whether a schedule is to be read again.
	scheduleInterval = time.Second
	// askTimeout bounds the question to an enrichment who is on call. It is asked again
	// when its answer is no longer good, but neither more often nor more seldom than this.
	askTimeout = 15 * time.Second
	askLeast   = time.Minute
	askMost    = time.Hour
	askDefault = 5 * time.Minute
	// askHolds is how long what an enrichment has said counts if it says nothing more.
	askHolds = 24 * time.Hour
)

// scheduleWatch is what is known of the schedules.
type scheduleWatch struct {
	mu    sync.Mutex
	known map[string]*scheduleState // by address; only who follows them writes, apart from trouble
}

type scheduleState struct {
	last  model.Schedule // as decide knows it
	under *config.Config // by which it was read
	file  os.FileInfo    // when it was read; nil: it was not there
	day   time.Time      // that it was read for
	next  time.Time      // of an enrichment: when it is asked again

	trouble string
	since   time.Time
}

// followSchedules tells decide who is on call, whenever that is known anew.
func (f *flow) followSchedules(ctx context.Context) error {
	for pause(ctx, scheduleInterval) {
		if err := f.readSchedules(ctx); err != nil && ctx.Err() == nil {
			f.logger.Warn("who is on call can't be told to the log; trying again", "error", err)
		}
	}
	return nil
}

// beginSchedules takes up what decide knows of the schedules, and reads all of them once.
func (f *flow) beginSchedules(ctx context.Context) error {
	stored, err := f.k.store.Schedules(ctx)
	if err != nil {
		return err
	}
	f.schedules.mu.Lock()
	f.schedules.known = map[string]*scheduleState{}
	for _, s := range stored {
		f.schedules.known[s.Address] = &scheduleState{last: s}
	}
	f.schedules.mu.Unlock()
	return f.readSchedules(ctx)
}

func (f *flow) readSchedules(ctx context.Context) error {
	c := f.changes.generation().Config
	var errs []error
	for i := range c.Schedules {
		s := &c.Schedules[i]
		f.schedules.mu.Lock()
		state := f.schedules.known[s.Address]
		if state == nil {
			state = &scheduleState{last: model.Schedule{Address: s.Address}}
			f.schedules.known[s.Address] = state
		}
		f.schedules.mu.Unlock()
		if next, ok := f.readSchedule(ctx, c, s, state); ok {
			errs = append(errs, f.tellSchedule(ctx, state, next))
		}
	}
	f.schedules.retain(c.Schedules)
	return errors.Join(errs...)
}

// readSchedule reads one, if it is time to.
func (f *flow) readSchedule(ctx context.Context, c *config.Config, s *oncall.Schedule, state *scheduleState) (model.Schedule, bool) {
	now := f.k.clock.now()
	if s.Enrichment != "" {
		if state.under == c && now.Before(state.next) {
			return model.Schedule{}, false
		}
		state.under = c
		return f.askOnCall(ctx, s, state, now), true
	}
	day, _ := oncall.Window(now)
	var info os.FileInfo
	if s.File != "" {
		info, _ = os.Stat(s.File) // why there is none is told when it is read
	}
	same := info == nil && state.file == nil || sameFile(info, state.file)
	if state.under == c && same && day.Equal(state.day) {
		return model.Schedule{}, false
	}
	state.under, state.file, state.day = c, info, day
	next, err := s.Read(now)
	if err != nil {
		return stale(state.last, err), true
	}
	return next, true
}

// stale is what was known of a schedule that can't be read.
func stale(last model.Schedule, err error) model.Schedule {
	const most = 300
	if last.Problem = err.Error(); len(last.Problem) > most {
		last.Problem = strings.ToValidUTF8(last.Problem[:most], "") + "…"
	}
	return last
}

// askOnCall asks the enrichment of a schedule.
func (f *flow) askOnCall(ctx context.Context, s *oncall.Schedule, state *scheduleState, now time.Time) model.Schedule {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	state.next = now.Add(askLeast)
	o, err := sdk.Canonical(sdk.Resource, s.Key)
	if err != nil {
		return stale(state.last, err)
	}
	replies, err := enrichments{f.host}.Enrich(ctx, s.Enrichment, []model.Ask{{
		ID: model.ID("oncall", s.Address), Enrichment: s.Enrichment, Observable: o, At: now, AskedAt: now,
	}})
	switch {
	case err != nil:
		return stale(state.last, err)
	case len(replies) != 1:
		return stale(state.last, fmt.Errorf("%s gave %d answers to one question", s.Enrichment, len(replies)))
	case replies[0].Err != nil:
		return stale(state.last, replies[0].Err)
	}
	ttl := replies[0].TTL
	if ttl == 0 {
		ttl = askDefault
	}
	state.next = now.Add(min(max(ttl, askLeast), askMost))
	people := oncall.People(replies[0].Answers)
	next := model.Schedule{Address: s.Address, Until: now.Add(askHolds).UTC()}
	if len(people) > 0 {
		next.Shifts = []model.Shift{{From: now.UTC(), To: next.Until, People: people}}
	}
	// What is known still, and for long enough, is not told anew.
	if before := &state.last; before.Problem == "" && slices.Equal(before.Now(now), people) && before.Until.Sub(now) > askHolds/2 {
		return *before
	}
	return next
}

// tellSchedule puts a schedule that is another than before into INPUTS.
func (f *flow) tellSchedule(ctx context.Context, state *scheduleState, next model.Schedule) error {
	f.schedules.note(state, next.Problem, f.k.clock.now())
	if reflect.DeepEqual(state.last, next) || next.Problem != "" && next.Problem == state.last.Problem {
		return nil
	}
	if _, err := f.people.input(ctx, model.Input{Schedule: &next}); err != nil {
		state.under = nil // once more
		return err
	}
	if next.Problem != "" {
		f.logger.Error("a schedule can't be read; what was known of it counts", "schedule", next.Address, "error", next.Problem)
	} else {
		f.logger.Info("who is on call is known", "schedule", next.Address, "shifts", len(next.Shifts))
	}
	state.last = next
	return nil
}

func (w *scheduleWatch) note(state *scheduleState, trouble string, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if state.trouble != trouble {
		state.trouble, state.since = trouble, now
	}
}

// retain forgets the schedules that are gone.
func (w *scheduleWatch) retain(all []oncall.Schedule) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for address := range w.known {
		if !slices.ContainsFunc(all, func(s oncall.Schedule) bool { return s.Address == address }) {
			delete(w.known, address)
		}
	}
}

func (w *scheduleWatch) troubles() []api.Trouble {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []api.Trouble
	for address, state := range w.known {
		if state.trouble != "" {
			all = append(all, api.Trouble{
				What: address + " can't be read: " + state.trouble, Since: state.since, Waits: "nothing: what was known of it counts",
				Do: "\"kelpie schedule show " + strings.TrimPrefix(address, "schedule.") + "\" says what that is; it is read again by itself",
			})
		}
	}
	slices.SortFunc(all, func(a, b api.Trouble) int { return strings.Compare(a.What, b.What) })
	return all
}

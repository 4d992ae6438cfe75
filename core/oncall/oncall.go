// Package oncall reads who is on call: from calendars, tables and what enrichments say.
// It knows no vendor, and does nothing by itself.
package oncall

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk/table"
)

// Schedule is from where it is read who is on call: a file, a table or an enrichment.
type Schedule struct {
	Address string // "schedule.netsec"
	// Zone of times that have none.
	Zone *time.Location
	// File is the path of an iCalendar file, and Open opens it.
	File string
	Open func() (io.ReadCloser, error)
	// Table has the columns Columns.
	Table *table.Table
	// Enrichment is asked about the resource Key.
	Enrichment, Key string
}

// Bounds of a schedule. What is beyond them is refused, but for Horizon: what is later is
// read when it comes nearer.
const (
	Horizon   = 6 * 7 * 24 * time.Hour
	MaxFile   = 4 << 20 // bytes
	MaxEvents = 5000
	MaxShifts = 2000 // within the horizon
	MaxPeople = 20   // of one shift
	MaxName   = 254  // bytes
	// maxSteps bounds how often events that recur are looked at, of one file.
	maxSteps = 200_000
	maxShift = 366 * 24 * time.Hour
)

// Window is the time that is read: whole days, so that a schedule that does not change is
// the same all day.
func Window(now time.Time) (from, to time.Time) {
	from = now.UTC().Truncate(24 * time.Hour)
	return from, from.Add(Horizon)
}

// Read reads the file or the table, as of now.
func (s *Schedule) Read(now time.Time) (model.Schedule, error) {
	from, to := Window(now)
	out := model.Schedule{Address: s.Address, Until: to}
	var err error
	if s.Table != nil {
		out.Shifts, err = rows(s.Table, s.Zone, from, to)
	} else {
		out.Shifts, err = s.calendar(from, to)
	}
	return out, err
}

func (s *Schedule) calendar(from, to time.Time) ([]model.Shift, error) {
	f, err := s.Open()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err != nil {
		return nil, err
	}
	if len(content) > MaxFile {
		return nil, fmt.Errorf("it is larger than %d MiB", MaxFile>>20)
	}
	return Calendar(content, s.Zone, from, to)
}

// ErrShifts means that there are too many.
var ErrShifts = errors.New("it has too many shifts")

// shifts collects those that are within a time.
type shifts struct {
	from, to time.Time
	all      []model.Shift
}

func (s *shifts) add(from, to time.Time, people []string) error {
	if !from.Before(s.to) || !to.After(s.from) || !to.After(from) || len(people) == 0 {
		return nil
	}
	if len(s.all) >= MaxShifts {
		return fmt.Errorf("%w: more than %d within %d days", ErrShifts, MaxShifts, int(Horizon/(24*time.Hour)))
	}
	s.all = append(s.all, model.Shift{From: from.UTC(), To: to.UTC(), People: people})
	return nil
}

// sorted are the shifts by From, each once.
func (s *shifts) sorted() []model.Shift {
	compare := func(a, b model.Shift) int {
		return cmp.Or(a.From.Compare(b.From), a.To.Compare(b.To), slices.Compare(a.People, b.People))
	}
	slices.SortFunc(s.all, compare)
	return slices.CompactFunc(s.all, func(a, b model.Shift) bool { return compare(a, b) == 0 })
}

// people are names without white space and what controls terminals, each once.
func people(names []string) (all []string) {
	for _, name := range names {
		name = strings.TrimSpace(strings.Map(func(r rune) rune {
			if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
				return ' '
			}
			return r
		}, strings.ToValidUTF8(name, "")))
		if name != "" && len(name) <= MaxName && !slices.Contains(all, name) && len(all) < MaxPeople {
			all = append(all, name)
		}
	}
	return all
}

// People are who an enrichment names: by their mail, or else their name.
func People(answers []model.Answer) []string {
	var names []string
	for _, a := range answers {
		if id := a.Identity; id != nil {
			names = append(names, cmp.Or(id.Mail, id.UPN, id.Name))
		}
	}
	return people(names)
}

package store

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/model"
)

// metaSchedule and a schedule's address are the key of a model.Schedule.
const metaSchedule = "schedule:"

func (w *writer) schedules(c decide.Changes) {
	for i := range c.Schedules {
		s := &c.Schedules[i]
		if s.Until.IsZero() && s.Problem == "" { // it is gone
			w.exec(`DELETE FROM meta WHERE key = ?`, metaSchedule+s.Address)
			continue
		}
		w.meta(metaSchedule+s.Address, s)
	}
}

// Schedules lists who is on call, by the address of the schedule.
func (s *Store) Schedules(ctx context.Context) ([]model.Schedule, error) {
	return queryRows(ctx, s, func(scan scanner) (one model.Schedule, err error) {
		var text string
		if err = scan(&text); err == nil {
			if err = json.Unmarshal([]byte(text), &one); err != nil {
				err = fmt.Errorf("schedule: %w", err)
			}
		}
		return one, err
	}, `SELECT value FROM meta WHERE key >= ? AND key < ? ORDER BY key`, metaSchedule, metaSchedule+"\xff")
}

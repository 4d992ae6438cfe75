package decide

import (
	"slices"

	"github.com/kelpie-sec/kelpie/core/model"
)

// schedule takes note of who is on call. What the configuration does not have is nobody's.
func (m *Machine) schedule(s *model.Schedule) {
	if m.settings == nil || !slices.Contains(m.settings.Schedules, s.Address) {
		return
	}
	m.schedules[s.Address], m.changed.schedules[s.Address] = *s, *s
}

// retainSchedules forgets the schedules that the configuration has no more.
func (m *Machine) retainSchedules() {
	for address := range m.schedules {
		if !slices.Contains(m.settings.Schedules, address) {
			delete(m.schedules, address)
			m.changed.schedules[address] = model.Schedule{Address: address}
		}
	}
}

// onCall says who is on call now, by the address of each schedule.
func (m *Machine) onCall() map[string][]string {
	all := make(map[string][]string, len(m.settings.Schedules))
	for _, address := range m.settings.Schedules {
		s := m.schedules[address]
		all[address] = s.Now(m.at)
	}
	return all
}

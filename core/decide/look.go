package decide

import "github.com/kelpie-sec/kelpie/core/expr"

// Look gives a case that is in memory as expressions see it, by its id. It holds until
// the machine changes. False: there is none.
func (m *Machine) Look(id string) (expr.Value, bool) {
	for _, cs := range m.cases {
		if cs.id == id {
			return newView(m, cs).value(), true
		}
	}
	return expr.Value{}, false
}

package decide

import (
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
)

// TestWhenACheckpointIsDue: by what a start would apply again, by what the last one took
// itself, by what the log has room for.
func TestWhenACheckpointIsDue(t *testing.T) {
	m := New(nil)
	if err := m.Apply(1, 0, model.Input{At: time.Unix(1, 0), Tick: &model.Tick{}}); err != nil {
		t.Fatal(err)
	}
	const bytes, most = 100, 1000
	for name, c := range map[string]struct {
		saver saver
		want  bool
	}{
		"little came":                     {saver{bytes: 99}, false},
		"enough came":                     {saver{bytes: 100}, true},
		"less than the last one took":     {saver{bytes: 499, size: 500}, false},
		"as much as the last one took":    {saver{bytes: 500, size: 500}, true},
		"the log has room for little":     {saver{bytes: 1000, size: 5000}, true},
		"many inputs came, and few bytes": {saver{parts: 10, size: 5000}, true},
		"nothing came since the last one": {saver{bytes: 5000, taken: m.Position()}, false},
	} {
		c.saver.dir = "."
		if got := c.saver.due(m, 10, bytes, most, time.Hour); got != c.want {
			t.Errorf("%s: due %t, want %t", name, got, c.want)
		}
	}
}

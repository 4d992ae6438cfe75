package api

import (
	"cmp"
	"net/http"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/core/detect"
	"github.com/kelpie-sec/kelpie/core/enrich"
	"github.com/kelpie-sec/kelpie/core/host"
	"github.com/kelpie-sec/kelpie/core/model"
)

// PluginStatus is how one process of a plugin is, and what each instance that it
// serves has done.
type PluginStatus struct {
	Plugin    string           `json:"plugin"`
	Version   string           `json:"version,omitempty"`
	PID       int              `json:"pid,omitempty"` // 0: none runs
	State     host.State       `json:"state"`
	Since     time.Time        `json:"since"`
	Instances []InstanceStatus `json:"instances"`
	// DroppedLogs are lines of its output that were too many to be logged.
	DroppedLogs int64 `json:"dropped_logs,omitempty"`
	// Behind is since when it comes after everything else on the machine, since it wanted
	// all processors for too many threads at once.
	Behind time.Time `json:"behind,omitzero"`
}

// InstanceStatus is how an instance is. Its counts are those of its address since
// Kelpie began to run: they do not start over with the process or the configuration.
type InstanceStatus struct {
	Instance string     `json:"instance"`
	State    host.State `json:"state"`
	Since    time.Time  `json:"since"`
	Trouble  string     `json:"trouble,omitempty"`
	Leaving  bool       `json:"leaving,omitempty"`
	// Restarts counts the starts of its process after the first; Ending is why the
	// process last ended by itself or could not start.
	Restarts int          `json:"restarts"`
	Ending   *host.Ending `json:"ending,omitempty"`
	Calls    []Calls      `json:"calls"`
	// Failure is why a call or a session last failed.
	Failure *host.Failure `json:"failure,omitempty"`
	// InFlight are calls that the plugin has not answered yet, and open sessions.
	InFlight int `json:"in_flight"`
	// HeldBack are questions or steps that wait: for a limit, for their turn or their
	// next attempt, for the process, or for actions to be resumed.
	HeldBack    int    `json:"held_back"`
	HeldBecause string `json:"held_because,omitempty"`
	// Quota is what the vendor says is left; Minute and Day what the block's own limits
	// leave.
	Quota  *host.Quota `json:"quota,omitempty"`
	Minute enrich.Room `json:"minute,omitzero"`
	Day    enrich.Room `json:"day,omitzero"`
}

// Calls of one method, with the times within which half and nearly all had an answer.
type Calls struct {
	host.Calls
	P50 float64 `json:"p50_seconds,omitempty"`
	P99 float64 `json:"p99_seconds,omitempty"`
}

func (s *Server) pluginStatus(r *http.Request) (any, error) {
	st, err := s.Engine.Status(r.Context())
	if err != nil {
		return nil, err
	}
	return st.pluginStatus(), nil
}

// pluginStatus puts together what the host and the stages know of each instance.
func (st *Status) pluginStatus() []PluginStatus {
	all := []PluginStatus{}
	for _, p := range st.Plugins {
		out := PluginStatus{Plugin: p.Plugin, Version: p.Version, PID: p.PID, State: p.State, Since: p.Since, DroppedLogs: p.DroppedLogs, Behind: p.Behind, Instances: []InstanceStatus{}}
		for i := range p.Instances {
			out.Instances = append(out.Instances, st.instance(&p.Instances[i]))
		}
		all = append(all, out)
	}
	return all
}

func (st *Status) instance(in *host.InstanceStatus) InstanceStatus {
	out := InstanceStatus{
		Instance: in.Address, State: in.State, Since: in.Since, Trouble: in.Trouble, Leaving: in.Leaving,
		Restarts: in.Restarts, Ending: in.Ending, Failure: in.Failure, Calls: []Calls{}, InFlight: in.InFlight, Quota: in.Quota,
	}
	for _, c := range in.Calls {
		one := Calls{Calls: c}
		if half, ok := c.Quantile(0.5); ok {
			most, _ := c.Quantile(0.99)
			one.P50, one.P99 = half.Seconds(), most.Seconds()
		}
		out.Calls = append(out.Calls, one)
	}
	if in.Leaving { // what waits is for who has its address now
		return out
	}
	if in.Waiting > 0 {
		out.HeldBack, out.HeldBecause = in.Waiting, "the plugin is not running yet"
	}
	st.heldBack(&out)
	return out
}

// heldBack tells what waits for an instance in the stage that calls it.
func (st *Status) heldBack(out *InstanceStatus) {
	pending, under := st.Pending[out.Instance], out.InFlight
	for i := range st.Detectors {
		if d := &st.Detectors[i]; d.Instance == out.Instance && d.State == detect.NoRoom {
			out.HeldBecause = d.Message
		}
	}
	for i := range st.Enrichments {
		if e := &st.Enrichments[i]; e.Enrichment == out.Instance {
			out.Minute, out.Day, under = e.Minute, e.Day, e.Asking
			out.HeldBecause = cmp.Or(e.HeldBecause, out.HeldBecause)
		}
	}
	out.HeldBack = max(out.HeldBack, pending-under)
	if out.HeldBack == 0 || !strings.HasPrefix(out.Instance, string(model.Action)+".") {
		return
	}
	if st.Paused != nil {
		out.HeldBecause = "actions are paused by " + st.Paused.PausedBy
		return
	}
	for i := range st.Acting {
		if a := &st.Acting[i]; a.Action == out.Instance {
			out.HeldBecause = cmp.Or(a.LastError, out.HeldBecause)
		}
	}
}

package api

import (
	"time"

	"github.com/kelpie-sec/kelpie/core/decide"
	"github.com/kelpie-sec/kelpie/core/detect"
)

// Feed is how it stands between Kelpie and a source: nothing may come since there is
// nothing, or since nobody listens.
type Feed struct {
	State FeedState `json:"state"`
	// Since when its session has been as it is.
	Since time.Time `json:"since,omitzero"`
	// Why it is not well, for people.
	Why string `json:"why,omitempty"`
	// Event is when an event last came, Contact when the plugin last said anything.
	Event   time.Time `json:"event,omitzero"`
	Contact time.Time `json:"contact,omitzero"`
}

// FeedState tells a quiet feed from a blind one.
type FeedState string

// The states of a feed.
const (
	FeedLive   FeedState = "live"        // its session is well, and events come
	FeedQuiet  FeedState = "quiet"       // its session is well, and nothing comes
	FeedBlind  FeedState = "blind"       // there is no session that works
	FeedHeld   FeedState = "held back"   // the log takes nothing, and it waits
	FeedEnded  FeedState = "ended"       // with --once
	FeedGone   FeedState = "not in use"  // the configuration has no such source
	FeedUnseen FeedState = "not running" // and nor is Kelpie
)

// QuietAfter is how long nothing has come of a feed that is called quiet.
const QuietAfter = 15 * time.Minute

// feedsOf says how the feeds of all detectors are.
func feedsOf(sources []decide.SourceState, st Status) map[string]Feed {
	all := map[string]Feed{}
	for _, d := range st.Detectors {
		s := decide.SourceState{Source: d.Instance}
		for i := range sources {
			if sources[i].Source == d.Instance {
				s = sources[i]
			}
		}
		all[d.Instance] = feedOf(s, st)
	}
	return all
}

// feedOf says how a source's feed is.
func feedOf(s decide.SourceState, st Status) Feed {
	f := Feed{State: FeedGone, Event: s.LastAt}
	if !st.Running {
		f.State = FeedUnseen
		return f
	}
	for _, r := range st.Detectors {
		if r.Instance != s.Source {
			continue
		}
		f.Since, f.Contact, f.Why = r.Since, r.Contact, r.Message
		if r.LastBatch.After(f.Event) {
			f.Event = r.LastBatch
		}
		f.State = feedState(r, f.Event, st.At)
	}
	return f
}

func feedState(r detect.Report, event, now time.Time) FeedState {
	switch r.State {
	case detect.Running:
		if now.Sub(event) > QuietAfter {
			return FeedQuiet
		}
		return FeedLive
	case detect.Ended:
		return FeedEnded
	case detect.NoRoom:
		return FeedHeld
	}
	return FeedBlind // starting, troubled, stopped
}

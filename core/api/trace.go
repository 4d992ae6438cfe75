package api

import (
	"net/http"

	"github.com/kelpie-sec/kelpie/core/trace"
)

// maxTraceBody bounds a request that brings a configuration of its own with the files of
// its tables, in base64.
const maxTraceBody = 32 << 20

// bodyRoom bounds what is sent with a request, in bytes.
func bodyRoom(r *http.Request) int64 {
	if r.Method == http.MethodPost && r.URL.Path == "/v1/trace" {
		return maxTraceBody
	}
	return maxBody
}

// TraceOrder is the body of POST /v1/trace.
type TraceOrder struct {
	Event    string `json:"event"`
	Detector string `json:"detector,omitempty"`
	GivenConfig
}

// GivenConfig is a configuration that is given with a request. Source is it as it is
// encoded; empty: the one in force. Tables are the files of its tables, by their hashes;
// those of what was in force need not be among them.
type GivenConfig struct {
	Source []byte            `json:"source,omitempty"`
	Tables map[string][]byte `json:"tables,omitempty"`
}

// maxEventName bounds the name of an event, in bytes.
const maxEventName = 4096

// trace shows what becomes of a stored event. It only reads.
func (s *Server) trace(r *http.Request) (any, error) {
	var o TraceOrder
	if r.Method == http.MethodPost {
		if err := readBody(r, &o); err != nil {
			return nil, err
		}
	} else {
		q := r.URL.Query()
		o.Event, o.Detector = q.Get("event"), q.Get("source")
	}
	if o.Event == "" || len(o.Event) > maxEventName || len(o.Detector) > maxName {
		return nil, bad(`event must be a place such as "120/3", the id of an event, a signal or a case, or a detector`)
	}
	return s.Engine.Trace(r.Context(), trace.Query{Event: o.Event, Source: o.Detector}, o.GivenConfig)
}

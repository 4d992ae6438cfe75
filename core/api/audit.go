package api

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/kelpie-sec/kelpie/core/audit"
)

// AuditPage is how many entries of the audit one answer has at most.
const AuditPage = 1000

// maxHeads bounds the heads that one request compares.
const maxHeads = 100

// AuditReport says whether the audit holds.
type AuditReport struct {
	Holds bool `json:"holds"`
	// Entries that were followed, and the head of these.
	Head audit.Head `json:"head"`
	// Broken is the first entry that does not fit, and Why.
	Broken uint64 `json:"broken,omitempty"`
	Why    string `json:"why,omitempty"`
	// Differ says where the tables do not agree with the audit.
	Differ []string `json:"differ,omitempty"`
}

func (s *Server) audit(r *http.Request) (any, error) {
	var after uint64
	if text := r.URL.Query().Get("after"); text != "" {
		n, err := strconv.ParseUint(text, 10, 63)
		if err != nil {
			return nil, bad("after must be an entry's number")
		}
		after = n
	}
	limit, err := number(r, "limit", AuditPage, AuditPage)
	if err != nil {
		return nil, err
	}
	all, err := s.Store.Audit(r.Context(), after, limit)
	return list(all), err
}

func (s *Server) auditHead(r *http.Request) (any, error) { return s.Store.AuditHead(r.Context()) }

func (s *Server) verifyAudit(r *http.Request) (any, error) {
	var v audit.Verifier
	heads := r.URL.Query()["head"]
	if len(heads) > maxHeads {
		return nil, bad(fmt.Sprintf("at most %d heads are compared at once", maxHeads))
	}
	for _, text := range heads {
		h, err := audit.ParseHead(text)
		if err != nil {
			return nil, bad(err.Error())
		}
		v.Keep(h)
	}
	differ, err := s.Store.VerifyAudit(r.Context(), &v)
	var broken *audit.BrokenError
	switch {
	case errors.As(err, &broken):
		return AuditReport{Head: v.Head(), Broken: broken.Seq, Why: broken.Why}, nil
	case err != nil:
		return nil, err
	}
	return AuditReport{Holds: len(differ) == 0, Head: v.Head(), Differ: differ}, nil
}

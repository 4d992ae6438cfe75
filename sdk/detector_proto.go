package sdk

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
)

const (
	// maxID bounds an event's id and revision, in bytes.
	maxID = 4 << 10
	// maxAround bounds what an event carries beside its payload, in bytes.
	maxAround = 1 << 20
)

// eventToProto converts one event into out, and returns its size in a batch, in bytes.
// Whatever the source wrote, the message can be sent and nothing is lost: what is too
// large or cannot be is told in oversize and problem.
func eventToProto(e *Event, out *pluginv1.Event) int {
	out.Id = idText(e.ID)
	out.Revision = idText(e.Revision)
	out.Raw = e.Raw
	out.Time = timeToProto(e.Time)
	out.Title = cut(e.Title, textLimit)
	out.Link = cut(e.Link, textLimit)
	out.Problem = cut(e.Problem, textLimit)
	out.Stopped = e.Stopped
	if e.Severity != nil {
		severity := int32(min(max(*e.Severity, 0), 100))
		out.Severity = &severity
	}
	if e.Oversize != nil || len(e.Raw) > MaxEvent {
		setOversize(e, out)
	}
	if out.Id == "" {
		out.Id = hashID(e.Raw)
		addProblem(out, "the connector gave this event no id")
	}
	around := addObservables(e, out)
	if around > maxAround {
		out.Observables, out.Techniques = nil, nil
		addProblem(out, fmt.Sprintf("its observables and techniques have %d bytes", around))
		around = 0
	}
	return len(out.Raw) + len(out.Id) + len(out.Revision) + len(out.Title) + len(out.Link) + len(out.Problem) + around + 64
}

func setOversize(e *Event, out *pluginv1.Event) {
	over := e.Oversize
	if over == nil {
		over = &Oversize{Place: e.ID, Length: int64(len(e.Raw)), SHA256: sha256.Sum256(e.Raw)}
	}
	out.Oversize = &pluginv1.Oversize{
		Place:  cut(over.Place, textLimit),
		Length: over.Length,
		Sha256: over.SHA256[:],
	}
	// A copy, so that the head does not keep the rest in memory.
	out.Raw = append([]byte(nil), e.Raw[:min(len(e.Raw), OversizeHead)]...)
}

// addObservables returns their size and that of the techniques.
func addObservables(e *Event, out *pluginv1.Event) int {
	size := 0
	if len(e.Observables) > 0 {
		slab := make([]pluginv1.Observable, len(e.Observables))
		out.Observables = make([]*pluginv1.Observable, len(e.Observables))
		for i := range e.Observables {
			o := &e.Observables[i]
			slab[i].Kind = valid(o.Kind)
			slab[i].Value = valid(o.Value)
			slab[i].Role = roleToProto(o.Role)
			out.Observables[i] = &slab[i]
			size += len(o.Kind) + len(o.Value) + 8
		}
	}
	for _, t := range e.Techniques {
		out.Techniques = append(out.Techniques, valid(t))
		size += len(t) + 2
	}
	return size
}

func addProblem(out *pluginv1.Event, text string) {
	if out.Problem != "" {
		text = out.Problem + "; " + text
	}
	out.Problem = text
}

// idText makes an id valid UTF-8 without making two of them one, as far as that can
// be: bytes that are none are written \xff, and a long one becomes its hash.
func idText(id string) string {
	if len(id) > maxID {
		return hashID([]byte(id))
	}
	if utf8.ValidString(id) {
		return id
	}
	var b strings.Builder
	for len(id) > 0 {
		r, n := utf8.DecodeRuneInString(id)
		if r == utf8.RuneError && n == 1 {
			fmt.Fprintf(&b, `\x%02x`, id[0])
		} else {
			b.WriteString(id[:n])
		}
		id = id[n:]
	}
	return b.String()
}

func hashID(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// valid is the text as protobuf wants it.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func roleToProto(r Role) pluginv1.Role {
	switch r {
	case Subject:
		return pluginv1.Role_ROLE_SUBJECT
	case Indicator:
		return pluginv1.Role_ROLE_INDICATOR
	}
	return pluginv1.Role_ROLE_UNSPECIFIED
}

func roleFromProto(r pluginv1.Role) Role {
	switch r {
	case pluginv1.Role_ROLE_SUBJECT:
		return Subject
	case pluginv1.Role_ROLE_INDICATOR:
		return Indicator
	}
	return NoRole
}

func observableToProto(o Observable) *pluginv1.Observable {
	return &pluginv1.Observable{Kind: valid(o.Kind), Value: valid(o.Value), Role: roleToProto(o.Role)}
}

func observableFromProto(o *pluginv1.Observable) Observable {
	return Observable{Kind: o.GetKind(), Value: o.GetValue(), Role: roleFromProto(o.GetRole())}
}

// batchToProto is one batch as a message.
func batchToProto(number int64, b *batch) *pluginv1.DetectResponse {
	return &pluginv1.DetectResponse{Message: &pluginv1.DetectResponse_Batch{
		Batch: &pluginv1.Batch{Number: number, Events: b.events, Cursor: b.cursor},
	}}
}

func statusToProto(s sourceStatus, ended bool) *pluginv1.DetectResponse {
	out := &pluginv1.DetectorStatus{
		State:      pluginv1.DetectorState_DETECTOR_STATE_RUNNING,
		Message:    s.trouble,
		Since:      timestamppb.New(s.since),
		Behind:     s.behind,
		BehindUnit: s.unit,
	}
	switch {
	case ended:
		out.State = pluginv1.DetectorState_DETECTOR_STATE_ENDED
	case s.trouble != "":
		out.State = pluginv1.DetectorState_DETECTOR_STATE_TROUBLED
	}
	return &pluginv1.DetectResponse{Message: &pluginv1.DetectResponse_Status{Status: out}}
}

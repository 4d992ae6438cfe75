package decide

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/kelpie-sec/kelpie/core/model"
)

// maxRecordText bounds what people, connectors and events may put into a record.
const maxRecordText = 1000

// record adds to the audit.
func (m *Machine) record(r model.Record) {
	r.At = m.at
	r.Because, r.Message = clip(r.Because), clip(r.Message)
	m.changed.records = append(m.changed.records, r)
}

func clip(text string) string { return clipTo(text, maxRecordText) }

// clipTo cuts a text to so many bytes.
func clipTo(text string, most int) string {
	if len(text) <= most {
		return text
	}
	cut := most
	for cut > 0 && text[cut]&0xc0 == 0x80 { // within a rune
		cut--
	}
	return text[:cut] + "…"
}

// Every change of an intent is recorded, and so it is counted here.
func (m *Machine) recordIntent(in model.Intent) {
	m.countIntent("", in.State)
	r := intentRecord(model.RecordIntent, in)
	r.To, r.Because = string(in.State), in.Because
	if len(in.Parameters) > 0 {
		sum := sha256.Sum256(in.Parameters)
		r.Parameters = hex.EncodeToString(sum[:])
	}
	m.record(r)
}

func (m *Machine) recordOutcome(in *intentState, from model.IntentState) {
	m.countIntent(from, in.State)
	r := intentRecord(model.RecordOutcome, in.Intent)
	r.From, r.To, r.Attempts, r.Reference, r.Message = string(from), string(in.State), in.Attempts, in.Reference, in.Message
	m.record(r)
}

func (m *Machine) recordResolve(in *intentState, from model.IntentState, c *model.Command) {
	m.countIntent(from, in.State)
	r := intentRecord(model.RecordResolve, in.Intent)
	r.From, r.To, r.By, r.Because = string(from), string(in.State), c.By, c.Because
	m.record(r)
}

func intentRecord(kind model.RecordKind, in model.Intent) model.Record {
	return model.Record{
		Kind: kind, Subject: in.ID, Case: in.Case, Response: in.Response, Step: in.Step, Action: in.Action,
		Verb: in.Verb, Target: in.Target.Kind + ":" + in.Target.Value, Round: in.Round, DryRun: in.DryRun,
	}
}

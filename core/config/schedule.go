package config

import (
	"io"
	"slices"
	"strings"

	"github.com/kelpie-sec/kelpie/core/oncall"
	"github.com/kelpie-sec/kelpie/sdk/table"
)

func scheduleBlock() blockType {
	path := text("ical", "An iCalendar file (.ics): its events are the shifts, and who they invite, or else their summary, is on call. A relative one is below the configuration's folder. It is read again when it changes.")
	path.Type.Kind = "path"
	return blockType{name: "schedule", labels: []string{"name"}, many: true, doc: "Says who is on call, for routes: schedule.NAME. `kelpie schedule list` shows it.", body: bodyType{attributes: []attribute{
		path,
		reference("table", "A table with the columns \"from\", \"to\" and \"person\": times by RFC 3339, or as \"2026-03-01 08:00\", and an address or the name of a user, or several with semicolons between."),
		reference("enrichment", "An enrichment that is asked about the resource \"key\" again and again, and answers with the identities of who is on call."),
		text("key", "With \"enrichment\": what the vendor calls the schedule."),
		text("timezone", "Of times without one, such as \"Europe/Berlin\".").standard(`"UTC"`),
	}}}
}

// schedule reads a block into what engine reads schedules by.
func (p *parser) schedule(s *section) {
	if s.broken {
		return
	}
	p.config.Decide.Schedules = append(p.config.Decide.Schedules, s.address())
	var ways []string
	for _, name := range []string{"ical", "table", "enrichment"} {
		if s.has(name) {
			ways = append(ways, name)
		}
	}
	if len(ways) != 1 {
		p.errorf(s.header(), "Not one source", "%s is read from one of three: write ical = \"oncall.ics\", table = table.NAME, or enrichment = enrichment.NAME with key = \"…\".", sentence(s.title()))
		return
	}
	out := oncall.Schedule{Address: s.address()}
	var ok bool
	if out.Zone, ok = p.zone(s); !ok {
		return
	}
	if s.has("key") && ways[0] != "enrichment" {
		p.errorf(s.place("key"), "Without effect", "\"key\" goes with enrichment = enrichment.NAME.")
	}
	switch ways[0] {
	case "ical":
		if strings.TrimSpace(s.text("ical", "")) == "" {
			p.errorf(s.place("ical"), "Empty", "Write the name of an iCalendar file: ical = \"oncall.ics\".")
			return
		}
		out.File = p.src.full(s.text("ical", ""))
		root := p.src.root(out.File)
		out.Open = func() (io.ReadCloser, error) { return openRegular(root, out.File) }
	case "table":
		out.Table = p.scheduleTable(s)
	case "enrichment":
		e := p.reference(s.expr("enrichment"), "enrichment")
		if e == nil {
			return
		}
		out.Enrichment, out.Key = p.identity(e), s.text("key", "")
		switch {
		case strings.TrimSpace(out.Key) == "":
			p.errorf(s.place("enrichment"), "Missing attribute", "Say which schedule of the vendor's it is: key = \"…\".")
		case p.instanceAt(e) == nil && !e.broken:
			p.errorf(s.place("enrichment"), "Disabled enrichment", "%s has enabled = false, so nobody can be asked. Enable it, or remove the schedule.", e.address())
		}
	}
	p.config.Schedules = append(p.config.Schedules, out)
}

// scheduleTable is the table of a schedule, with the columns that it must have.
func (p *parser) scheduleTable(s *section) *table.Table {
	t := p.reference(s.expr("table"), "table")
	if t == nil {
		return nil
	}
	made := p.tableOf[t.name()]
	if made == nil {
		return nil // which has been complained about
	}
	columns := made.Columns()
	for _, name := range oncall.Columns {
		if !slices.Contains(columns, name) {
			p.errorf(s.place("table"), "Missing column", "%s has no column %q. A schedule has these: %s.", t.address(), name, strings.Join(oncall.Columns, ", "))
		}
	}
	return made
}

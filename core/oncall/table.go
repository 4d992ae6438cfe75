package oncall

import (
	"fmt"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk/table"
)

// Columns that a table must have.
var Columns = []string{"from", "to", "person"}

// layouts of times in tables.
var layouts = []string{time.RFC3339, "2006-01-02 15:04", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02T15:04:05", time.DateOnly}

func rows(t *table.Table, zone *time.Location, from, to time.Time) ([]model.Shift, error) {
	s := shifts{from: from, to: to}
	for row := range t.Rows() {
		if row.Text("from") == "" && row.Text("to") == "" {
			continue
		}
		begins, err := timeOf(row.Text("from"), zone)
		if err != nil {
			return nil, fmt.Errorf("line %d, column \"from\": %w", row.Line(), err)
		}
		ends, err := timeOf(row.Text("to"), zone)
		if err != nil {
			return nil, fmt.Errorf("line %d, column \"to\": %w", row.Line(), err)
		}
		if !ends.After(begins) {
			return nil, fmt.Errorf("line %d: the shift ends before it begins", row.Line())
		}
		if err := s.add(begins, ends, people(row.List("person"))); err != nil {
			return nil, err
		}
	}
	return s.sorted(), nil
}

func timeOf(text string, zone *time.Location) (time.Time, error) {
	for _, layout := range layouts {
		if at, err := time.ParseInLocation(layout, strings.TrimSpace(text), zone); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("%.40q is no time: write it as \"2026-03-01 08:00\", or by RFC 3339", text)
}

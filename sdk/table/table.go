// Package table reads keyed files: CSV with a header and JSON lines, in which a row
// is found by exact keys, by networks (10.0.0.0/8) and by wildcards (*.example.org).
//
// A Table is built once and never changes, so that it may be read by any number of
// goroutines. A File follows a file on disk and swaps its Table when that changes.
package table

import (
	"fmt"
	"iter"
	"slices"
	"strings"
)

// Bounds of a file. What is beyond them is refused with its place.
const (
	MaxFile       = 512 << 20 // bytes
	MaxRows       = 5_000_000
	MaxColumns    = 256
	MaxCell       = 64 << 10 // bytes of one cell
	MaxLine       = 1 << 20  // bytes of one line of JSON
	MaxRowsPerKey = 64       // rows that share one key
)

// Format is the notation of a file.
type Format string

// The formats.
const (
	CSV    Format = "csv"    // RFC 4180 with a header; lines that begin with # are comments
	NDJSON Format = "ndjson" // one JSON object in each line
)

// Options say how a file is read.
type Options struct {
	Format Format
	// Separator of CSV cells; 0 is a comma.
	Separator rune
	// Keys chooses the key columns when the columns are known. It may complain.
	Keys func(columns []string) ([]Key, error)
	// Check, if there is one, sees each row before the table is taken. Its complaint
	// may be an *Error that names only a column; path and line are filled in.
	Check func(Row) error
}

// Key is a column by whose cells rows are found. A cell may be a list. Rows are
// found by all columns of one kind together.
type Key struct {
	Column string
	// Kind of observable that the cells are, compared in canonical form: ip takes
	// networks too, and host, domain and email take wildcards ("*.example.org",
	// "*@example.org"). The empty kind is text that is compared as it is. Of
	// KindOfCell each cell says its kind itself: "ip:10.0.0.0/8".
	Kind string
}

// KindOfCell is the kind of a key column whose cells are written kind:value.
const KindOfCell = "observable"

// Columns is an Options.Keys that asks for these keys and wants each to be there.
func Columns(keys ...Key) func([]string) ([]Key, error) {
	return func(columns []string) ([]Key, error) {
		for _, key := range keys {
			if !slices.Contains(columns, key.Column) {
				return nil, fmt.Errorf("has no column %q, only %s", key.Column, strings.Join(columns, ", "))
			}
		}
		return keys, nil
	}
}

// Error is a complaint about a place in a file.
type Error struct {
	Path   string
	Line   int    // from 1; 0: the file as a whole
	Offset int    // byte in the line, from 1; 0: not known
	Column string // name of the column; "": none
	Reason string
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Path)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
		if e.Offset > 0 {
			fmt.Fprintf(&b, ":%d", e.Offset)
		}
	}
	b.WriteString(": ")
	if e.Column != "" {
		fmt.Fprintf(&b, "column %q: ", e.Column)
	}
	return b.String() + e.Reason
}

// Table is the content of a file, indexed. It is immutable.
type Table struct {
	version string
	columns []string
	place   map[string]int
	list    string // separates the elements of a cell
	rows    []record
	kinds   map[string]*index
}

type record struct {
	cells []string // may be shorter than columns
	line  int32
}

// Version is the SHA-256 of the file, in hex.
func (t *Table) Version() string { return t.version }

// Len is the number of rows.
func (t *Table) Len() int { return len(t.rows) }

// Rows are all rows, in the order of the file.
func (t *Table) Rows() iter.Seq[Row] {
	return func(yield func(Row) bool) {
		for n := range t.rows {
			if !yield(Row{t, int32(n)}) {
				return
			}
		}
	}
}

// Columns are the names of the columns in their order: in lower-case, with "_" for
// spaces and hyphens.
func (t *Table) Columns() []string { return slices.Clone(t.columns) }

// Kinds are the kinds of keys by which rows can be found.
func (t *Table) Kinds() []string {
	kinds := make([]string, 0, len(t.kinds))
	for kind := range t.kinds {
		kinds = append(kinds, kind)
	}
	slices.Sort(kinds)
	return kinds
}

// Match is what a lookup found.
type Match struct {
	// Rows that have the key, in the order of the file.
	Rows []Row
	// Key as it stands in the index: a canonical value, network or wildcard.
	Key string
	// Exact: the key is the value itself, neither network nor wildcard.
	Exact bool
}

// Lookup finds the rows with the most specific key that covers a canonical value:
// the value itself, else the longest network or the longest wildcard.
func (t *Table) Lookup(kind, value string) (Match, bool) {
	index := t.kinds[kind]
	if index == nil {
		return Match{}, false
	}
	key, numbers, exact := index.find(value)
	if len(numbers) == 0 {
		return Match{}, false
	}
	match := Match{Rows: make([]Row, len(numbers)), Key: key, Exact: exact}
	for i, number := range numbers {
		match.Rows[i] = Row{table: t, number: number}
	}
	return match, true
}

// Row is one row of a table. It keeps its table in memory.
type Row struct {
	table  *Table
	number int32
}

// Line where the row begins in its file.
func (r Row) Line() int { return int(r.table.rows[r.number].line) }

// Text is a cell without the white space around it; "" where there is none. The
// elements of a JSON list are joined by "; ".
func (r Row) Text(column string) string {
	cell := r.cell(column)
	if r.table.list != ";" && strings.Contains(cell, r.table.list) {
		return strings.Join(r.List(column), "; ")
	}
	return cell
}

// List is a cell as a list: the elements of a JSON list, or what stands between the
// semicolons of a CSV cell. Empty elements are left out.
func (r Row) List(column string) []string {
	var list []string
	for element := range strings.SplitSeq(r.cell(column), r.table.list) {
		if element = strings.TrimSpace(element); element != "" {
			list = append(list, element)
		}
	}
	return list
}

// Value is a cell as Text has it, or as List if it came as a JSON list.
func (r Row) Value(column string) any {
	if cell := r.cell(column); r.table.list != ";" && strings.Contains(cell, r.table.list) {
		return r.List(column)
	}
	return r.Text(column)
}

func (r Row) cell(column string) string {
	place, ok := r.table.place[column]
	if cells := r.table.rows[r.number].cells; ok && place < len(cells) {
		return cells[place]
	}
	return ""
}

package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"github.com/kelpie-sec/kelpie/core/expr"
	"github.com/kelpie-sec/kelpie/sdk"
	"github.com/kelpie-sec/kelpie/sdk/table"
)

// Bounds of tables, which are held in memory and kept for as long as something may be
// decided again by them.
const (
	MaxTable     = 64 << 20  // bytes of one file
	MaxTables    = 256 << 20 // bytes of all
	MaxTableRows = 1_000_000
)

// plainText is the kind of a key that is compared as it is.
const plainText = "text"

func tableBlock() blockType {
	path := text("path", "The file: CSV with a header, or a JSON object in each line. A relative one is below the configuration's folder.")
	path.Type.Kind = "path"
	return blockType{name: "table", labels: []string{"name"}, many: true, doc: "A keyed file that expressions read: table.NAME[KEY].COLUMN, and has(table.NAME[KEY]) for whether there is a row. It is read again when it changes.", body: bodyType{attributes: []attribute{
		path.must(),
		text("key", "The column by which rows are found. Of rows with the same key the first counts.").must(),
		text("kind", "What the key is: a kind of observable, compared in its canonical form, where an `ip` may be a network and a `host`, `domain` or `email` a wildcard such as `*.example.org`; or `text`, compared as it is. By default the key's own name if that is a kind, and else text.").oneOf(append(sdk.Kinds(), plainText)...),
		text("format", "What the file is. By default its name tells: `.csv` and `.tsv`, or `.ndjson`, `.jsonl` and `.json`.").oneOf(string(table.CSV), string(table.NDJSON)),
	}}}
}

// TableVersion is which content a table's file had when it was read, or why none.
type TableVersion struct {
	Hash    string `json:"hash,omitempty"` // SHA-256 of the file, hexadecimal
	Problem string `json:"problem,omitempty"`
}

// Kept is where the tables are that a configuration of INPUTS names. The zero value has
// none.
type Kept struct {
	// Read gives the file of a table by its hash.
	Read func(hash string) ([]byte, error)
	// Known are tables that are in memory, and need not be made again; nil: none.
	Known func() Known
}

// Known are tables by what they are made of.
type Known map[tableKey]*table.Table

type tableKey struct {
	hash   string
	format table.Format
	key    table.Key
	tabs   bool
}

// Table is a table of a configuration.
type Table struct {
	Address string // "table.known_scanners"
	Path    string // as a file is opened
	Hash    string // of its content
	Rows    int
	root    string // the folder that the file must be in
	place   hcl.Range
}

// Read reads the table's file.
func (t Table) Read() ([]byte, error) { return readTable(t.root, t.Path) }

func readTable(root, path string) ([]byte, error) {
	f, err := openRegular(root, path)
	if err != nil {
		return nil, errors.New(plain(err))
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, MaxTable+1))
	if err != nil {
		return nil, errors.New(plain(err))
	}
	if len(content) > MaxTable {
		return nil, fmt.Errorf("%s is larger than %d MiB", path, MaxTable>>20)
	}
	return content, nil
}

// tablesOf reads the files of the tables.
func (s *Source) tablesOf(p *parser) {
	total := 0
	for _, body := range p.bodies {
		for _, block := range body.Blocks {
			attr := block.Body.Attributes["path"]
			if block.Type != "table" || len(block.Labels) != 1 || attr == nil {
				continue
			}
			v, _ := p.constant(attr.Expr)
			path, ok := v.Str()
			if !ok {
				continue // Parse says so
			}
			full := s.full(path)
			content, problem := readTable(s.root(full), full)
			if total += len(content); problem == nil && total > MaxTables {
				problem = fmt.Errorf("the tables have more than %d MiB together", MaxTables>>20)
			}
			s.setTable("table."+block.Labels[0], content, problem)
		}
	}
}

func (s *Source) setTable(address string, content []byte, problem error) {
	if s.Tables == nil {
		s.Tables, s.Contents = map[string]TableVersion{}, map[string][]byte{}
	}
	if problem != nil {
		s.Tables[address] = TableVersion{Problem: problem.Error()}
		return
	}
	hash := HashOf(content)
	s.Tables[address] = TableVersion{Hash: hash}
	s.Contents[hash] = content
}

// full is a path as a file is opened.
func (s *Source) full(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(s.Dir, path)
}

// fetch brings the tables' files that the source names; what is not to be had is
// complained about by Parse.
func (s *Source) fetch(from Kept) error {
	if from.Known != nil {
		s.Tabled = from.Known()
	}
	for _, address := range slices.Sorted(maps.Keys(s.Tables)) {
		hash := s.Tables[address].Hash
		if hash == "" || from.Read == nil {
			continue
		}
		content, err := from.Read(hash)
		if err != nil {
			return fmt.Errorf("%s: %w", address, err)
		}
		if HashOf(content) != hash {
			return fmt.Errorf("%s: the file that was kept of it is damaged: it is not %s any more", address, hash)
		}
		if s.Contents == nil {
			s.Contents = map[string][]byte{}
		}
		s.Contents[hash] = content
	}
	return nil
}

// versions are the tables' hashes, as INPUTS carries them.
func (s *Source) versions() map[string]string {
	var hashes map[string]string
	for address, v := range s.Tables {
		if v.Hash == "" {
			continue
		}
		if hashes == nil {
			hashes = map[string]string{}
		}
		hashes[address] = v.Hash
	}
	return hashes
}

// tables reads the table blocks, before anything that may read them.
func (p *parser) tables() {
	for _, s := range p.each("table") {
		if s.broken {
			continue
		}
		if t, ok := p.table(s); ok {
			if p.tableRows == nil {
				p.tableRows = map[string]expr.Table{}
			}
			p.tableRows[s.name()] = t
		}
	}
}

func (p *parser) table(s *section) (expr.Table, bool) {
	fail := func(attribute, format string, args ...any) (expr.Table, bool) {
		p.errorf(s.place(attribute), "Table cannot be read", format, args...)
		return expr.Table{}, false
	}
	path := s.text("path", "")
	version, ok := p.src.Tables[s.address()]
	if version.Problem != "" {
		return fail("path", "%s.", sentence(version.Problem))
	}
	content, kept := p.src.Contents[version.Hash]
	if !ok || !kept {
		return fail("path", "What the file held is not there: version %.12s.", version.Hash)
	}
	options, err := tableOptions(s, path)
	if err != nil {
		return fail("path", "%s. Write format = \"csv\" or \"ndjson\".", sentence(err.Error()))
	}
	key := options.key
	known := true
	options.Keys = func(columns []string) ([]table.Key, error) {
		if known = slices.Contains(columns, key.Column); !known {
			return nil, fmt.Errorf("has no column %q. %s", key.Column, suggest(key.Column, columns))
		}
		return []table.Key{key}, nil
	}
	of := tableKey{version.Hash, options.Format, key, options.Separator != 0}
	t := p.src.Tabled[of]
	if t == nil {
		t, err = table.Parse(bytes.NewReader(content), path, options.Options)
	}
	switch {
	case !known:
		return fail("key", "%s", err)
	case err != nil:
		return fail("path", "%s.", err)
	case t.Len() > MaxTableRows:
		return fail("path", "%s has %d rows, and may have %d.", path, t.Len(), MaxTableRows)
	}
	if p.config.Known == nil {
		p.config.Known = Known{}
	}
	p.config.Known[of] = t
	if p.tableOf == nil {
		p.tableOf = map[string]*table.Table{}
	}
	p.tableOf[s.name()] = t
	full := p.src.full(path)
	p.config.Tables = append(p.config.Tables, Table{
		Address: s.address(), Path: full, root: p.src.root(full), Hash: version.Hash, Rows: t.Len(), place: s.place("path"),
	})
	return readable(t, key.Kind, options.Format), true
}

type keyedOptions struct {
	table.Options
	key table.Key
}

func tableOptions(s *section, path string) (keyedOptions, error) {
	o := keyedOptions{key: table.Key{Column: s.text("key", "")}}
	switch kind := s.text("kind", ""); {
	case kind == "" && slices.Contains(sdk.Kinds(), o.key.Column):
		o.key.Kind = o.key.Column
	case kind != plainText:
		o.key.Kind = kind
	}
	o.Format = table.Format(s.text("format", ""))
	if o.Format == "" {
		format, err := table.FormatOf(path)
		if err != nil {
			return o, err
		}
		o.Format = format
	}
	if strings.EqualFold(filepath.Ext(path), ".tsv") {
		o.Separator = '\t'
	}
	return o, nil
}

// readable is a table as expressions have it: of a key its first row, and of an empty
// cell null.
func readable(t *table.Table, kind string, format table.Format) expr.Table {
	columns := t.Columns()
	cell := &expr.Shape{Kind: expr.StringKind}
	if format == table.NDJSON {
		cell = nil // a text or a list of texts
	}
	shape := &expr.Shape{Kind: expr.ObjectKind, Fields: map[string]*expr.Shape{}}
	for _, name := range columns {
		shape.Fields[name] = cell
	}
	slices.Sort(columns)
	return expr.Table{Shape: shape, Row: func(key string) expr.Value {
		if kind != "" {
			o, err := sdk.Canonical(kind, key)
			if err != nil {
				return expr.Value{}
			}
			key = o.Value
		}
		match, ok := t.Lookup(kind, key)
		if !ok {
			return expr.Value{}
		}
		return expr.Record(tableRow{match.Rows[0], columns})
	}}
}

type tableRow struct {
	row     table.Row
	columns []string // sorted
}

func (r tableRow) Names() []string { return r.columns }

func (r tableRow) Field(name string) expr.Value {
	switch cell := r.row.Value(name).(type) {
	case string:
		if cell == "" {
			return expr.Value{}
		}
		return expr.String(cell)
	case []string:
		return expr.Strings(cell)
	}
	return expr.Value{}
}

// readTable notes that an expression reads a table, and complains about one that is
// not there.
func (p *parser) readTable(traversal hcl.Traversal, at place) bool {
	if at == nowhere {
		p.errorf(traversal.SourceRange(), "Not available here", "A table can be read where something is decided about an event or a case; what is written here is known when the configuration is read.")
		return false
	}
	if len(traversal) < 2 {
		return true // which expr complains about
	}
	name, where := stepName(traversal[1])
	s := p.named["table."+name]
	if s == nil {
		if !p.missing["table."+name] && name != "" {
			p.errorf(where, "Unknown table", "There is no table %q. %s", name, orDeclare(name, p.namesOf("table"), `table "NAME" { path = …, key = … }`))
			return false
		}
		return name == ""
	}
	s.used = true
	_, ok := p.tableRows[name] // of one that has been complained about nothing more is said
	return ok
}

// WithTable is the configuration with another content of one table's file, and all
// else as it is. With an error it is nil, and the diagnostics say why.
func (c *Config) WithTable(address string, content []byte) (*Config, Diagnostics) {
	src := *c.Source
	src.Tables, src.Contents = maps.Clone(c.Source.Tables), maps.Clone(c.Source.Contents)
	src.setTable(address, content, nil)
	src.Tabled = c.Known
	needed := src.versions()
	maps.DeleteFunc(src.Contents, func(hash string, _ []byte) bool {
		for _, h := range needed {
			if h == hash {
				return false
			}
		}
		return true
	})
	total := 0
	for _, content := range src.Contents {
		total += len(content)
	}
	if total > MaxTables {
		return nil, reading(fmt.Errorf("the tables have more than %d MiB together", MaxTables>>20))
	}
	fresh, diags := Parse(&src)
	src.Tabled = nil // or else the version before stays in memory
	if diags.HasErrors() {
		return nil, diags
	}
	next := *c // what was set from outside stays
	next.Source, next.Match, next.Decide, next.Tables, next.parts = fresh.Source, fresh.Match, fresh.Decide, fresh.Tables, fresh.parts
	next.Schedules = fresh.Schedules
	next.Known = fresh.Known
	next.Respond.Actions = maps.Clone(c.Respond.Actions)
	next.finish(fresh.Hash)
	return &next, nil
}

// HashOf is by what a content is known.
func HashOf(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

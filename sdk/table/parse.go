package table

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// jsonList separates the elements of a list that came as JSON. It is not allowed
// in a cell.
const jsonList = "\x1f"

// Parse reads a whole file and indexes it. The path is for complaints, which are of
// type *Error unless reading itself fails.
func Parse(r io.Reader, path string, options Options) (*Table, error) {
	sum := sha256.New()
	bounded := &boundedReader{r: io.TeeReader(r, sum), left: MaxFile}
	t := &Table{place: map[string]int{}}
	p := &parser{table: t, path: path, options: options}
	read := p.readCSV
	if options.Format == NDJSON {
		read = p.readNDJSON
	} else if options.Format != CSV {
		return nil, &Error{Path: path, Reason: fmt.Sprintf("the format %q is not known; there are csv and ndjson", options.Format)}
	}
	if err := read(bounded); err != nil {
		if bounded.left < 0 {
			err = &Error{Path: path, Reason: fmt.Sprintf("is larger than %d MiB", MaxFile>>20)}
		}
		return nil, err
	}
	t.version = hex.EncodeToString(sum.Sum(nil))
	if err := p.index(); err != nil {
		return nil, err
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	return t, nil
}

func (p *parser) check() error {
	for number := range p.table.rows {
		if p.options.Check == nil {
			break
		}
		row := Row{table: p.table, number: int32(number)}
		if err := p.options.Check(row); err != nil {
			complaint := p.complaint(row.Line(), 0, "", "%v", err)
			var named *Error
			if errors.As(err, &named) {
				complaint.Column, complaint.Reason = named.Column, named.Reason
			}
			return complaint
		}
	}
	return nil
}

type parser struct {
	table   *Table
	path    string
	options Options
}

func (p *parser) complaint(line, offset int, column, format string, args ...any) *Error {
	return &Error{Path: p.path, Line: line, Offset: offset, Column: column, Reason: fmt.Sprintf(format, args...)}
}

var errTooLarge = errors.New("file too large")

type boundedReader struct {
	r    io.Reader
	left int64
}

func (b *boundedReader) Read(buf []byte) (int, error) {
	n, err := b.r.Read(buf)
	if b.left -= int64(n); b.left < 0 {
		return 0, errTooLarge
	}
	return n, err
}

func (p *parser) readCSV(r io.Reader) error {
	p.table.list = ";"
	reader := csv.NewReader(withoutMark(r))
	reader.Comment = '#'
	if p.options.Separator != 0 {
		reader.Comma = p.options.Separator
	}
	header, err := reader.Read()
	if errors.Is(err, io.EOF) {
		return p.complaint(0, 0, "", "is empty; its first line must name the columns")
	} else if err != nil {
		return p.csvError(err)
	}
	for i, name := range header {
		line, offset := reader.FieldPos(i)
		if err := p.addColumn(name, line, offset); err != nil {
			return err
		}
	}
	for {
		cells, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return p.csvError(err)
		}
		for i, cell := range cells {
			if reason := badCell(cell); reason != "" {
				line, offset := reader.FieldPos(i)
				return p.complaint(line, offset, p.table.columns[i], "%s", reason)
			}
			cells[i] = strings.TrimSpace(cell)
		}
		line, _ := reader.FieldPos(0)
		if err := p.addRow(cells, line); err != nil {
			return err
		}
	}
}

func (p *parser) csvError(err error) error {
	var parse *csv.ParseError
	if !errors.As(err, &parse) {
		return err
	}
	reason := parse.Err.Error()
	switch {
	case errors.Is(parse.Err, csv.ErrFieldCount):
		return p.complaint(parse.Line, 0, "", "has not as many cells as the header has columns (%d)", len(p.table.columns))
	case errors.Is(parse.Err, csv.ErrQuote):
		reason = `a quotation mark is not closed, or text follows it; inside a quoted cell write ""`
	case errors.Is(parse.Err, csv.ErrBareQuote):
		reason = `a quotation mark stands inside a cell that does not begin with one; quote the whole cell and write ""`
	}
	return p.complaint(parse.Line, parse.Column, "", "%s", reason)
}

// withoutMark drops a byte order mark, which spreadsheets write.
func withoutMark(r io.Reader) io.Reader {
	buffered := bufio.NewReaderSize(r, 64<<10)
	if mark, _ := buffered.Peek(3); bytes.Equal(mark, []byte("\xef\xbb\xbf")) {
		_, _ = buffered.Discard(3)
	}
	return buffered
}

func (p *parser) readNDJSON(r io.Reader) error {
	p.table.list = jsonList
	scanner := bufio.NewScanner(withoutMark(r))
	scanner.Buffer(make([]byte, 64<<10), MaxLine)
	line := 0
	for scanner.Scan() {
		line++
		text := bytes.TrimSpace(scanner.Bytes())
		if len(text) == 0 {
			continue
		}
		cells, err := p.readObject(text, line)
		if err != nil {
			return err
		}
		if err := p.addRow(cells, line); err != nil {
			return err
		}
	}
	if errors.Is(scanner.Err(), bufio.ErrTooLong) {
		return p.complaint(line+1, 0, "", "the line is longer than %d bytes", MaxLine)
	}
	return scanner.Err()
}

func (p *parser) readObject(text []byte, line int) ([]string, error) {
	if !utf8.Valid(text) {
		return nil, p.complaint(line, 0, "", "is not UTF-8")
	}
	if err := json.Unmarshal(text, new(json.RawMessage)); err != nil {
		offset := len(text)
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			offset = int(syntax.Offset)
		}
		return nil, p.complaint(line, offset, "", "is not JSON: %v", err)
	}
	if text[0] != '{' {
		return nil, p.complaint(line, 1, "", "is not a JSON object; each line must be one")
	}
	// The text is sound from here on; what is left is to see keys that come twice,
	// which decoding into a map would hide.
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if _, err := decoder.Token(); err != nil {
		return nil, err
	}
	cells := make([]string, 0, len(p.table.columns))
	seen := map[int]bool{}
	for decoder.More() {
		token, err := decoder.Token()
		key, isKey := token.(string)
		if err != nil || !isKey {
			return nil, p.complaint(line, 0, "", "is not JSON: %v", err)
		}
		offset := int(decoder.InputOffset())
		name := columnName(key)
		place, known := p.table.place[name]
		if !known {
			if err := p.addColumn(name, line, offset); err != nil {
				return nil, err
			}
			place = p.table.place[name]
		}
		if seen[place] {
			return nil, p.complaint(line, offset, name, "stands twice in one row")
		}
		seen[place] = true
		var value any
		if err := decoder.Decode(&value); err != nil {
			return nil, p.complaint(line, offset, name, "is not JSON: %v", err)
		}
		cell, reason := jsonCell(value)
		if reason != "" {
			return nil, p.complaint(line, offset, name, "%s", reason)
		}
		for len(cells) <= place {
			cells = append(cells, "")
		}
		cells[place] = cell
	}
	return slices.Clip(cells), nil
}

// jsonCell makes text of a value. Objects stay JSON.
func jsonCell(value any) (text, reason string) {
	switch value := value.(type) {
	case nil:
		return "", ""
	case []any:
		parts := make([]string, len(value))
		for i, element := range value {
			if parts[i], reason = jsonCell(element); reason != "" {
				return "", reason
			}
		}
		text = strings.Join(parts, jsonList)
		if len(text) > MaxCell {
			return "", fmt.Sprintf("is longer than %d bytes", MaxCell)
		}
		return text, ""
	case string:
		text = strings.TrimSpace(value)
	case map[string]any:
		var encoded strings.Builder
		encoder := json.NewEncoder(&encoded)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(value); err != nil {
			return "", err.Error()
		}
		text = strings.TrimSuffix(encoded.String(), "\n")
	default: // bool, json.Number
		text = fmt.Sprint(value)
	}
	return text, badCell(text)
}

func badCell(cell string) string {
	switch {
	case len(cell) > MaxCell:
		return fmt.Sprintf("is longer than %d bytes", MaxCell)
	case !utf8.ValidString(cell):
		return "is not UTF-8"
	case strings.ContainsAny(cell, "\x00"+jsonList):
		return "holds a control character"
	}
	return ""
}

func columnName(name string) string {
	return strings.NewReplacer(" ", "_", "-", "_").Replace(strings.ToLower(strings.TrimSpace(name)))
}

func (p *parser) addColumn(name string, line, offset int) error {
	name = columnName(name)
	reason := badCell(name)
	switch _, twice := p.table.place[name]; {
	case reason != "":
	case name == "":
		reason = "a column has no name"
	case len(name) > 128:
		reason = "the name of a column is longer than 128 bytes"
	case twice:
		reason = fmt.Sprintf("two columns are named %q", name)
	case len(p.table.columns) == MaxColumns:
		reason = fmt.Sprintf("has more than %d columns", MaxColumns)
	default:
		p.table.place[name] = len(p.table.columns)
		p.table.columns = append(p.table.columns, name)
		return nil
	}
	return p.complaint(line, offset, "", "%s", reason)
}

func (p *parser) addRow(cells []string, line int) error {
	if len(p.table.rows) == MaxRows {
		return p.complaint(line, 0, "", "has more than %d rows", MaxRows)
	}
	p.table.rows = append(p.table.rows, record{cells: cells, line: int32(line)})
	return nil
}

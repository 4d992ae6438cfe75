package sdk

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"
)

// go-plugin cuts log lines of 64 KiB and more, and what is cut loses its level. A text
// of maxLogText bytes has at most six times that in JSON.
const (
	maxLogText = 8 << 10
	maxLogLine = 60 << 10
)

// levelTrace is below slog's own levels; hclog has it.
const levelTrace = slog.LevelDebug - 4

// levelFromEnv reads hclog's names of levels; without one that it knows it is info.
func levelFromEnv(text string) slog.Level {
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "trace":
		return levelTrace
	case "debug":
		return slog.LevelDebug
	case "warn":
		return slog.LevelWarn
	case "error":
		return slog.LevelError
	}
	return slog.LevelInfo
}

// logHandler writes records as hclog's JSON lines, which is what go-plugin reads from
// a plugin's standard error. No secret that its scrubber knows leaves in them.
type logHandler struct {
	out    *logOutput
	fields []slog.Attr // with their groups in their keys
	prefix string      // of the groups that are open
	scrub  *secrets
	least  slog.Level
}

// logOutput keeps the lines of everybody who logs whole.
type logOutput struct {
	mu sync.Mutex
	w  io.Writer
}

func (o *logOutput) Write(line []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.w.Write(line)
}

func newLogHandler(w io.Writer, least slog.Level) *logHandler {
	return &logHandler{out: &logOutput{w: w}, least: least, scrub: &secrets{}}
}

func (h *logHandler) Enabled(_ context.Context, level slog.Level) bool { return level >= h.least }

func (h *logHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	derived := *h
	derived.prefix = h.prefix + name + "."
	return &derived
}

func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	derived := *h
	derived.fields = h.fields[:len(h.fields):len(h.fields)]
	for _, a := range attrs {
		derived.fields = flatten(derived.fields, h.prefix, a)
	}
	return &derived
}

func (h *logHandler) Handle(_ context.Context, r slog.Record) error {
	fields := h.fields[:len(h.fields):len(h.fields)]
	r.Attrs(func(a slog.Attr) bool {
		fields = flatten(fields, h.prefix, a)
		return true
	})
	at := r.Time
	if at.IsZero() {
		at = time.Now()
	}
	line := make([]byte, 0, 256)
	line = append(line, `{"@level":"`...)
	line = append(line, levelName(r.Level)...)
	line = append(line, `","@message":`...)
	line = appendJSON(line, h.text(r.Message))
	line = append(line, `,"@timestamp":"`...)
	line = at.AppendFormat(line, "2006-01-02T15:04:05.000000Z07:00")
	line = append(line, '"')
	for i, f := range fields {
		before := len(line)
		line = append(line, ',')
		line = appendJSON(line, strings.TrimLeft(h.text(f.Key), "@"))
		line = append(line, ':')
		line = h.appendValue(line, f.Value)
		if len(line) > maxLogLine {
			line = append(line[:before], fmt.Sprintf(`,"left_out":%d`, len(fields)-i)...)
			break
		}
	}
	line = append(line, "}\n"...)

	_, err := h.out.Write(line)
	return err
}

// flatten adds an attribute, and the members of a group each by itself.
func flatten(fields []slog.Attr, prefix string, a slog.Attr) []slog.Attr {
	a.Value = a.Value.Resolve()
	if a.Value.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, member := range a.Value.Group() {
			fields = flatten(fields, prefix, member)
		}
		return fields
	}
	if a.Equal(slog.Attr{}) {
		return fields
	}
	a.Key = prefix + a.Key
	return append(fields, a)
}

func levelName(level slog.Level) string {
	switch {
	case level < slog.LevelDebug:
		return "trace"
	case level < slog.LevelInfo:
		return "debug"
	case level < slog.LevelWarn:
		return "info"
	case level < slog.LevelError:
		return "warn"
	}
	return "error"
}

func (h *logHandler) appendValue(line []byte, v slog.Value) []byte {
	var text string
	switch v.Kind() {
	case slog.KindBool:
		return strconv.AppendBool(line, v.Bool())
	case slog.KindInt64, slog.KindUint64:
		text = v.String()
		if h.scrub.scrub(text) == text {
			return append(line, text...)
		}
	case slog.KindAny:
		text = anyText(v.Any())
	default:
		text = v.String()
	}
	return appendJSON(line, h.text(text))
}

// anyText writes a value as a person would want to read it.
func anyText(v any) (text string) {
	defer func() {
		if r := recover(); r != nil {
			text = fmt.Sprintf("(a %T that cannot be printed)", v)
		}
	}()
	switch v := v.(type) {
	case error:
		return v.Error()
	case fmt.Stringer:
		return v.String()
	case []byte:
		return string(v)
	}
	if encoded, err := json.Marshal(v); err == nil {
		return string(encoded)
	}
	return fmt.Sprintf("%+v", v)
}

func (h *logHandler) text(s string) string { return cut(h.scrub.scrub(s), maxLogText) }

func appendJSON(line []byte, s string) []byte {
	encoded, err := json.Marshal(s)
	if err != nil { // a string always encodes
		return append(line, `""`...)
	}
	return append(line, encoded...)
}

// cut bounds a text to so many bytes and makes it valid UTF-8, as protobuf and JSON
// demand.
func cut(s string, most int) string {
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

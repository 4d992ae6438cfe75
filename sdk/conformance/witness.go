package conformance

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"

	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// minSecret is the length below which a value turns up by chance.
const minSecret = 4

// witness sees all that the plugin says during a run, whatever is checked: it keeps what
// was printed where nothing may be, and where a secret turned up.
type witness struct {
	mu      sync.Mutex
	forms   map[string]bool // of the secrets
	strays  []string
	leaks   []string
	dropped int
}

func newWitness() *witness { return &witness{forms: map[string]bool{}} }

// know makes secrets known, in the forms in which they turn up.
func (w *witness) know(secrets ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, secret := range secrets {
		if len(secret) < minSecret {
			continue
		}
		quoted, _ := json.Marshal(secret)
		for _, form := range []string{
			secret, strings.Trim(string(quoted), `"`), url.QueryEscape(secret), url.PathEscape(secret),
			base64.RawStdEncoding.EncodeToString([]byte(secret)), base64.RawURLEncoding.EncodeToString([]byte(secret)),
		} {
			w.forms[form] = true
		}
	}
}

// look notes where a secret is in what the plugin said.
func (w *witness) look(where string, data []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for form := range w.forms {
		if bytes.Contains(data, []byte(form)) {
			if !slices.Contains(w.leaks, where) {
				w.leaks = append(w.leaks, where)
			}
			return
		}
	}
}

// hide takes the secrets out of a text.
func (w *witness) hide(text string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	for form := range w.forms {
		text = strings.ReplaceAll(text, form, "(secret)")
	}
	return text
}

// maxStrays are kept of what was printed.
const maxStrays = 5

func (w *witness) stray(check, line string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.strays) == maxStrays {
		w.dropped++
		return
	}
	w.strays = append(w.strays, fmt.Sprintf("%q (during the check %s)", clip(line), check))
}

func (w *witness) printed() (lines []string, more int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.strays), w.dropped
}

func (w *witness) leaked() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.leaks)
}

// methodKey is the context's key of a call's method.
type methodKey struct{}

// TagRPC implements stats.Handler.
func (w *witness) TagRPC(ctx context.Context, info *stats.RPCTagInfo) context.Context {
	return context.WithValue(ctx, methodKey{}, info.FullMethodName[strings.LastIndexByte(info.FullMethodName, '/')+1:])
}

// HandleRPC implements stats.Handler.
func (w *witness) HandleRPC(ctx context.Context, s stats.RPCStats) {
	method, _ := ctx.Value(methodKey{}).(string)
	switch s := s.(type) {
	case *stats.InPayload:
		if message, ok := s.Payload.(proto.Message); ok && method != "StreamStdio" {
			data, _ := proto.Marshal(message)
			w.look("the answer of "+method, data)
		}
	case *stats.End:
		if s.Error != nil {
			w.look("an error of "+method, []byte(status.Convert(s.Error).Message()))
		}
	}
}

// TagConn implements stats.Handler.
func (w *witness) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// HandleConn implements stats.Handler.
func (w *witness) HandleConn(context.Context, stats.ConnStats) {}

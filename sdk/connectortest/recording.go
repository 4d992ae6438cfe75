package connectortest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// RecordEnv names the variable with the address of the real API: a test that has it set
// asks there, and writes down what it answers.
const RecordEnv = "KELPIE_RECORD"

// Recorded serves the answers in a folder, one file each, until the test ends. A file is
// the request's first line, an empty line, and the answer as HTTP has it:
//
//	GET /v1/alerts?after=3
//
//	HTTP/1.1 200 OK
//	Content-Type: application/json
//
//	{"items": []}
//
// To add an answer is to add a file. Of several answers to one request the first comes
// first, by the names of their files, and the last stays. A request that no file answers
// fails the test.
//
// With KELPIE_RECORD=https://api.example.org in the environment of the test it asks that
// API instead and writes the files anew. Only the status, Content-Type, Retry-After and the
// body are kept, and of the request nothing but its line: headers hold keys. Read the
// bodies before you give the files to anybody.
func Recorded(t testing.TB, folder string) *API {
	t.Helper()
	a := NewAPI(t)
	if upstream := os.Getenv(RecordEnv); upstream != "" {
		r := &recorder{t: t, folder: folder, upstream: strings.TrimSuffix(upstream, "/")}
		r.clear()
		a.Handle("/", r.serve)
		return a
	}
	answers, err := readRecording(folder)
	if err != nil {
		t.Fatal(err)
	}
	a.Handle("/", (&player{t: t, folder: folder, answers: answers}).serve)
	return a
}

// recordedAnswer is what a file says.
type recordedAnswer struct {
	status int
	header http.Header
	body   []byte
}

const recordingSuffix = ".http"

func readRecording(folder string) (map[string][]recordedAnswer, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*"+recordingSuffix))
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("%s has no answers; %s=https://… go test writes them", folder, RecordEnv)
	}
	if err != nil {
		return nil, err
	}
	slices.Sort(files)
	all := map[string][]recordedAnswer{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		request, answer, err := parseRecording(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		all[request] = append(all[request], answer)
	}
	return all, nil
}

func parseRecording(text []byte) (request string, a recordedAnswer, err error) {
	line, rest, ok := strings.Cut(string(text), "\n")
	request = strings.TrimSpace(line)
	if method, path, is := strings.Cut(request, " "); !ok || !is || method == "" || !strings.HasPrefix(path, "/") {
		return "", a, errors.New("its first line is no request, such as GET /v1/alerts")
	}
	head, body, ok := strings.Cut(strings.TrimLeft(rest, "\r\n"), "\n\n")
	if !ok {
		return "", a, errors.New("it has no empty line between the answer's head and its body")
	}
	head = strings.ReplaceAll(strings.ReplaceAll(head, "\r", ""), "\n", "\r\n") + "\r\n\r\n"
	answer, err := http.ReadResponse(bufio.NewReader(strings.NewReader(head)), nil)
	if err != nil {
		return "", a, fmt.Errorf("its answer's head: %w", err)
	}
	defer answer.Body.Close()
	return request, recordedAnswer{answer.StatusCode, answer.Header, []byte(body)}, nil
}

// player answers from a recording.
type player struct {
	t       testing.TB
	folder  string
	mu      sync.Mutex
	answers map[string][]recordedAnswer
}

func (p *player) serve(w http.ResponseWriter, r *http.Request) {
	request := r.Method + " " + r.URL.RequestURI()
	p.mu.Lock()
	answers := p.answers[request]
	if len(answers) > 1 {
		p.answers[request] = answers[1:]
	}
	p.mu.Unlock()
	if len(answers) == 0 {
		p.t.Errorf("%s is answered by no file in %s", request, p.folder)
		http.Error(w, `{"error": "not recorded"}`, http.StatusNotImplemented)
		return
	}
	a := answers[0]
	for name, values := range a.header {
		w.Header()[name] = values
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body)
}

// recorder asks a real API.
type recorder struct {
	t                testing.TB
	folder, upstream string
	mu               sync.Mutex
	n                int
}

// clear takes the older files away.
func (r *recorder) clear() {
	files, err := filepath.Glob(filepath.Join(r.folder, "*"+recordingSuffix))
	for _, file := range files {
		err = errors.Join(err, os.Remove(file))
	}
	if err = errors.Join(err, os.MkdirAll(r.folder, 0o755)); err != nil {
		r.t.Fatal(err)
	}
}

func (r *recorder) serve(w http.ResponseWriter, in *http.Request) {
	out, err := http.NewRequestWithContext(in.Context(), in.Method, r.upstream+in.URL.RequestURI(), in.Body)
	if err != nil {
		r.t.Error(err)
		return
	}
	out.Header = in.Header.Clone()
	out.Header.Del("Accept-Encoding") // net/http's own, which it decodes
	resp, err := http.DefaultTransport.RoundTrip(out)
	if err != nil {
		r.t.Error(err)
		http.Error(w, `{"error": "the API does not answer"}`, http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		r.t.Error(err)
	}
	kept := http.Header{}
	for _, name := range []string{"Content-Type", "Retry-After"} {
		if v := resp.Header.Get(name); v != "" {
			kept.Set(name, v)
			w.Header().Set(name, v)
		}
	}
	w.WriteHeader(resp.StatusCode)
	_, _ = w.Write(body)
	r.write(in.Method+" "+in.URL.RequestURI(), resp.StatusCode, kept, body)
}

var notInNames = regexp.MustCompile(`[^A-Za-z0-9]+`)

func (r *recorder) write(request string, status int, header http.Header, body []byte) {
	var text bytes.Buffer
	fmt.Fprintf(&text, "%s\n\nHTTP/1.1 %d %s\n", request, status, http.StatusText(status))
	for _, name := range []string{"Content-Type", "Retry-After"} {
		if v := header.Get(name); v != "" {
			fmt.Fprintf(&text, "%s: %s\n", name, v)
		}
	}
	text.WriteString("\n")
	text.Write(body)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.n++
	name := strings.Trim(notInNames.ReplaceAllString(strings.ToLower(request), "_"), "_")
	file := filepath.Join(r.folder, fmt.Sprintf("%03d_%.60s%s", r.n, name, recordingSuffix))
	if err := os.WriteFile(file, text.Bytes(), 0o644); err != nil {
		r.t.Error(err)
	}
}

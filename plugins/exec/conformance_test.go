package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/kelpie-sec/kelpie/sdk"
	"github.com/kelpie-sec/kelpie/sdk/conformance"
	"github.com/kelpie-sec/kelpie/sdk/sdktest"
)

// programEnv makes the test binary the program of a block: it hands what it reads to the
// desk at that address, and prints and exits as the desk says.
const programEnv = "KELPIE_TEST_PROGRAM"

// exitHeader has a program's exit code in the desk's answer.
const exitHeader = "Exit-Code"

func deskProgram(address string) int {
	resp, err := http.Post(address, "application/json", os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, "the desk does not answer")
		return exitLater
	}
	defer resp.Body.Close()
	if _, err := io.Copy(os.Stdout, resp.Body); err != nil {
		return 1
	}
	code, err := strconv.Atoi(resp.Header.Get(exitHeader))
	if err != nil {
		return 1
	}
	return code
}

// desk is what the programs of the test serve.
type desk struct {
	sdktest.Trouble
	mu       sync.Mutex
	events   [][]byte
	told     int
	ordered  map[string]bool // by key
	blocked  map[string]int
	takeback map[string]bool // keys of undos
}

func (d *desk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	input, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	if d.Limited() {
		w.Header().Set(exitHeader, strconv.Itoa(exitLater))
		fmt.Fprintln(w, `{"retry_after": "60s"}`)
		return
	}
	d.Hold()
	d.mu.Lock()
	defer d.mu.Unlock()
	w.Header().Set(exitHeader, "0")
	switch r.URL.Path {
	case "/events":
		d.print(w, input, false)
	case "/places":
		d.print(w, input, true)
	case "/answers":
		d.answer(w, input)
	default:
		d.act(w, input)
	}
}

// print prints the events from the cursor on, which is how many were printed before. Where
// places are to be ids a cursor stands after each event: at the end of a run alone it would
// depend on when that was, and the ids on it.
func (d *desk) print(w io.Writer, input []byte, places bool) {
	var in struct {
		Cursor int `json:"cursor"`
	}
	_ = json.Unmarshal(input, &in) // the first time it is null
	from := min(in.Cursor, len(d.events))
	to := min(from+100, len(d.events))
	for n, e := range d.events[from:to] {
		fmt.Fprintf(w, "%s\n", e)
		if places {
			fmt.Fprintf(w, `{"cursor": %d}`+"\n", from+n+1)
		}
	}
	fmt.Fprintf(w, `{"cursor": %d, "more": %t}`+"\n", to, to < len(d.events))
}

func (d *desk) answer(w io.Writer, input []byte) {
	var in struct {
		Questions []question `json:"questions"`
	}
	_ = json.Unmarshal(input, &in) // none come then, which is told
	var answers []string
	for _, q := range in.Questions {
		answers = append(answers, fmt.Sprintf(`{"asset": {"name": %s, "owner": "kim"}}`, strconv.QuoteToASCII(q.Kind)))
	}
	fmt.Fprintf(w, `{"answers": [%s]}`, strings.Join(answers, ","))
}

func (d *desk) act(w http.ResponseWriter, input []byte) {
	var c call
	if err := json.Unmarshal(input, &c); err != nil {
		w.Header().Set(exitHeader, "1")
		return
	}
	outcome, keys := "done", d.ordered
	if c.Operation == "undo" || c.Undo {
		keys = d.takeback
	}
	switch {
	case c.Operation == "check" && !keys[c.Key]:
		outcome = "failed"
	case c.Operation == "check" || c.DryRun:
	case keys[c.Key]:
		fmt.Fprint(w, `{"outcome": "already", "same_key": true}`)
		return
	case c.Operation == "undo":
		d.blocked[c.Target.Value]--
		keys[c.Key] = true
	default:
		d.blocked[c.Target.Value]++
		d.told++
		keys[c.Key] = true
	}
	fmt.Fprintf(w, `{"outcome": %q, "token": {"of": %q}}`, outcome, c.Key)
}

// fill makes these the events that there are.
func (d *desk) fill(payloads [][]byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.events = nil
	for _, p := range payloads {
		d.events = append(d.events, bytes.Clone(p))
	}
	return nil
}

func (d *desk) tidings() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return fmt.Sprintf("%d: %s", d.told, strings.Join(slices.Sorted(maps.Keys(d.ordered)), " "))
}

func (d *desk) blocks() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return fmt.Sprint(d.blocked)
}

func TestConformance(t *testing.T) {
	if testing.Short() {
		t.Skip("runs real processes")
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{ordered: map[string]bool{}, takeback: map[string]bool{}, blocked: map[string]int{}}
	server := httptest.NewServer(d)
	t.Cleanup(server.Close)
	const secret = "a-word-that-turns-up-nowhere"
	instance := func(kind sdk.Kind, name, path string, more map[string]any) conformance.Instance {
		config := map[string]any{
			"program": program,
			// One that looks for data races would sleep for a second before it ends.
			"environment": map[string]any{programEnv: server.URL + path, "GORACE": "atexit_sleep_ms=0"},
			"secrets":     map[string]any{"DESK_TOKEN": secret},
		}
		maps.Copy(config, more)
		return conformance.Instance{Name: fmt.Sprintf("%s.%s", kind, name), Kind: kind, Config: config, Secrets: []string{secret}, Limit: d.Limit, Stall: d.Stall}
	}
	act := func(verb string, target sdk.Target, state func() string) []conformance.Act {
		return []conformance.Act{{Verb: verb, Target: target, State: state}}
	}
	// The ids of a release are in testdata; UPDATE=1 writes them.
	places := instance(sdk.KindDetector, "places", "/places", map[string]any{"format": "raw", "every": "1s"})
	places.Fill = d.fill
	named := instance(sdk.KindDetector, "named", "/events", map[string]any{"format": "raw", "id_field": "id", "every": "1s"})
	named.Fill = d.fill
	answers := instance(sdk.KindEnrichment, "answers", "/answers", nil)
	tells := instance(sdk.KindAction, "tells", "/act", nil)
	tells.Acts = act("notify", sdk.Target{Kind: "address", Value: "soc@example.org"}, d.tidings)
	blocks := instance(sdk.KindAction, "blocks", "/act", map[string]any{"dry_run": true})
	blocks.Connector, blocks.Acts = "containment", act("block_indicator", sdk.Target{Kind: sdk.IP, Value: "198.51.100.7"}, d.blocks)

	sdktest.Conform(t, conformance.Settings{
		Binary: sdktest.Build(t, "."), Record: "testdata/ids.json", Update: os.Getenv("UPDATE") != "",
		Instances: []conformance.Instance{places, named, answers, tells, blocks},
	})
}

// Package far is how the fakes of the fault harness speak with what is behind them: the
// harness plays the product at the far end of an enrichment or an action, so that it
// lives on when the plugin is killed, as a real one does.
package far

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
)

// Client asks the far end. It is safe for concurrent use.
type Client struct{ http *http.Client }

// Dial makes a client of the far end behind a unix socket.
func Dial(socket string) *Client {
	return &Client{http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}}
}

// Ask posts a question, and reads the answer. An error means that the answer was lost,
// or that the question never came there.
func (c *Client) Ask(ctx context.Context, path string, question, answer any) error {
	body, err := json.Marshal(question)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://far/"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the far end says %s", resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(answer)
}

// Close ends idle connections.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// Crash ends the process at once, as a fault in a plugin does.
func Crash() { os.Exit(3) }

// Call is one Execute or Undo as a vendor gets it, or one Check.
type Call struct {
	Action  string `json:"action"`
	Verb    string `json:"verb"`
	Kind    string `json:"kind"`
	Target  string `json:"target"`
	Key     string `json:"key"`
	Attempt int    `json:"attempt,omitempty"`
	DryRun  bool   `json:"dry_run,omitempty"`
	// Left is how long the call may still take effect, in milliseconds.
	Left int64 `json:"left,omitempty"`
}

// Result is what a vendor answers.
type Result struct {
	// Outcome is an sdk.Outcome.
	Outcome string `json:"outcome"`
	Message string `json:"message,omitempty"`
	// Crash: the plugin is to end at once, and nobody hears of the outcome.
	Crash bool `json:"crash,omitempty"`
}

// Question to an enrichment's far end: all values of one call.
type Question struct {
	Enrichment string   `json:"enrichment"`
	Kind       string   `json:"kind"`
	Values     []string `json:"values"`
}

// Replies to a question.
type Replies struct {
	Replies []Reply `json:"replies"`
	Crash   bool    `json:"crash,omitempty"`
	// Lie, if it is not empty, is what the plugin is to make of the answer.
	Lie Lie `json:"lie,omitempty"`
}

// Lie is a way to break the contract of an enrichment.
type Lie string

// The lies.
const (
	WrongInstance Lie = "for a wrong instance"
	NotAsked      Lie = "about what was not asked"
	Twice         Lie = "about one value twice"
	LeftOut       Lie = "with a value left out"
	OutOfRange    Lie = "out of range"
	// NamesSubjects: an external source says that what was asked about is some host.
	NamesSubjects Lie = "that names a subject"
)

// Lies lists them all.
func Lies() []Lie {
	return []Lie{WrongInstance, NotAsked, Twice, LeftOut, OutOfRange, NamesSubjects}
}

// Bystander is a host of whom no event tells.
const Bystander = "bystander"

// Lied tells the far end that a lie is on its way to the core.
type Lied struct {
	Enrichment string `json:"enrichment"`
	Lie        Lie    `json:"lie"`
}

// Reply is what is known of one value.
type Reply struct {
	// None: the source has nothing.
	None  bool `json:"none,omitempty"`
	Score int  `json:"score"`
	// Error, if it is not empty, is why there is no answer.
	Error string `json:"error,omitempty"`
}

// Delivery is one line of a script: what a feed hands over at once.
type Delivery struct {
	Events []Event `json:"events"`
	Play   Play    `json:"play,omitempty"`
}

// Play is how a delivery is handed over.
type Play string

// The ways other than at once, in order, and once.
const (
	Duplicated Play = "batch duplicated"
	Delayed    Play = "batch delayed"
	// Reordered: behind the one that follows, whenever that comes.
	Reordered Play = "batch reordered"
)

// Event of a delivery.
type Event struct {
	ID       string `json:"id"`
	Revision string `json:"revision,omitempty"`
	Raw      []byte `json:"raw"`
	Problem  string `json:"problem,omitempty"`
	// Large: so many bytes are to be sent instead of Raw.
	Large int `json:"large,omitempty"`
}

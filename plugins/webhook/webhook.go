package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

// maxBody is the largest request, in bytes.
const maxBody = 1 << 20

// webhook posts to one address.
type webhook struct {
	config config
	url    *url.URL
	keys   [][]byte
	client *http.Client
	log    *slog.Logger

	mu sync.Mutex
	// until is when the receiver wants to be asked again (Retry-After).
	until time.Time
}

// Config is filled from the block.
func (w *webhook) Config() any { return &w.config }

// Open prepares what every request needs; it connects to nothing.
func (w *webhook) Open(_ context.Context, env sdk.Env) error {
	w.log = env.Log
	var err error
	if w.url, err = parseURL(w.config.URL, w.config.Insecure); err != nil {
		return sdk.Diagnostic{Path: []string{"url"}, Summary: "url " + err.Error()}
	}
	for _, secret := range []string{w.config.Secret, w.config.PreviousSecret} {
		if secret == "" {
			continue
		}
		key, err := parseSecret(secret)
		if err != nil {
			return sdk.Diagnostic{Path: []string{"secret"}, Summary: "secret " + err.Error()}
		}
		w.keys = append(w.keys, key)
	}
	if w.client, err = newClient(&w.config, w.url); err != nil {
		return sdk.Diagnostic{Path: []string{"ca_file"}, Summary: "the certificates cannot be read", Detail: err.Error()}
	}
	return nil
}

// Close lets go of connections that are kept open.
func (w *webhook) Close() error {
	if w.client != nil {
		w.client.CloseIdleConnections()
	}
	return nil
}

// envelope is the payload as Standard Webhooks has it.
type envelope struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"`
	Data      any       `json:"data"`
}

// told is the data of "kelpie.notify".
type told struct {
	To      string `json:"to"`
	Subject string `json:"subject,omitempty"`
	Text    string `json:"text,omitempty"`
	Notice  any    `json:"notice,omitempty"`
	Attempt int    `json:"attempt"`
	// PossibleRepeat: an earlier attempt may have arrived, under the same webhook-id.
	PossibleRepeat bool `json:"possible_repeat,omitempty"`
}

// ordered is the data of "kelpie.run".
type ordered struct {
	Name    string `json:"name"`
	Target  target `json:"target"`
	Data    any    `json:"data,omitempty"`
	Attempt int    `json:"attempt"`
}

type target struct {
	Kind  string          `json:"kind"`
	Value string          `json:"value"`
	Known json.RawMessage `json:"known,omitempty"`
}

// Execute posts one call, and again while that may help and does no harm.
func (w *webhook) Execute(ctx context.Context, call sdk.Call) (sdk.Result, error) {
	payload := envelope{Timestamp: time.Now().UTC()}
	again := false // whether a request that may have taken effect may be sent again
	switch given := call.Parameters.(type) {
	case *notice:
		if given.Notice == nil && given.Subject == "" && given.Text == "" {
			return refused("there is nothing to say: no notice, no subject, no text"), nil
		}
		payload.Type, again = "kelpie.notify", true
		payload.Data = told{
			To: call.Target.Value, Subject: given.Subject, Text: given.Text, Notice: given.Notice,
			Attempt: call.Attempt, PossibleRepeat: call.Attempt > 1,
		}
	case *order:
		payload.Type = "kelpie.run"
		payload.Data = ordered{
			Name: given.Name, Target: target{call.Target.Kind, call.Target.Value, call.Target.Known}, Data: given.Data, Attempt: call.Attempt,
		}
	default:
		return refused(fmt.Sprintf("%q is no verb of a webhook", call.Verb)), nil
	}
	body, err := encode(payload)
	switch {
	case err != nil:
		return refused(err.Error()), nil
	case len(body) > maxBody:
		return refused(fmt.Sprintf("the request would have %d bytes, more than %d", len(body), maxBody)), nil
	case call.DryRun:
		return sdk.Result{Outcome: sdk.OutcomeDone, Reference: call.Key, Message: fmt.Sprintf("would post %s, %d bytes, to %s", payload.Type, len(body), w.where())}, nil
	}
	result := w.deliver(ctx, call.Key, body, call.NotAfter, again)
	result.Reference = call.Key
	return result, nil
}

func encode(payload envelope) ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(payload); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

func refused(message string) sdk.Result {
	return sdk.Result{Outcome: sdk.OutcomeRefused, Message: message}
}

// where names the receiver in messages, without a query that may hold a key.
func (w *webhook) where() string { return w.url.Scheme + "://" + w.url.Host + w.url.EscapedPath() }

// sign makes the signature header: one signature for each key.
func sign(keys [][]byte, id string, at time.Time, body []byte) string {
	var header bytes.Buffer
	for i, key := range keys {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(id + "." + strconv.FormatInt(at.Unix(), 10) + "."))
		mac.Write(body)
		if i > 0 {
			header.WriteByte(' ')
		}
		header.WriteString("v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	return header.String()
}

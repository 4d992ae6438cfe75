package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/kelpie-sec/kelpie/sdk"
)

// maxEvents bounds the events of one request.
const maxEvents = 20_000

// events makes events of a body, and counts those that the core will set aside. What is
// no JSON is an event too: its sender would only send it again.
func (i *intake) events(request string, body []byte, lines bool) (events []sdk.Event, aside int, err error) {
	payloads, err := split(body, lines)
	if err != nil {
		return nil, 0, err
	}
	events = make([]sdk.Event, len(payloads))
	for n, raw := range payloads {
		e := sdk.Event{Raw: raw, ID: request + ":" + strconv.Itoa(n)}
		switch {
		case len(raw) > sdk.MaxEvent: // the SDK makes it one that is too large
			aside++
		case raw[0] != '{' || !json.Valid(raw):
			e.Problem = "not a JSON object"
			aside++
		case i.idPath != nil:
			if id := lookup(raw, i.idPath); id != "" {
				e.ID = id
			}
		}
		events[n] = e
	}
	return events, aside, nil
}

// split takes a body apart: one object, the elements of an array, or one a line. The
// first byte decides, if it is not said that it is lines.
func split(body []byte, lines bool) ([][]byte, error) {
	body = bytes.TrimSpace(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")))
	var payloads [][]byte
	var err error
	switch {
	case len(body) == 0:
		return nil, refuse(http.StatusBadRequest, "the body is empty")
	case lines:
		payloads, err = splitLines(body)
	case body[0] == '[':
		if payloads, err = splitArray(body); errors.Is(err, errBroken) {
			return [][]byte{body}, nil
		}
	case json.Valid(body) || !areObjects(body):
		return [][]byte{body}, nil
	default:
		payloads, err = splitLines(body)
	}
	if err == nil && len(payloads) == 0 {
		err = refuse(http.StatusBadRequest, "there is no event in the body")
	}
	return payloads, err
}

func tooMany() *refusal {
	return refuse(http.StatusRequestEntityTooLarge, "the body has more than %d events; send them in several requests", maxEvents)
}

func splitLines(body []byte) (payloads [][]byte, err error) {
	for line := range bytes.Lines(body) {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		if len(payloads) == maxEvents {
			return nil, tooMany()
		}
		payloads = append(payloads, line)
	}
	return payloads, nil
}

// areObjects tells whether there are several lines that look like an object each, which
// some send as application/json.
func areObjects(body []byte) bool {
	n := 0
	for line := range bytes.Lines(body) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		if line[0] != '{' || line[len(line)-1] != '}' {
			return false
		}
		n++
	}
	return n > 1
}

// errBroken means that a body is no JSON array.
var errBroken = errors.New("no JSON array")

// splitArray returns the elements of an array, byte by byte as they are.
func splitArray(body []byte) (payloads [][]byte, err error) {
	decoder := json.NewDecoder(bytes.NewReader(body))
	if _, err := decoder.Token(); err != nil {
		return nil, errBroken
	}
	for decoder.More() {
		var element json.RawMessage
		if decoder.Decode(&element) != nil {
			return nil, errBroken
		}
		if len(payloads) == maxEvents {
			return nil, tooMany()
		}
		payloads = append(payloads, bytes.TrimSpace(element))
	}
	if _, err := decoder.Token(); err != nil || decoder.InputOffset() != int64(len(body)) {
		return nil, errBroken
	}
	return payloads, nil
}

// lookup returns the text or number at a path of names, or nothing.
func lookup(raw []byte, path []string) string {
	for _, name := range path {
		var object map[string]json.RawMessage
		if json.Unmarshal(raw, &object) != nil {
			return ""
		}
		raw = object[name]
	}
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	var number json.Number
	if json.Unmarshal(raw, &number) == nil {
		return number.String()
	}
	return ""
}

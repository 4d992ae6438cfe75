package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/kelpie-sec/kelpie/core/engine"
)

// client talks to the API: over the socket of a running Kelpie, or to one that it
// serves to itself from the data folder.
type client struct {
	transport http.RoundTripper
	close     func() error
}

// How long a command waits for another one that has the data folder for a moment, or
// for a Kelpie that is about to serve its socket.
const (
	busyPatience = 15 * time.Second
	busyInterval = 100 * time.Millisecond
)

// patiently does something again while the data folder is busy, and give is not true.
func patiently(ctx context.Context, give func() bool, do func() error) error {
	deadline := time.Now().Add(busyPatience)
	for {
		err := do()
		if !errors.Is(err, engine.ErrBusy) || give() || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(busyInterval):
		}
	}
}

// answers tells whether a Kelpie serves a data folder's socket.
func answers(dir string) bool {
	c, err := net.DialTimeout("unix", filepath.Join(dir, engine.Socket), time.Second)
	return err == nil && c.Close() == nil
}

// connect finds the running Kelpie of a data folder, or opens the folder.
func (p program) connect(ctx context.Context, o *options) (c *client, err error) {
	k, err := o.kelpie()
	if err != nil {
		return nil, err
	}
	settings := p.dataSettings(o, k)
	never := func() bool { return false }
	err = patiently(ctx, never, func() error { c, err = p.connectTo(ctx, settings); return err })
	return c, err
}

func (p program) connectTo(ctx context.Context, settings engine.Settings) (*client, error) {
	dir := settings.DataDir
	socket := filepath.Join(dir, engine.Socket)
	c, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", socket)
	if err == nil {
		c.Close()
		t := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		}}
		return &client{transport: engine.WithKey(dir, t), close: func() error { t.CloseIdleConnections(); return nil }}, nil
	}
	if errors.Is(err, os.ErrPermission) {
		return nil, fmt.Errorf("%s: %w; a running kelpie may only be used by its owner", socket, os.ErrPermission)
	}
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return nil, &codeError{exitNothing, "there is no data folder " + dir + "; \"kelpie run\" makes it, and --data or --config name another"}
	}
	settings.Look = true
	offline, err := engine.Open(ctx, settings)
	if err != nil {
		return nil, err
	}
	return &client{transport: handlerTransport{offline.Handler()}, close: offline.Close}, nil
}

// handlerTransport serves requests by calling the handler.
type handlerTransport struct{ handler http.Handler }

func (t handlerTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	if r.Body == nil {
		r.Body = http.NoBody
	}
	t.handler.ServeHTTP(w, r)
	return w.Result(), nil
}

// get reads a path of the API into v.
func (c *client) get(ctx context.Context, path string, query url.Values, v any) error {
	return c.do(ctx, http.MethodGet, path, query, nil, v)
}

func (c *client) post(ctx context.Context, path string, body, v any) error {
	return c.do(ctx, http.MethodPost, path, nil, body, v)
}

func (c *client) do(ctx context.Context, method, path string, query url.Values, body, v any) error {
	res, err := c.send(ctx, method, path, query, body)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	return json.NewDecoder(res.Body).Decode(v)
}

// send gives the answer, whose body must be closed, if it is a good one.
func (c *client) send(ctx context.Context, method, path string, query url.Values, body any) (*http.Response, error) {
	var payload io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		payload = bytes.NewReader(data)
	}
	u := url.URL{Scheme: "http", Host: "kelpie", Path: path, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), payload)
	if err != nil {
		return nil, err
	}
	res, err := c.transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode == http.StatusOK || res.StatusCode == http.StatusUnprocessableEntity {
		return res, nil
	}
	defer res.Body.Close()
	var failure struct {
		Error string `json:"error"`
	}
	if err := json.NewDecoder(res.Body).Decode(&failure); err != nil {
		return nil, fmt.Errorf("%s %s: %s", method, path, res.Status)
	}
	code := exitFailed
	switch res.StatusCode {
	case http.StatusNotFound:
		code = exitNothing
	case http.StatusBadRequest, http.StatusConflict, http.StatusForbidden:
		code = exitUsage
	}
	return nil, &codeError{code, failure.Error}
}

// with connects, does something, and disconnects.
func (p program) with(ctx context.Context, o *options, do func(*client) error) error {
	c, err := p.connect(ctx, o)
	if err != nil {
		return err
	}
	return errors.Join(do(c), c.close())
}

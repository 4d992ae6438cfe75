package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

// connection is what all connectors need to reach Reputation.
type connection struct {
	URL    string   `kelpie:"url,required" doc:"Where Reputation's API is." example:"https://reputation.example.org"`
	Token  string   `kelpie:"token,secret,required" doc:"A token of a service account."`
	CAFile sdk.Path `kelpie:"ca_file" doc:"PEM certificates to trust instead of the system's." example:"/etc/kelpie/ca.pem"`
}

// client is the part that the connectors share.
type client struct {
	connection connection
	http       *http.Client
}

func (c *client) ConfigConnection() any { return &c.connection }

// Validate complains at the attribute that is wrong, beyond its type.
func (c *client) Validate() []sdk.Diagnostic {
	u, err := url.Parse(c.connection.URL)
	if err != nil || u.Host == "" || u.Scheme != "https" && !(u.Scheme == "http" && ownMachine(u.Hostname())) {
		return []sdk.Diagnostic{{
			Path: []string{"url"}, Connection: true, Summary: "url must be an address that begins with https://",
			Detail: "The token must not travel in the clear; http is taken for this machine itself alone.",
		}}
	}
	return nil
}

func ownMachine(host string) bool { return host == "localhost" || host == "127.0.0.1" || host == "::1" }

// Open is called once, when the configuration is known and good.
func (c *client) Open(_ context.Context, _ sdk.Env) (err error) {
	c.http, err = sdk.NewHTTPClient(sdk.HTTPOptions{CAFile: string(c.connection.CAFile), UserAgent: "kelpie-reputation/0.1.0"})
	if err != nil {
		return sdk.Diagnostic{Path: []string{"ca_file"}, Summary: err.Error(), Connection: true}
	}
	return nil
}

// Close is called once, after the last call.
func (c *client) Close() error {
	if c.http != nil {
		c.http.CloseIdleConnections()
	}
	return nil
}

// maxAnswer bounds what is read of an answer.
const maxAnswer = 8 << 20

// call asks Reputation, and says in its errors what the core should make of them: whose
// fault it was, and whether and when to ask again.
func (c *client) call(ctx context.Context, method, path, key string, send, into any) error {
	var body []byte
	if send != nil {
		var err error
		if body, err = json.Marshal(send); err != nil {
			return err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, c.connection.URL+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("X-API-Key", c.connection.Token)
	if send != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return &sdk.Error{Reason: sdk.Retry, Fault: sdk.FaultVendor, Err: fmt.Errorf("reputation does not answer: %w", err)}
	}
	answer, err := sdk.ReadBody(resp, maxAnswer)
	if err != nil {
		return &sdk.Error{Reason: sdk.Retry, Fault: sdk.FaultVendor, Err: fmt.Errorf("reputation's answer: %w", err)}
	}
	if resp.StatusCode/100 != 2 {
		return failed(resp)
	}
	if into == nil { // what it says does not matter
		return nil
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return &sdk.Error{Reason: sdk.Failed, Fault: sdk.FaultVendor, Err: fmt.Errorf("reputation's answer is not as expected: %w", err)}
	}
	return nil
}

// errNotThere is Reputation's answer about what it does not have.
var errNotThere = errors.New("reputation has no such thing")

// failed is what an answer with another status than 2xx means.
func failed(resp *http.Response) error {
	e := &sdk.Error{Fault: sdk.FaultVendor, Err: fmt.Errorf("reputation answers %s", resp.Status)}
	switch resp.StatusCode {
	case http.StatusNotFound:
		e.Err = errNotThere
	case http.StatusUnauthorized, http.StatusForbidden:
		e.Reason = sdk.Denied
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		e.Reason, e.Fault = sdk.Invalid, sdk.FaultInput
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		e.Reason, e.RetryAfter = sdk.Retry, retryAfter(resp.Header.Get("Retry-After"))
	}
	return e
}

// standardWait is for vendors that name no time.
const standardWait = 30 * time.Second

// retryAfter reads seconds or a date (RFC 9110, 10.2.3).
func retryAfter(text string) time.Duration {
	if seconds, err := strconv.Atoi(text); err == nil && seconds >= 0 {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(time.Second, time.Until(at))
	}
	return standardWait
}

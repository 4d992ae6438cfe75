package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

const (
	// attemptTime bounds one request.
	attemptTime = 15 * time.Second
	// answerTime is how long before the end of a call the last request ends, so that
	// the outcome reaches the core.
	answerTime = 500 * time.Millisecond
	firstWait  = 500 * time.Millisecond
	lastWait   = 10 * time.Second
	// maxPause bounds what a receiver can ask for.
	maxPause = time.Hour
	// maxAnswer is how much of an answer is read.
	maxAnswer = 64 << 10
)

// answer is what became of one request.
type answer struct {
	outcome sdk.Outcome
	message string
	// retry: it may pass.
	retry bool
	// after: the receiver wants to be left alone for so long.
	after time.Duration
}

// deliver sends until the receiver has taken the request, or refuses it, or the time
// is over. again tells whether a request may be sent again whose fate is unknown.
func (w *webhook) deliver(ctx context.Context, id string, body []byte, notAfter time.Time, again bool) sdk.Result {
	ctx, cancel := context.WithDeadline(ctx, notAfter.Add(-min(answerTime, time.Until(notAfter)/10)))
	defer cancel()
	if left := w.paused(); left > 0 {
		return sdk.Result{Outcome: sdk.OutcomeFailed, Message: fmt.Sprintf("%s asked to be left alone for another %s; nothing was sent", w.where(), left.Round(time.Second))}
	}
	// Of several requests one that may have been taken decides, whatever came after.
	unknown := ""
	for wait := firstWait; ; wait = min(2*wait, lastWait) {
		got := w.post(ctx, id, body)
		w.pause(got.after)
		if got.outcome == sdk.OutcomeUnknown {
			unknown = got.message
		}
		settled := got.outcome == sdk.OutcomeDone || got.outcome == sdk.OutcomeRefused && unknown == ""
		pause := max(got.after, wait/2+rand.N(wait/2))
		if settled || !got.retry || got.outcome == sdk.OutcomeUnknown && !again || !sleep(ctx, pause) {
			return w.result(got, unknown)
		}
		w.log.Info("sending again", "id", id, "because", got.message)
	}
}

func (w *webhook) result(got answer, unknown string) sdk.Result {
	if got.outcome != sdk.OutcomeDone && unknown != "" {
		got = answer{outcome: sdk.OutcomeUnknown, message: unknown}
	}
	if got.outcome != sdk.OutcomeDone {
		w.log.Warn("not delivered", "to", w.where(), "outcome", got.outcome, "because", got.message)
	}
	return sdk.Result{Outcome: got.outcome, Message: got.message}
}

// sleep returns false if ctx would end before.
func sleep(ctx context.Context, length time.Duration) bool {
	if end, ok := ctx.Deadline(); ok && time.Until(end) <= length {
		return false
	}
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (w *webhook) paused() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Until(w.until)
}

func (w *webhook) pause(length time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if until := time.Now().Add(length); length > 0 && until.After(w.until) {
		w.until = until
	}
}

// post sends one request and judges what came of it.
func (w *webhook) post(ctx context.Context, id string, body []byte) answer {
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	// A request that was not written to its end cannot have been taken: the receiver
	// knows its length.
	var written atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteRequest: func(info httptrace.WroteRequestInfo) { written.Store(info.Err == nil) },
	})
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url.String(), bytes.NewReader(body))
	if err != nil {
		return answer{outcome: sdk.OutcomeRefused, message: err.Error()}
	}
	for name, value := range w.config.Headers {
		request.Header.Set(name, value)
	}
	now := time.Now()
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "kelpie-webhook/"+plugin().Version)
	request.Header.Set("Webhook-Id", id)
	request.Header.Set("Webhook-Timestamp", strconv.FormatInt(now.Unix(), 10))
	request.Header.Set("Webhook-Signature", sign(w.keys, id, now, body))
	if w.config.Authorization != "" {
		request.Header.Set("Authorization", w.config.Authorization)
	}
	response, err := w.client.Do(request)
	if err != nil {
		return w.failed(err, written.Load())
	}
	defer func() { _ = response.Body.Close() }()
	text, _ := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	return judge(w.where(), response, text, now)
}

// failed judges a request without an answer.
func (w *webhook) failed(err error, written bool) answer {
	var wrapped *url.Error
	if errors.As(err, &wrapped) { // which repeats the address with its query
		err = wrapped.Err
	}
	message := sdk.Visible(fmt.Sprintf("%s: %v", w.where(), err))
	var untrusted *tls.CertificateVerificationError
	switch {
	case errors.As(err, &untrusted):
		return answer{outcome: sdk.OutcomeFailed, message: message}
	case errors.Is(err, errForbidden):
		return answer{outcome: sdk.OutcomeRefused, message: message}
	case written:
		return answer{outcome: sdk.OutcomeUnknown, retry: true, message: message + "; the request may have been taken"}
	}
	return answer{outcome: sdk.OutcomeFailed, retry: true, message: message}
}

// judge says what a status means.
func judge(where string, response *http.Response, text []byte, now time.Time) answer {
	status := response.StatusCode
	message := fmt.Sprintf("%s answered %s", where, sdk.Visible(response.Status))
	if status >= 300 && len(text) > 0 {
		message += ": " + sdk.Visible(string(text[:min(len(text), 200)]))
	}
	a := answer{outcome: sdk.OutcomeRefused, message: message}
	switch {
	case status >= 200 && status < 300:
		a.outcome, a.message = sdk.OutcomeDone, message
	case status >= 300 && status < 400:
		a.message += "; redirects are not followed, set url to where it goes"
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable:
		// Said before any work is done.
		a.outcome, a.retry, a.after = sdk.OutcomeFailed, true, retryAfter(response.Header.Get("Retry-After"), now)
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly:
		a.outcome, a.retry = sdk.OutcomeFailed, true
	case status == http.StatusNotImplemented, status == http.StatusHTTPVersionNotSupported:
	case status >= 500:
		// The receiver broke, or who stands before it lost its answer: how far it
		// came nobody knows.
		a.outcome, a.retry, a.after = sdk.OutcomeUnknown, true, retryAfter(response.Header.Get("Retry-After"), now)
	}
	return a
}

// retryAfter reads seconds or a date (RFC 9110, 10.2.3).
func retryAfter(text string, now time.Time) time.Duration {
	length := time.Duration(0)
	if seconds, err := strconv.ParseUint(text, 10, 32); err == nil {
		length = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		length = at.Sub(now)
	}
	return min(max(length, 0), maxPause)
}

// errForbidden: a name stands for an address that it may not stand for.
var errForbidden = errors.New("not allowed")

// newClient makes a client that verifies TLS, follows no redirect, asks no proxy and
// reaches into private networks only where the configuration says so.
func newClient(c *config, u *url.URL) (*http.Client, error) {
	settings := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		pem, err := os.ReadFile(string(c.CAFile))
		if err != nil {
			return nil, err
		}
		settings.RootCAs = x509.NewCertPool()
		if !settings.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no PEM certificate", c.CAFile)
		}
	}
	dialer := &net.Dialer{Timeout: attemptTime, Control: func(_, address string, _ syscall.RawConn) error {
		return allowed(u.Hostname(), address, c.Private)
	}}
	return &http.Client{
		Transport: &http.Transport{
			DialContext: dialer.DialContext, TLSClientConfig: settings, ForceAttemptHTTP2: true,
			TLSHandshakeTimeout: 10 * time.Second, MaxIdleConnsPerHost: 2, IdleConnTimeout: 30 * time.Second,
			MaxResponseHeaderBytes: 64 << 10, DisableCompression: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// allowed looks at the address behind a name, when it is known: who owns the name
// must not choose a machine of ours.
func allowed(host, address string, private bool) error {
	target, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %q is no address", errForbidden, address)
	}
	addr := target.Addr().Unmap()
	if _, err := netip.ParseAddr(host); err == nil {
		return nil // written by the operator
	}
	switch {
	case ownMachine(host) && addr.IsLoopback():
		return nil
	case addr.IsLoopback(), addr.IsLinkLocalUnicast(), addr.IsUnspecified(), addr.IsMulticast():
		return fmt.Errorf("%w: the name %s stands for %s, an address of this machine or its link; write the address itself if that is meant", errForbidden, host, addr)
	case addr.IsPrivate() && !private:
		return fmt.Errorf("%w: the name %s stands for %s, a private address; set private = true if that is meant", errForbidden, host, addr)
	}
	return nil
}

package sdk

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// maxRedirects are followed, to the same host and never from https to http: a header
// with a key in it would go along.
const maxRedirects = 5

// HTTPOptions of NewHTTPClient; the zero value is good.
type HTTPOptions struct {
	// CAFile holds the PEM certificates to trust instead of the system's.
	CAFile string
	// UserAgent of requests that have none.
	UserAgent string
	// Timeout of a whole request with its body; 0: 30 seconds. The context's deadline
	// counts too.
	Timeout time.Duration
}

// NewHTTPClient makes a client that verifies TLS, has time-outs and follows redirects
// only within a host.
func NewHTTPClient(o HTTPOptions) (*http.Client, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	transport.ResponseHeaderTimeout = 30 * time.Second
	transport.MaxResponseHeaderBytes = 1 << 20
	transport.MaxIdleConnsPerHost = 16
	if o.CAFile != "" {
		pem, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, fmt.Errorf("ca_file: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca_file %s holds no PEM certificate", o.CAFile)
		}
		transport.TLSClientConfig.RootCAs = pool
	}
	if o.Timeout <= 0 {
		o.Timeout = 30 * time.Second
	}
	return &http.Client{
		Transport:     &identified{next: transport, agent: o.UserAgent},
		Timeout:       o.Timeout,
		CheckRedirect: withinHost,
	}, nil
}

func withinHost(req *http.Request, via []*http.Request) error {
	before := via[len(via)-1].URL
	switch {
	case len(via) > maxRedirects:
		return errors.New("too many redirects")
	case req.URL.Host != before.Host:
		return fmt.Errorf("it redirects to another host, %s", req.URL.Host)
	case before.Scheme == "https" && req.URL.Scheme != "https":
		return errors.New("it redirects from https to http")
	}
	return nil
}

// identified names the plugin in requests.
type identified struct {
	next  *http.Transport
	agent string
}

func (t *identified) RoundTrip(req *http.Request) (*http.Response, error) {
	if t.agent != "" && req.Header.Get("User-Agent") == "" {
		req = req.Clone(req.Context())
		req.Header.Set("User-Agent", t.agent)
	}
	return t.next.RoundTrip(req)
}

// CloseIdleConnections is what http.Client calls.
func (t *identified) CloseIdleConnections() { t.next.CloseIdleConnections() }

func userAgent(p Plugin) string { return "kelpie-" + p.Name + "/" + p.Version }

// ErrTooLarge is what ReadBody returns for a body above its limit.
var ErrTooLarge = errors.New("the response is too large")

// ReadBody reads a response's body of at most so many bytes and closes it.
func ReadBody(resp *http.Response, limit int64) ([]byte, error) {
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(body)) > limit {
		return nil, ErrTooLarge
	}
	return body, nil
}

package main

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

// config is a detector block.
type config struct {
	Listen   string   `kelpie:"listen" doc:"Address and port to listen on." default:"127.0.0.1:8421"`
	Path     string   `kelpie:"path" doc:"The path that takes events; all others are answered 404." default:"/" example:"/events"`
	Token    string   `kelpie:"token,secret" doc:"What senders give as bearer token, of at least 16 characters. It is needed, unless insecure is set."`
	Insecure bool     `kelpie:"insecure" doc:"Take requests without a token. That is for a loopback address alone: every program of this machine can then report events." default:"false"`
	CertFile sdk.Path `kelpie:"cert_file" doc:"PEM certificate, followed by those between it and the root. With it the port speaks TLS alone. It is read again when it changes." example:"/etc/kelpie/tls/cert.pem"`
	KeyFile  sdk.Path `kelpie:"key_file" doc:"PEM key of the certificate." example:"/etc/kelpie/tls/key.pem"`

	IDField     string        `kelpie:"id_field" doc:"The source's own id of an event: names separated by dots. Without it, or where an event has none, the id is the request's with the event's number." example:"alert.id"`
	MaxBody     int64         `kelpie:"max_body" doc:"Largest body, in bytes, before and after it is decompressed." default:"8388608"`
	MaxRequests int           `kelpie:"max_requests" doc:"How many requests may be under way at once; further ones are asked to come again." default:"256"`
	Wait        time.Duration `kelpie:"wait" doc:"How long a request waits for the log before its sender is asked to come again." default:"10s"`
}

const (
	minToken   = 16
	minBody    = 1 << 10
	maxMaxBody = 256 << 20
)

// Validate complains about what no schema can say.
func (i *intake) Validate() []sdk.Diagnostic {
	var wrong []sdk.Diagnostic
	complain := func(name, summary, detail string) {
		wrong = append(wrong, sdk.Diagnostic{Path: []string{name}, Summary: summary, Detail: detail})
	}
	c := &i.config
	local, err := isLoopback(c.Listen)
	if err != nil {
		complain("listen", "this is no address to listen on", err.Error()+`. Write listen = "127.0.0.1:8421", or ":8421" for all addresses of this machine.`)
	}
	if !strings.HasPrefix(c.Path, "/") || path.Clean(c.Path) != c.Path && path.Clean(c.Path)+"/" != c.Path || strings.ContainsAny(c.Path, "?#%{} ") {
		complain("path", "this is no path of a URL", `Write path = "/events".`)
	}
	switch {
	case c.Token == "" && !c.Insecure:
		complain("token", "a token is missing", `Write token = secret("http-token"). On a loopback address, insecure = true takes requests without one.`)
	case c.Token != "" && c.Insecure:
		complain("insecure", "a token is given, and insecure does without", "Leave one of them out.")
	case c.Insecure && err == nil && !local:
		complain("insecure", "without a token everybody who reaches this address could report events", `Give a token, or listen on "127.0.0.1:8421".`)
	case c.Token != "" && (len(c.Token) < minToken || strings.ContainsFunc(c.Token, func(r rune) bool { return r <= ' ' || r > '~' })):
		complain("token", "the token is too short, or cannot be sent in a header", "Take at least 16 letters and digits, such as `openssl rand -hex 24` gives.")
	}
	switch {
	case c.CertFile != "" && c.KeyFile == "":
		complain("key_file", "the certificate's key is missing", "cert_file and key_file go together.")
	case c.CertFile == "" && c.KeyFile != "":
		complain("cert_file", "the key's certificate is missing", "cert_file and key_file go together.")
	case c.CertFile == "" && err == nil && !local:
		wrong = append(wrong, sdk.Diagnostic{
			Path: []string{"listen"}, Warning: true, Summary: "token and events cross the network unencrypted",
			Detail: "Give cert_file and key_file, or listen on a loopback address behind a proxy that speaks TLS.",
		})
	}
	if c.MaxBody < minBody || c.MaxBody > maxMaxBody {
		complain("max_body", "max_body must be from 1 KiB to 256 MiB", "Write max_body = 8388608.")
	}
	if c.MaxRequests < 1 || c.MaxRequests > 10000 {
		complain("max_requests", "max_requests must be from 1 to 10000", "")
	}
	if c.Wait < time.Second || c.Wait > 5*time.Minute {
		complain("wait", "wait must be from 1s to 5m", "")
	}
	if c.IDField != "" && slices.Contains(strings.Split(c.IDField, "."), "") {
		complain("id_field", "id_field is no path", "Write names separated by dots, such as alert.id.")
	}
	return wrong
}

// isLoopback tells whether only this machine reaches an address.
func isLoopback(listen string) (bool, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return false, err
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil {
		return false, errors.New(strconv.Quote(port) + " is no port")
	} else if n == 0 && host == "" {
		return false, errors.New("there is neither an address nor a port")
	}
	if host == "" || host == "localhost" {
		return host != "", nil
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return false, errors.New(strconv.Quote(host) + " is no IP address")
	}
	return ip.Unmap().IsLoopback(), nil
}

// tlsConfig returns nil where no TLS is spoken.
func (c *config) tlsConfig() (*tls.Config, error) {
	if c.CertFile == "" {
		return nil, nil
	}
	pair := &certificate{cert: string(c.CertFile), key: string(c.KeyFile)}
	if err := pair.load(time.Now()); err != nil {
		return nil, sdk.Diagnostic{Path: []string{"cert_file"}, Summary: "the certificate cannot be used", Detail: err.Error()}
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: pair.get}, nil
}

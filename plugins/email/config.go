package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"unicode"

	"github.com/kelpie-sec/kelpie/sdk"
)

// config is an action block.
type config struct {
	Server   string   `kelpie:"server,required" doc:"The mail server: smtp:// (STARTTLS, port 587) or smtps:// (TLS from the start, port 465)." example:"smtp://mail.example.org:587"`
	From     string   `kelpie:"from,required" doc:"The sender's address; its domain also stands in each Message-ID." example:"Kelpie <kelpie@example.org>"`
	ReplyTo  string   `kelpie:"reply_to" doc:"Where answers go, if not to the sender." example:"soc@example.org"`
	User     string   `kelpie:"user" doc:"Name to sign in with; a password goes with it." example:"kelpie"`
	Password string   `kelpie:"password,secret" doc:"Password to sign in with."`
	CAFile   sdk.Path `kelpie:"ca_file" doc:"PEM certificates to trust instead of the system's." example:"/etc/kelpie/ca.pem"`
	Insecure bool     `kelpie:"insecure" doc:"Send mails in clear text to a server that offers no TLS. To this machine's own (localhost) that is allowed anyway. A password is never sent so." default:"false"`
	Hello    string   `kelpie:"hello" doc:"Name by which this machine greets the server, if not its own." example:"kelpie.example.org"`
	Prefix   string   `kelpie:"prefix" doc:"What every subject begins with." default:"[Kelpie]"`
}

// parameters of notify.
type parameters struct {
	Notice  any    `kelpie:"notice" doc:"The case; Kelpie fills it."`
	Subject string `kelpie:"subject" doc:"Instead of the case's title." example:"Please look at this machine"`
	Text    string `kelpie:"text" doc:"A paragraph or more before what Kelpie writes of the case." example:"You own the machine named below."`
}

// server is where mails go and how.
type server struct {
	host, port string
	implicit   bool // TLS from the start
	loopback   bool
}

func (s server) address() string { return net.JoinHostPort(s.host, s.port) }

func parseServer(text string) (server, error) {
	u, err := url.Parse(text)
	if err != nil {
		return server{}, errors.New("is no address of a server")
	}
	s := server{host: u.Hostname(), port: u.Port(), implicit: u.Scheme == "smtps"}
	switch {
	case u.Scheme != "smtp" && u.Scheme != "smtps":
		return server{}, errors.New("begins with neither smtp:// nor smtps://")
	case u.User != nil:
		return server{}, errors.New("holds a name or password; they have attributes of their own")
	case s.host == "" || u.RawQuery != "" || u.Fragment != "" || u.Path != "" && u.Path != "/":
		return server{}, errors.New("is not just a host and a port")
	}
	if s.port == "" {
		s.port = "587"
		if s.implicit {
			s.port = "465"
		}
	}
	addr, err := netip.ParseAddr(s.host)
	s.loopback = strings.EqualFold(s.host, "localhost") || err == nil && addr.Unmap().IsLoopback()
	return s, nil
}

// Validate complains about what no schema can say.
func (m *mailer) Validate() []sdk.Diagnostic {
	var wrong []sdk.Diagnostic
	complain := func(path, summary, detail string) {
		wrong = append(wrong, sdk.Diagnostic{Path: []string{path}, Summary: summary, Detail: detail})
	}
	s, err := parseServer(m.config.Server)
	if err != nil {
		complain("server", "server "+err.Error(), `Write server = "smtp://mail.example.org:587".`)
	}
	if _, err := parseAddress(m.config.From); err != nil {
		complain("from", "from is no mail address", err.Error())
	}
	if m.config.ReplyTo != "" {
		if _, err := parseAddress(m.config.ReplyTo); err != nil {
			complain("reply_to", "reply_to is no mail address", err.Error())
		}
	}
	switch {
	case m.config.User != "" && m.config.Password == "":
		complain("user", "user needs a password", `Add password = secret("…").`)
	case m.config.User == "" && m.config.Password != "":
		complain("password", "password needs a user", `Add user = "…".`)
	}
	if m.config.Hello != "" {
		if _, err := sdk.Canonical(sdk.Host, m.config.Hello); err != nil {
			complain("hello", "hello is no name of a host", err.Error())
		}
	}
	if m.config.Insecure && s.implicit {
		complain("insecure", "insecure contradicts smtps://", "Remove one of the two.")
	}
	if strings.ContainsAny(m.config.Prefix, "\r\n") {
		complain("prefix", "prefix must be one line", "")
	}
	return wrong
}

// parseAddress takes one address as people write it. The name is shown only; of the
// address the domain is canonical and the rest as written. What some server on the way
// may take for another address, or for two, is refused.
func parseAddress(text string) (mail.Address, error) {
	address, err := mail.ParseAddress(text)
	if err != nil {
		return mail.Address{}, errors.New("it is not written name@example.org")
	}
	canonical, err := sdk.Canonical(sdk.Email, address.Address)
	if err != nil {
		return mail.Address{}, err
	}
	at := strings.LastIndexByte(address.Address, '@')
	local, domain := address.Address[:at], canonical.Value[strings.LastIndexByte(canonical.Value, '@'):]
	switch {
	case len(local) > 64:
		return mail.Address{}, errors.New("what stands before the @ is longer than 64 bytes")
	case strings.Contains(local, "=?") || strings.ContainsFunc(local, strange) || local != sdk.Visible(local):
		return mail.Address{}, errors.New("what stands before the @ has characters that servers read differently")
	case !isPlain(domain):
		return mail.Address{}, errors.New("its domain is not written in ASCII")
	}
	return mail.Address{Name: displayName(address.Name), Address: local + domain}, nil
}

// strange runes of a mailbox's name need quotes, or were once used to route on (%, !).
func strange(r rune) bool {
	if r < unicode.MaxASCII {
		return strings.IndexByte("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-+=/'&~#$*^{}|`?", byte(r)) < 0
	}
	return !unicode.In(r, unicode.L, unicode.M, unicode.N)
}

// displayName is left out if it could pass for an address, or hides something.
func displayName(name string) string {
	if strings.ContainsAny(name, "@＠﹫<>") || name != sdk.Visible(name) {
		return ""
	}
	return line(name, 60)
}

func (c *config) tls(s server) (*tls.Config, error) {
	settings := &tls.Config{ServerName: s.host, MinVersion: tls.VersionTLS12}
	if c.CAFile == "" {
		return settings, nil
	}
	pem, err := os.ReadFile(string(c.CAFile))
	if err != nil {
		return nil, err
	}
	settings.RootCAs = x509.NewCertPool()
	if !settings.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no PEM certificate", c.CAFile)
	}
	return settings, nil
}

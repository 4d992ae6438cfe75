package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/kelpie-sec/kelpie/sdk"
)

// config is an action block.
type config struct {
	URL            string            `kelpie:"url,required" doc:"Where requests go: https, or http on this machine itself. Redirects are not followed." example:"https://hooks.example.org/kelpie"`
	Secret         string            `kelpie:"secret,required,secret" doc:"Key of the signatures, as Standard Webhooks writes it: whsec_ and 24 to 64 bytes in base64."`
	PreviousSecret string            `kelpie:"previous_secret,secret" doc:"An older key that signs as well, while receivers change theirs."`
	Authorization  string            `kelpie:"authorization,secret" doc:"Value of the Authorization header, such as a bearer token."`
	Headers        map[string]string `kelpie:"headers" doc:"Further headers." example:"{\"X-Tenant\": \"soc\"}"`
	CAFile         sdk.Path          `kelpie:"ca_file" doc:"PEM certificates to trust instead of the system's." example:"/etc/kelpie/ca.pem"`
	Private        bool              `kelpie:"private" doc:"The name in url may stand for an address of a private network. An address that is written in url may be private anyway." default:"false"`
	Insecure       bool              `kelpie:"insecure" doc:"Allow http to other machines. Requests are signed, not encrypted: whoever listens in reads the cases." default:"false"`
}

// notice are the parameters of notify.
type notice struct {
	Notice  any    `kelpie:"notice" doc:"The case; Kelpie fills it."`
	Subject string `kelpie:"subject" doc:"Instead of the case's title." example:"Please look at this machine"`
	Text    string `kelpie:"text" doc:"What else is to be said." example:"You own the machine named below."`
}

// order are the parameters of run.
type order struct {
	Name string `kelpie:"name,required" doc:"What is ordered; the receiver tells orders apart by it." example:"open_ticket"`
	Data any    `kelpie:"data" doc:"What the receiver needs for it." example:"{\"queue\": \"soc\"}"`
}

// reserved headers are the plugin's own.
var reserved = []string{
	"Webhook-Id", "Webhook-Timestamp", "Webhook-Signature", "Authorization", "Content-Type", "Content-Length", "Content-Encoding",
	"Host", "Connection", "Transfer-Encoding", "Te", "Trailer", "Upgrade", "Expect", "User-Agent", "Idempotency-Key", "X-Idempotency-Key",
}

// Validate complains about what no schema can say.
func (w *webhook) Validate() []sdk.Diagnostic {
	var wrong []sdk.Diagnostic
	complain := func(summary, detail string, path ...string) {
		wrong = append(wrong, sdk.Diagnostic{Path: path, Summary: summary, Detail: detail})
	}
	if _, err := parseURL(w.config.URL, w.config.Insecure); err != nil {
		complain("url "+err.Error(), `Write url = "https://hooks.example.org/kelpie".`, "url")
	}
	const write = "Standard Webhooks writes it as whsec_ and 24 to 64 bytes in base64; openssl rand -base64 32 makes one."
	if _, err := parseSecret(w.config.Secret); err != nil {
		complain("secret "+err.Error(), write, "secret")
	}
	if w.config.PreviousSecret != "" {
		if _, err := parseSecret(w.config.PreviousSecret); err != nil {
			complain("previous_secret "+err.Error(), write, "previous_secret")
		}
	}
	if !printable(w.config.Authorization) {
		complain("authorization holds characters that no header may have", "", "authorization")
	}
	for name, value := range w.config.Headers {
		switch {
		case slices.Contains(reserved, http.CanonicalHeaderKey(name)):
			complain(fmt.Sprintf("the header %s is the plugin's own", name), "Remove it.", "headers", name)
		case !token(name) || !printable(value):
			complain(fmt.Sprintf("%q is no header", name), "A name has letters, digits and hyphens, a value printable characters.", "headers", name)
		}
	}
	return wrong
}

// parseURL takes https, and http to this machine itself.
func parseURL(text string, insecure bool) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, errors.New("is no web address")
	case u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "":
		return nil, errors.New("is not of the form https://host/path")
	case u.User != nil:
		return nil, errors.New("holds a name or password; set authorization instead")
	case u.Fragment != "":
		return nil, errors.New("has a fragment (#), which is never sent")
	case u.Scheme == "http" && !insecure && !ownMachine(u.Hostname()):
		return nil, errors.New("is http, by which everybody on the way reads the cases; use https, or set insecure if that must be")
	}
	return u, nil
}

func ownMachine(host string) bool {
	addr, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && addr.Unmap().IsLoopback()
}

// parseSecret never repeats the secret in its error.
func parseSecret(text string) ([]byte, error) {
	encoded, ok := strings.CutPrefix(text, "whsec_")
	if !ok {
		return nil, errors.New("does not begin with whsec_")
	}
	key, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, errors.New("is not base64 after whsec_")
	}
	if len(key) < 24 || len(key) > 64 {
		return nil, fmt.Errorf("has %d bytes, not 24 to 64", len(key))
	}
	return key, nil
}

func token(name string) bool {
	return name != "" && strings.Trim(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}

func printable(value string) bool {
	return !strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' })
}

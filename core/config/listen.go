package config

import (
	"errors"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/kelpie-sec/kelpie/core/web"
)

// tlsBlock is how the listener speaks TLS.
func tlsBlock() blockType {
	path := func(name, doc string) attribute {
		a := text(name, doc)
		a.Type.Kind = "path"
		return a.must()
	}
	return blockType{name: "tls", doc: "The certificate of the listener. Its files are read again when they change.", body: bodyType{attributes: []attribute{
		path("cert", "The certificate in PEM, with those between it and its root behind it. A relative path is below the configuration's folder."),
		path("key", "Its private key in PEM, which the user that runs Kelpie must be able to read, and nobody else should."),
	}}}
}

// listener reads where the answer page is.
func (p *parser) listener(s *section) {
	w := web.Settings{Listen: s.text("listen", ""), PublicURL: strings.TrimSuffix(s.text("public_url", ""), "/")}
	tls := s.one("tls")
	if tls != nil {
		w.Cert, w.Key = tls.text("cert", ""), tls.text("key", "")
		for _, path := range []*string{&w.Cert, &w.Key} {
			if *path != "" {
				*path = p.src.full(*path)
			}
		}
	}
	if s.has("public_url") {
		p.publicURL(s, w.PublicURL)
	}
	if !s.has("listen") {
		if s.has("public_url") {
			p.errorf(s.place("public_url"), "Without effect", "\"public_url\" is where people reach the address of \"listen\". Write that too, such as listen = \"0.0.0.0:8443\".")
		} else if tls != nil {
			p.errorf(tls.header(), "Without effect", "\"tls\" is for the address of \"listen\". Write that too, such as listen = \"0.0.0.0:8443\".")
		}
		return
	}
	if text, ok := literalText(s.expr("listen")); w.Listen == "" && (!ok || text != "") {
		return // what it says makes no sense, and that is complained about already
	}
	local, ok := p.listenAddress(s, w.Listen)
	switch {
	case !ok:
		return
	case !local && tls == nil:
		p.errorf(s.place("listen"), "Not encrypted", "Others reach %s, and who reads a link on its way can answer with it. Write tls { cert = …, key = … }, or, behind a proxy on this machine, an address that only this machine reaches: listen = \"127.0.0.1:8443\".", w.Listen)
	case !s.has("public_url") && local:
		w.PublicURL = "http://" + w.Listen // as people on this machine reach it
		if tls != nil {
			w.PublicURL = "https://" + w.Listen
		}
	case !s.has("public_url"):
		p.errorf(s.place("listen"), "Missing attribute", "People answer by links, and these begin with \"public_url\". Write where people reach this, such as public_url = \"https://kelpie.example.org\".")
	}
	p.config.Web = w
}

// listenAddress reads an address to listen on, and whether it is this machine's alone.
func (p *parser) listenAddress(s *section, text string) (local, ok bool) {
	wrong := func() (bool, bool) {
		p.errorf(s.place("listen"), "Not an address", "Write an IP address of this machine and a port, such as \"0.0.0.0:8443\" or \"127.0.0.1:8443\".")
		return false, false
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return wrong()
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return wrong()
	}
	if host == "localhost" {
		return true, true
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return wrong()
	}
	return addr.Unmap().IsLoopback(), true
}

// publicURL complains about one that no link can begin with.
func (p *parser) publicURL(s *section, text string) {
	u, err := url.Parse(text)
	switch {
	case err != nil, u.Host == "", u.Hostname() == "", u.Scheme != "https" && u.Scheme != "http", u.User != nil:
		p.errorf(s.place("public_url"), "Not an address", "Write where people reach the pages, such as \"https://kelpie.example.org\".")
	case u.Path != "", u.RawQuery != "", u.Fragment != "", strings.ContainsAny(text, "?#"):
		p.errorf(s.place("public_url"), "Not an address", "The pages lie at the top of their host: write it without what follows that, as \"%s://%s\".", u.Scheme, u.Host)
	case u.Scheme == "http" && !localHost(u.Hostname()):
		p.errorf(s.place("public_url"), "Not encrypted", "Who reads a link on its way can answer with it. Write \"https://%s\".", u.Host)
	}
}

func localHost(name string) bool {
	addr, err := netip.ParseAddr(name)
	return name == "localhost" || err == nil && addr.Unmap().IsLoopback()
}

// answering warns of what asks people who have no way to answer but the command line.
func (p *parser) answering() {
	if p.config.Web.Listen != "" || p.config.handsBack() {
		return
	}
	for _, r := range p.each("response") {
		for _, step := range r.of("step") {
			place, asks := step.place("wait"), step.has("wait") && len(step.of("option")) > 0
			if a := step.one("approval"); a != nil {
				place, asks = a.header(), true
			}
			if asks {
				p.warnf(place, "Only the command line can answer", "Without \"listen\" in the kelpie block what is told has no links: people answer by \"kelpie answer\" alone. Write listen and public_url there.")
				return // it is the same for all
			}
		}
	}
}

// handsBack tells whether an action brings answers itself.
func (c *Config) handsBack() bool {
	for _, i := range c.instances {
		if i.connector.Answers {
			return true
		}
	}
	return false
}

// Certified complains about a certificate that can't be used now. It reads its files.
func (c *Config) Certified(now time.Time) Diagnostics {
	if c.Web.Cert == "" || c.kelpie == nil {
		return nil
	}
	tls := c.kelpie.one("tls")
	if tls == nil {
		return nil
	}
	pair, err := web.ReadCertificate(c.Web.Cert, c.Web.Key)
	var wrong *web.CertificateError
	if errors.As(err, &wrong) {
		at := tls.place("cert")
		if wrong.Key {
			at = tls.place("key")
		}
		return Diagnostics{complaint(at, "Certificate can't be used", "%s. The answer page could not be served by it.", sentence(wrong.Error()))}
	}
	if err != nil {
		return Diagnostics{complaint(tls.header(), "Certificate can't be used", "%s.", sentence(err.Error()))}
	}
	var d *hcl.Diagnostic
	switch leaf := pair.Leaf; {
	case now.After(leaf.NotAfter):
		d = complaint(tls.place("cert"), "Expired certificate", "It was good until %s, and browsers warn people of the page. Renew it.", leaf.NotAfter.UTC().Format(time.DateOnly))
	case leaf.VerifyHostname(c.host()) != nil:
		d = complaint(tls.place("cert"), "Certificate of another name", "It is not for %s, which is in \"public_url\", and browsers warn people of the page.", c.host())
	default:
		return nil
	}
	d.Severity = hcl.DiagWarning // a proxy before it may have a better one
	return Diagnostics{d}
}

func (c *Config) host() string {
	u, err := url.Parse(c.Web.PublicURL)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

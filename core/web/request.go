package web

import (
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/kelpie-sec/kelpie/core/link"
)

// tokenOf gives what stands where a token does.
func tokenOf(r *http.Request) (string, bool) {
	token, ok := strings.CutPrefix(r.URL.Path, Path)
	return token, ok && token != "" && len(token) <= link.MaxToken && !strings.Contains(token, "/")
}

// addressOf is who asks. A proxy on this machine says for whom it does; what one elsewhere
// says is not believed.
func addressOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	if addr = addr.Unmap(); addr.IsLoopback() {
		all := r.Header.Values("X-Forwarded-For")
		if len(all) > 0 {
			last := all[len(all)-1]
			last = strings.TrimSpace(last[strings.LastIndexByte(last, ',')+1:])
			if said, err := netip.ParseAddr(last); err == nil {
				addr = said.Unmap()
			}
		}
	}
	return neighbourhood(addr)
}

// neighbourhood of an address: what one party has as a rule.
func neighbourhood(addr netip.Addr) string {
	if addr.Is6() {
		if prefix, err := addr.WithZone("").Prefix(64); err == nil {
			return prefix.String()
		}
	}
	return addr.String()
}

// sameOrigin tells whether a form comes from our own page, as far as browsers say so. The
// token alone lets somebody answer; this is for who has been brought to send it unawares.
func sameOrigin(r *http.Request, public string) bool {
	site := r.Header.Get("Sec-Fetch-Site")
	switch site {
	case "", "same-origin", "none":
	default:
		return false
	}
	origin := r.Header.Get("Origin")
	switch origin {
	case "":
		return true
	case "null": // which is what a page says that is to tell nobody where it lies
		return site != "none"
	}
	want, err := url.Parse(public)
	got, gotErr := url.Parse(origin)
	return err == nil && gotErr == nil && strings.EqualFold(got.Scheme, want.Scheme) && withPort(got) == withPort(want)
}

func withPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[strings.ToLower(u.Scheme)]
	}
	return net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

// form reads the fields of a form.
func form(w http.ResponseWriter, r *http.Request) (url.Values, bool) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" {
		return nil, false
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		return nil, false
	}
	return r.PostForm, true
}

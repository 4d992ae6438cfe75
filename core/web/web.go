// Package web is the pages that people open from outside: for now the one where a person
// answers what a message has asked them. Its link is all that it takes, so it shows and
// does only what that link is for. A GET shows and a POST does: what only looks at links,
// such as a mail scanner, changes nothing.
package web

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/kelpie-sec/kelpie/core/link"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

// Settings of the listener.
type Settings struct {
	// Listen is its address, "0.0.0.0:8443"; empty: there is none.
	Listen string
	// PublicURL is where people reach it, "https://kelpie.example.org", without a path.
	PublicURL string
	// Cert and Key are files in PEM; empty: it speaks plain HTTP.
	Cert, Key string
}

// ErrNone means that there is no such question, or intent.
var ErrNone = errors.New("there is none")

// Questions are what the page shows, and how it answers. They are safe for concurrent use.
type Questions interface {
	// Question as it is now; ErrNone: there is none.
	Question(ctx context.Context, id string) (model.Question, error)
	// Told is what an intent tells its reader, without links; ErrNone: there is nothing.
	Told(ctx context.Context, intent string) (sdk.Notice, error)
	// Gathered are the ids of what an intent asks that tells of several questions at
	// once, in the order in which it does; ErrNone: there is no such intent.
	Gathered(ctx context.Context, intent string) ([]string, error)
	// Choose gives decide a choice and waits until it is decided. That decide would not
	// have it is no error: the question shows what became of it.
	Choose(ctx context.Context, c model.Command) error
}

// Page answers requests for the answer page. It is safe for concurrent use.
type Page struct {
	Questions Questions
	Key       *link.Key
	// Origin is where people reach it now, as Settings.PublicURL.
	Origin func() string
	Logger *slog.Logger
	Now    func() time.Time

	addresses, tokens buckets
}

// Path is where the page lies, before the token.
const Path = "/a/"

// optionField is the query's name for an option that is chosen beforehand.
const optionField = "option"

// Address of the page of a token.
func Address(publicURL, token string) string { return publicURL + Path + token }

// Chosen is the address of a page with an option chosen beforehand.
func Chosen(page, option string) string {
	return page + "?" + optionField + "=" + url.QueryEscape(option)
}

// Bounds of what is taken.
const (
	maxForm = 16 << 10
	maxNote = 2000 // bytes
	// mostGathered is how many questions one page shows.
	mostGathered = 50
	// bodyTime bounds the reading of a form, and answerTime all of a request.
	answerTime = 40 * time.Second
)

// ServeHTTP serves one request.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header(w.Header())
	ctx, cancel := context.WithTimeout(r.Context(), answerTime)
	defer cancel()
	r = r.WithContext(ctx)
	if !p.addresses.take(addressOf(r), perAddress, p.Now()) {
		p.tell(w, r, tooMany)
		return
	}
	token, ok := tokenOf(r)
	switch {
	case !ok:
		p.tell(w, r, forged)
	case r.Method == http.MethodGet, r.Method == http.MethodHead:
		p.show(w, r, token)
	case r.Method == http.MethodPost:
		p.post(w, r, token)
	default:
		w.Header().Set("Allow", "GET, HEAD, POST")
		p.tell(w, r, wrongMethod)
	}
}

// header says that nothing is to be kept, framed, loaded or told to others.
func header(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Robots-Tag", "noindex, nofollow")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
}

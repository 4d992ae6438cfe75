package web

import (
	"net/http"
)

// outcome is how a request ends that shows no question: a page that tells an outsider
// nothing.
type outcome struct {
	code        int
	title, text string
}

var (
	ok     = outcome{}
	forged = outcome{
		http.StatusNotFound, "This link does not work",
		"It may have been cut off on its way: open it from the message again, whole. If it is an old one, the newest message has one that works.",
	}
	expired = outcome{
		http.StatusGone, "This link has expired",
		"Nothing can be answered by it any more. If you still want to say something, write to your security team.",
	}
	foreign = outcome{
		http.StatusForbidden, "This link is not for this question",
		"You are not asked what it leads to, or not any more. Open the link of the message that you have received yourself.",
	}
	crossSite = outcome{
		http.StatusForbidden, "This answer was not taken",
		"It did not come from the page where it belongs. Open the link of the message again, and answer there.",
	}
	unreadable = outcome{
		http.StatusBadRequest, "This answer was not taken",
		"It could not be read. Open the link of the message again, and answer there.",
	}
	wrongMethod = outcome{http.StatusMethodNotAllowed, "This can't be done here", "Open the link of the message in a browser."}
	tooMany     = outcome{
		http.StatusTooManyRequests, "Too many requests",
		"Wait for a minute, and open the link again.",
	}
	unavailable = outcome{
		http.StatusServiceUnavailable, "This can't be shown now",
		"Try it again in a minute.",
	}
	notTaken = outcome{
		http.StatusServiceUnavailable, "It is not certain yet that your answer was taken",
		"Open the link of the message again in a minute: if it was, the page says so. If not, answer again; nothing happens twice.",
	}
)

// tell shows an outcome.
func (p *Page) tell(w http.ResponseWriter, r *http.Request, o outcome) {
	if o.code == http.StatusTooManyRequests || o.code == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "60")
	}
	p.write(w, r, o.code, pageView{Title: o.title, Text: o.text})
}

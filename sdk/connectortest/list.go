package connectortest

import (
	"net/http"
	"strconv"
	"sync"
)

// List is what an API gives page by page. The zero value is used with API.List; its
// fields are set before, and say how the vendor calls things.
type List struct {
	// Parameters of a request: from where on, and how many at most.
	After string // "after"
	Limit string // "limit"
	// Fields of an answer: the items, where to go on, and whether there is more.
	Items string // "items"
	Next  string // "next"
	More  string // "more"
	// Size of a page, at most; it is a request's default too. 0: 100.
	Size int

	mu  sync.Mutex
	all []any
}

// Add puts items at the end. Items never move and never go.
func (l *List) Add(items ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, items...)
}

// List answers requests that match a pattern with pages of a list. Where to go on is a
// text of the vendor's, empty at the beginning; one that is none is answered with 400.
func (a *API) List(pattern string, l *List) { a.Handle(pattern, l.serve) }

func (l *List) serve(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	from, size := 0, orInt(l.Size, 100)
	if text := query.Get(or(l.After, "after")); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			http.Error(w, `{"error": "no such place"}`, http.StatusBadRequest)
			return
		}
		from = n
	}
	if n, err := strconv.Atoi(query.Get(or(l.Limit, "limit"))); err == nil && n > 0 {
		size = min(size, n)
	}
	l.mu.Lock()
	from = min(from, len(l.all))
	to := min(from+size, len(l.all))
	page, more := append([]any{}, l.all[from:to]...), to < len(l.all)
	l.mu.Unlock()
	WriteJSON(w, map[string]any{
		or(l.Items, "items"): page,
		or(l.Next, "next"):   strconv.Itoa(to),
		or(l.More, "more"):   more,
	})
}

func or(text, standard string) string {
	if text == "" {
		return standard
	}
	return text
}

func orInt(n, standard int) int {
	if n <= 0 {
		return standard
	}
	return n
}

package connectortest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"time"
)

// Fault is something that goes wrong with one request; next would have answered it.
type Fault func(w http.ResponseWriter, r *http.Request, next http.Handler)

// Status answers with a status and an error, and does nothing.
func Status(status int) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		http.Error(w, fmt.Sprintf(`{"error": %q}`, http.StatusText(status)), status)
	}
}

// RetryAfter answers with 429 and says when to come again.
func RetryAfter(d time.Duration) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Retry-After", strconv.Itoa(int(d.Seconds())))
		http.Error(w, `{"error": "too many requests"}`, http.StatusTooManyRequests)
	}
}

// Slow answers after a time, unless who asked has gone by then.
func Slow(d time.Duration) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
			next.ServeHTTP(w, r)
		case <-r.Context().Done():
			cut(w)
		}
	}
}

// Hang never answers.
func Hang() Fault {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		<-r.Context().Done()
		cut(w)
	}
}

// Cut closes the connection, and does nothing.
func Cut() Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { cut(w) }
}

// Lost does what was asked and closes the connection instead of answering: what an
// action did is not known to who asked for it.
func Lost() Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(httptest.NewRecorder(), r)
		cut(w)
	}
}

// Half answers with the first half of the body, and closes the connection.
func Half() Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		whole := httptest.NewRecorder()
		next.ServeHTTP(whole, r)
		for name, values := range whole.Header() {
			w.Header()[name] = values
		}
		w.Header().Set("Content-Length", strconv.Itoa(whole.Body.Len()))
		w.WriteHeader(whole.Code)
		_, _ = w.Write(whole.Body.Bytes()[:whole.Body.Len()/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

// Page answers with a web page, as a proxy or a login does, and with 200.
func Page() Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<html><body>Please sign in.</body></html>"))
	}
}

// Body answers with a text of one's own, and with 200: JSON of odd types, say.
func Body(text string) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(text))
	}
}

// cut closes the connection after the first line of the answer: where not a byte has come
// back, net/http asks again by itself what it takes for safe, a request with an
// Idempotency-Key among it.
func cut(w http.ResponseWriter) {
	if a, ok := w.(*answer); ok {
		a.status = 0
	}
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	_, _ = conn.Write([]byte("HTTP/1.1 200 OK\r\n"))
	_ = conn.Close()
}

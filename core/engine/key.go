package engine

import (
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// Key is the file in the data folder that who asks a running Kelpie must be able to read.
// The socket alone would let in plugins, which run under the same account: the kernel
// keeps them from files, and not from sockets.
const Key = "kelpie.key"

// KeyOf gives the key of the Kelpie that runs on a data folder.
func KeyOf(dir string) (string, error) {
	text, err := os.ReadFile(filepath.Join(dir, Key))
	return strings.TrimSpace(string(text)), err
}

// newKey writes another key into the data folder.
func (k *Kelpie) newKey() (key string, err error) {
	path := k.path(Key)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	key = rand.Text()
	_, err = fmt.Fprintln(f, key)
	return key, errors.Join(err, f.Close())
}

// keyed answers who has the key. What it measures, Kelpie tells everybody who reaches the
// socket: programs that collect that know no keys.
func keyed(key string, next http.Handler) http.Handler {
	want := []byte("Bearer " + key)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/metrics" && subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), want) != 1 {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprintf(w, "{\"error\": \"the key is missing: it is in the file %s of the data folder\"}\n", Key)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// WithKey shows a key with each request.
func WithKey(dir string, next http.RoundTripper) http.RoundTripper { return keyring{dir, next} }

type keyring struct {
	dir  string
	next http.RoundTripper
}

func (k keyring) RoundTrip(r *http.Request) (*http.Response, error) {
	key, err := KeyOf(k.dir)
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+key)
	return k.next.RoundTrip(r)
}

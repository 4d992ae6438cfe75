package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	maxBody = 1 << 20
	// tolerance of timestamps: older ones may be recorded and sent again.
	tolerance = 5 * time.Minute
)

// sink takes signed requests.
type sink struct {
	key     []byte
	journal *journal
	now     func() time.Time
}

// ServeHTTP answers 2xx only when the request is on the disk.
func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		http.Error(w, "only POST", http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, "the body cannot be read", http.StatusBadRequest)
		return
	}
	id := r.Header.Get("Webhook-Id")
	if err := s.verify(id, r.Header.Get("Webhook-Timestamp"), r.Header.Get("Webhook-Signature"), body); err != nil {
		http.Error(w, err.Error(), http.StatusUnauthorized)
		return
	}
	if !json.Valid(body) {
		http.Error(w, "the body is not JSON", http.StatusBadRequest)
		return
	}
	if err := s.journal.append(id, s.now(), body); err != nil {
		http.Error(w, "it cannot be kept", http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// verify checks the signature over id, timestamp and body; each of several signatures
// may be the one.
func (s *sink) verify(id, timestamp, signatures string, body []byte) error {
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if id == "" || len(id) > 256 || err != nil || signatures == "" {
		return errors.New("webhook-id, webhook-timestamp or webhook-signature is missing")
	}
	if s.now().Sub(time.Unix(seconds, 0)).Abs() > tolerance {
		return fmt.Errorf("the timestamp is not within %s of now", tolerance)
	}
	mac := hmac.New(sha256.New, s.key)
	_, _ = io.WriteString(mac, id+"."+timestamp+".")
	mac.Write(body)
	want := mac.Sum(nil)
	for signature := range strings.FieldsSeq(signatures) {
		encoded, ok := strings.CutPrefix(signature, "v1,")
		got, err := base64.StdEncoding.DecodeString(encoded)
		if ok && err == nil && hmac.Equal(got, want) {
			return nil
		}
	}
	return errors.New("the signature is wrong")
}

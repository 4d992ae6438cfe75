// Package link makes and reads the tokens of the links by which people answer. A token is
// for one person and one question, or for all that one message asks, and ends by itself.
// Who has it may answer as that person: nothing keeps it but its reader.
package link

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Errors of Read.
var (
	// ErrForged: nobody who has the key made it, or the key was renewed since.
	ErrForged = errors.New("the link is not one of ours")
	// ErrExpired: it was one of ours, and its time is over. The Claim is given with it.
	ErrExpired = errors.New("the link has expired")
)

// Kind is what a token is for.
type Kind byte

// The kinds.
const (
	Question Kind = 'q' // one question
	Digest   Kind = 'd' // the questions that an intent tells of, all at once
)

// Claim is what a token says.
type Claim struct {
	Kind Kind
	// ID of the question or of the intent.
	ID string
	// Address of who may answer, as the question has it.
	Address string
	// Options are those that were offered; see Hash. Zero in a digest.
	Options Options
	// Expires in whole seconds.
	Expires time.Time
}

// Options stands for the names of a question's options.
type Options [16]byte

// Hash makes one of the names, in their order.
func Hash(names []string) Options {
	h := sha256.New()
	for _, name := range names {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(name)))
		h.Write(length[:])
		h.Write([]byte(name))
	}
	var o Options
	copy(o[:], h.Sum(nil))
	return o
}

// Bounds of a token.
const (
	maxID      = 64
	maxAddress = 512
	// MaxToken is the most that a token has, in bytes of text.
	MaxToken = (fixed + maxID + maxAddress + sha256.Size + 2) / 3 * 4
	// fixed: version, kind, expiry, options, the length of the id.
	fixed = 1 + 1 + 8 + 16 + 1
	// version of the form; another one is not read.
	version = 1
	// purpose keeps what is signed here from being anything else under the same key.
	purpose = "kelpie answer link\x00"
)

// Key signs. It is safe for concurrent use.
type Key struct{ secret [KeySize]byte }

// KeySize is how many random bytes a key has.
const KeySize = 32

// encoding is strict: a token has one spelling.
var encoding = base64.RawURLEncoding.Strict()

// Sign makes the token of a claim.
func (k *Key) Sign(c Claim) (string, error) {
	switch {
	case c.Kind != Question && c.Kind != Digest:
		return "", fmt.Errorf("a link is for a question or a digest, not %q", c.Kind)
	case c.ID == "" || len(c.ID) > maxID:
		return "", fmt.Errorf("a link's id has 1 to %d bytes, not %d", maxID, len(c.ID))
	case c.Address == "" || len(c.Address) > maxAddress:
		return "", fmt.Errorf("a link's address has 1 to %d bytes, not %d", maxAddress, len(c.Address))
	}
	text := make([]byte, 0, fixed+len(c.ID)+len(c.Address)+sha256.Size)
	text = append(text, version, byte(c.Kind))
	text = binary.BigEndian.AppendUint64(text, uint64(c.Expires.Unix()))
	text = append(text, c.Options[:]...)
	text = append(append(text, byte(len(c.ID))), c.ID...)
	text = append(text, c.Address...)
	return encoding.EncodeToString(append(text, k.mac(text)...)), nil
}

// Read gives what a token says if it is one of ours. Of one that has expired it says so,
// and what it was for.
func (k *Key) Read(token string, now time.Time) (Claim, error) {
	if len(token) > MaxToken || strings.ContainsAny(token, "\r\n") { // which base64 skips
		return Claim{}, ErrForged
	}
	raw, err := encoding.DecodeString(token)
	if err != nil || len(raw) < fixed+sha256.Size {
		return Claim{}, ErrForged
	}
	text, sum := raw[:len(raw)-sha256.Size], raw[len(raw)-sha256.Size:]
	if !hmac.Equal(sum, k.mac(text)) { // in a time that tells nothing
		return Claim{}, ErrForged
	}
	if text[0] != version {
		return Claim{}, ErrForged
	}
	c := Claim{Kind: Kind(text[1]), Expires: time.Unix(int64(binary.BigEndian.Uint64(text[2:])), 0)}
	copy(c.Options[:], text[10:])
	length := int(text[fixed-1])
	if len(text) <= fixed+length || length == 0 || c.Kind != Question && c.Kind != Digest {
		return Claim{}, ErrForged
	}
	c.ID, c.Address = string(text[fixed:fixed+length]), string(text[fixed+length:])
	if !now.Before(c.Expires) {
		return c, ErrExpired
	}
	return c, nil
}

func (k *Key) mac(text []byte) []byte {
	h := hmac.New(sha256.New, k.secret[:])
	h.Write([]byte(purpose))
	h.Write(text)
	return h.Sum(nil)
}

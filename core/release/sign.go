package release

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"

	"aead.dev/minisign"
)

// Key is a publisher's public key, as minisign has it.
type Key struct{ public minisign.PublicKey }

// ParseKey reads the line of a public key that begins with "RW".
func ParseKey(text string) (Key, error) {
	var k Key
	if !strings.HasPrefix(text, "RW") || strings.ContainsAny(text, " \r\n") {
		return k, errors.New(`a public key of minisign is one word that begins with "RW"`)
	}
	if err := k.public.UnmarshalText([]byte(text)); err != nil {
		return k, errors.New("that is no public key of minisign; it has 56 letters")
	}
	return k, nil
}

// String is the key's one line.
func (k Key) String() string { return k.public.String() }

// ID is what tools show of a key. Nothing keeps two keys from having the same.
func (k Key) ID() string { return fmt.Sprintf("%016X", k.public.ID()) }

// File is the text of a file with the key, as minisign writes it.
func (k Key) File() ([]byte, error) {
	text, err := k.public.MarshalText()
	return append(text, '\n'), err
}

// Signer signs releases.
type Signer struct{ private minisign.PrivateKey }

// NewSigner makes a key pair.
func NewSigner() (Signer, error) {
	_, private, err := minisign.GenerateKey(rand.Reader)
	return Signer{private}, err
}

// ReadSigner reads a secret key, as minisign or NewSigner's File has written it. The
// password is asked for if there is one.
func ReadSigner(text []byte, password func() (string, error)) (Signer, error) {
	var s Signer
	if !minisign.IsEncrypted(text) {
		if err := s.private.UnmarshalText(text); err != nil {
			return s, errors.New("that is no secret key of minisign")
		}
		return s, nil
	}
	word, err := password()
	if err != nil {
		return s, err
	}
	if s.private, err = minisign.DecryptKey(word, text); err != nil {
		return s, errors.New("the password does not open this key")
	}
	return s, nil
}

// File is the text of a file with the secret key; an empty password leaves it open to
// whoever can read that.
func (s Signer) File(password string) ([]byte, error) {
	if password == "" {
		text, err := s.private.MarshalText()
		return append(text, '\n'), err
	}
	text, err := minisign.EncryptKey(password, s.private)
	return append(text, '\n'), err
}

// Key is the public key that goes with it.
func (s Signer) Key() Key { return Key{s.private.Public().(minisign.PublicKey)} }

// trustedComment stands in a signature, and is signed with it, so that one release's
// sums do not pass for another's.
func trustedComment(name, version string) string {
	return "kelpie plugin " + name + " version " + version
}

func (s Signer) sign(name, version string, sums []byte) []byte {
	r := minisign.NewReader(bytes.NewReader(sums))
	_, _ = io.Copy(io.Discard, r) // reads from memory
	return r.SignWithComments(s.private, trustedComment(name, version), "signature by key "+s.Key().ID())
}

// verify tells whether the key has signed these sums of this release.
func (k Key) verify(name, version string, sums, signature []byte) error {
	var s minisign.Signature
	if err := s.UnmarshalText(signature); err != nil {
		return errors.New("it is no signature of minisign")
	}
	if s.KeyID != k.public.ID() {
		return fmt.Errorf("it is by the key %016X, and not by %s", s.KeyID, k.ID())
	}
	if !minisign.Verify(k.public, sums, signature) {
		return errors.New("it does not fit: the checksums were changed, or somebody else has signed them")
	}
	if want := trustedComment(name, version); s.TrustedComment != want {
		return fmt.Errorf("it is of something else: it says %q, and must say %q", s.TrustedComment, want)
	}
	return nil
}

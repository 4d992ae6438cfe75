package web

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"
)

// MaxPEM bounds the files of a certificate.
const MaxPEM = 1 << 20

// lookAgain is how often at most it is looked whether a certificate's files are others.
const lookAgain = 2 * time.Second

// CertificateError is why a certificate can't be used. File is the one to look at.
type CertificateError struct {
	File string
	Key  bool // it is the key's
	Err  error
}

func (e *CertificateError) Error() string { return e.Err.Error() }

func (e *CertificateError) Unwrap() error { return e.Err }

// ReadCertificate reads a certificate and its key.
func ReadCertificate(cert, key string) (*tls.Certificate, error) {
	certText, err := readPEM(cert)
	if err != nil {
		return nil, &CertificateError{File: cert, Err: err}
	}
	keyText, err := readPEM(key)
	if err != nil {
		return nil, &CertificateError{File: key, Key: true, Err: err}
	}
	pair, err := tls.X509KeyPair(certText, keyText)
	if err != nil { // tls says of which of the two, and nothing of what is in the key
		return nil, &CertificateError{File: cert, Err: fmt.Errorf("%s and %s are no certificate and its key: %w", cert, key, err)}
	}
	return &pair, nil
}

func readPEM(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("there is no %s", path)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%s may not be read by this user", path)
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no file", path)
	case info.Size() > MaxPEM:
		return nil, fmt.Errorf("%s is larger than %d KiB", path, MaxPEM>>10)
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("%s may not be read by this user", path)
	}
	return text, err
}

// certificate is what is shown to who connects: read again when its files have changed. It
// is safe for concurrent use.
type certificate struct {
	cert, key string
	now       func() time.Time

	mu      sync.Mutex
	pair    *tls.Certificate
	looked  time.Time
	read    [2]version
	problem error // why the files of now are not used
}

// version of a file.
type version struct {
	at   time.Time
	size int64
}

func versions(paths ...string) (all [2]version) {
	for i, path := range paths {
		if info, err := os.Stat(path); err == nil {
			all[i] = version{info.ModTime(), info.Size()}
		}
	}
	return all
}

func newCertificate(cert, key string, now func() time.Time) (*certificate, error) {
	c := &certificate{cert: cert, key: key, now: now, read: versions(cert, key), looked: now()}
	var err error
	c.pair, err = ReadCertificate(cert, key)
	return c, err
}

// get gives the certificate of now. While its files make no sense, such as when one of them
// is not written yet, the one before is good.
func (c *certificate) get() (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if passed := now.Sub(c.looked); passed >= 0 && passed < lookAgain {
		return c.pair, c.problem
	}
	c.looked = now
	is := versions(c.cert, c.key)
	if is == c.read && c.problem == nil {
		return c.pair, nil
	}
	pair, err := ReadCertificate(c.cert, c.key)
	if c.problem = err; err == nil {
		c.pair, c.read = pair, is
	}
	return c.pair, c.problem
}

package release

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Source is where releases are.
type Source struct {
	// Where it is, as a person has written it.
	Where string

	open open
	// patience bounds the time for a small file, and for an archive.
	patience, long time.Duration
}

// open gives a file by its name. One that is not there is fs.ErrNotExist.
type open func(ctx context.Context, name string) (io.ReadCloser, error)

// OpenSource finds a folder, relative to dir, or the address of one. It reads nothing
// yet.
func OpenSource(where, dir string) (*Source, error) {
	s := &Source{Where: where, patience: time.Minute, long: 15 * time.Minute}
	if strings.Contains(where, "://") {
		u, err := parseURL(where)
		s.open = web(u)
		return s, err
	}
	if where == "" {
		return nil, errors.New("it is empty")
	}
	if !filepath.IsAbs(where) {
		where = filepath.Join(dir, where)
	}
	s.open = folder(where)
	return s, nil
}

func folder(dir string) open {
	return func(_ context.Context, name string) (io.ReadCloser, error) {
		// It may be a FIFO, which must not block who looks.
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDONLY|syscall.O_NONBLOCK, 0)
		if err != nil {
			return nil, err
		}
		if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
			f.Close()
			return nil, errors.Join(err, errors.New("it is not a regular file"))
		}
		return f, nil
	}
}

// parseURL reads the address of an index.
func parseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "":
		return nil, errors.New("it is no address such as https://plugins.example.org/kelpie")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("it may hold no user, password, \"?\" or \"#\"")
	}
	u.Path = strings.TrimSuffix(u.Path, "/"+IndexName)
	return u, safeURL(u)
}

// safeURL refuses what anybody on the way could change, or read along.
func safeURL(u *url.URL) error {
	if u.Scheme == "https" || u.Scheme == "http" && loopback(u.Hostname()) {
		return nil
	}
	return errors.New("it must begin with https://; http:// is for this machine alone")
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

const (
	maxRedirects = 5
	// answerPatience bounds the time until a server begins to answer.
	answerPatience = 30 * time.Second
)

func web(at *url.URL) open {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = answerPatience
	transport.MaxResponseHeaderBytes = 64 << 10
	transport.DisableKeepAlives = true // nothing is left running
	transport.DisableCompression = true
	client := &http.Client{Transport: transport, CheckRedirect: func(next *http.Request, before []*http.Request) error {
		switch {
		case len(before) > maxRedirects:
			return errors.New("it leads elsewhere again and again")
		case next.URL.Scheme != at.Scheme:
			return fmt.Errorf("it leads from %s to %s, which is not followed", at.Scheme, next.URL.Scheme)
		}
		return safeURL(next.URL)
	}}
	return func(ctx context.Context, name string) (io.ReadCloser, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, at.JoinPath(name).String(), nil)
		if err != nil {
			return nil, err
		}
		answer, err := client.Do(request)
		if err != nil {
			var failed *url.Error
			if errors.As(err, &failed) {
				err = failed.Err // the address is said by the caller
			}
			return nil, err
		}
		switch answer.StatusCode {
		case http.StatusOK:
			return answer.Body, nil
		case http.StatusNotFound, http.StatusGone:
			err = fs.ErrNotExist
		default:
			err = fmt.Errorf("the server answers %s", answer.Status)
		}
		answer.Body.Close()
		return nil, err
	}
}

// FileError is a file of a source that cannot be had, or is not what it should be.
type FileError struct {
	Where string // the source
	Name  string
	Err   error // fs.ErrNotExist: there is none
}

func (e *FileError) Error() string {
	why := e.Err.Error()
	switch {
	case errors.Is(e.Err, fs.ErrNotExist):
		why = "there is no such file"
	case errors.Is(e.Err, context.DeadlineExceeded):
		why = "it did not come in time"
	case errors.Is(e.Err, io.ErrUnexpectedEOF):
		why = "it ended too early"
	}
	return fmt.Sprintf("%s/%s: %s", strings.TrimSuffix(e.Where, "/"), e.Name, why)
}

func (e *FileError) Unwrap() error { return e.Err }

func (s *Source) wrong(name string, err error) error {
	return &FileError{Where: s.Where, Name: name, Err: err}
}

// read gives a small file.
func (s *Source) read(ctx context.Context, name string, most int64) ([]byte, error) {
	var b bytes.Buffer
	err := s.copy(ctx, &b, name, most, s.patience)
	return b.Bytes(), err
}

// copy fetches a file of at most so many bytes.
func (s *Source) copy(ctx context.Context, w io.Writer, name string, most int64, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	in, err := s.open(ctx, name)
	if err != nil {
		return s.wrong(name, err)
	}
	defer in.Close()
	n, err := io.Copy(w, io.LimitReader(in, most+1))
	switch {
	case ctx.Err() != nil:
		return s.wrong(name, ctx.Err())
	case err != nil:
		return s.wrong(name, err)
	case n > most:
		return s.wrong(name, fmt.Errorf("it has more than the %d bytes that it may have", most))
	}
	return nil
}

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/mail"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
)

// maxMail is the largest mail taken, in bytes.
const maxMail = 16 << 20

// serve takes mails until ctx ends. For each it prints its recipients, its Message-ID
// and how often that has come since the start.
func serve(ctx context.Context, listener net.Listener, settings *tls.Config, box *maildir, out io.Writer) error {
	s := &sink{box: box, out: out, seen: map[string]int{}}
	server := smtp.NewServer(s)
	server.Domain = "localhost"
	server.TLSConfig = settings
	server.MaxMessageBytes = maxMail
	server.MaxRecipients = 100
	server.ReadTimeout = time.Minute
	server.WriteTimeout = time.Minute
	ended := make(chan struct{})
	var closing sync.WaitGroup
	closing.Go(func() {
		select {
		case <-ctx.Done():
			_ = server.Close()
			_ = listener.Close() // unknown to a server that is closed before it serves
		case <-ended:
		}
	})
	err := server.Serve(listener)
	close(ended)
	closing.Wait()
	if errors.Is(err, smtp.ErrServerClosed) || ctx.Err() != nil {
		return nil
	}
	return err
}

type sink struct {
	box *maildir
	out io.Writer

	mu   sync.Mutex
	seen map[string]int // by Message-ID
}

// NewSession is called for each connection.
func (s *sink) NewSession(*smtp.Conn) (smtp.Session, error) { return &session{sink: s}, nil }

func (s *sink) take(from string, to []string, r io.Reader) error {
	content, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if err := s.box.deliver(from, to, content); err != nil {
		return fmt.Errorf("the mail cannot be kept: %w", err)
	}
	id := messageID(content)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[id]++
	fmt.Fprintf(s.out, "mail %q to %s, number %d\n", id, strings.Join(to, ", "), s.seen[id])
	return nil
}

// messageID of a mail; "" if it has none or is none.
func messageID(content []byte) string {
	message, err := mail.ReadMessage(bytes.NewReader(content))
	if err != nil {
		return ""
	}
	return message.Header.Get("Message-ID")
}

type session struct {
	sink *sink
	from string
	to   []string
}

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	s.from = from
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.to = append(s.to, to)
	return nil
}

func (s *session) Data(r io.Reader) error { return s.sink.take(s.from, s.to, r) }

func (s *session) Reset() { s.from, s.to = "", nil }

func (s *session) Logout() error { return nil }

package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/kelpie-sec/kelpie/sdk"
	"github.com/kelpie-sec/kelpie/sdk/conformance"
	"github.com/kelpie-sec/kelpie/sdk/sdktest"
)

// mailbox is a mail server that can be busy or slow.
type mailbox struct {
	sdktest.Trouble
	mu    sync.Mutex
	mails int
}

func (m *mailbox) NewSession(*smtp.Conn) (smtp.Session, error) { return &delivery{m}, nil }

type delivery struct{ box *mailbox }

func (d *delivery) Mail(string, *smtp.MailOptions) error { return nil }
func (d *delivery) Reset()                               {}
func (d *delivery) Logout() error                        { return nil }
func (d *delivery) AuthMechanisms() []string             { return []string{"PLAIN"} }

func (d *delivery) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, _, password string) error {
		if password != mailPassword {
			return errors.New("wrong password")
		}
		return nil
	}), nil
}

func (d *delivery) Rcpt(string, *smtp.RcptOptions) error {
	if d.box.Limited() {
		return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 7, 1}, Message: "too many mails, come again later"}
	}
	return nil
}

func (d *delivery) Data(r io.Reader) error {
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	d.box.Hold()
	d.box.mu.Lock()
	defer d.box.mu.Unlock()
	d.box.mails++
	return nil
}

func (m *mailbox) state() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return fmt.Sprintf("%d mails", m.mails)
}

// serve starts the server on loopback and returns its address.
func (m *mailbox) serve(t *testing.T) string {
	t.Helper()
	server := smtp.NewServer(m)
	server.Domain, server.AllowInsecureAuth = "mail.example.org", true
	server.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() {
		_ = server.Close()
		_ = listener.Close()
		running.Wait()
	})
	return listener.Addr().String()
}

const mailPassword = "a password of some length"

func TestConformance(t *testing.T) {
	if testing.Short() {
		t.Skip("runs real processes")
	}
	box := &mailbox{}
	sdktest.Conform(t, conformance.Settings{
		Binary: sdktest.Build(t, "."),
		Instances: []conformance.Instance{{
			Name: "action.mail", Kind: sdk.KindAction,
			Config:  map[string]any{"server": "smtp://" + box.serve(t), "from": "kelpie@example.org", "user": "kelpie", "password": mailPassword},
			Secrets: []string{mailPassword},
			Acts: []conformance.Act{{
				Verb: "notify", Target: sdk.Target{Kind: "address", Value: "soc@example.org"},
				Parameters: map[string]any{"subject": "Look", "text": "at ws-17"}, State: box.state,
			}},
			Limit: box.Limit, Stall: box.Stall,
		}},
	})
}

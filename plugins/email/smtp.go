package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/smtp"
	"net/textproto"
	"strings"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

// stage of a conversation: what its failing says about the mail.
type stage int

const (
	// before the server was offered the mail: nothing was sent, and it is worth
	// trying again even if the server says never (a password can be corrected).
	before stage = iota
	// offered: the server may refuse the mail for good.
	offered
	// sent: the end of the mail is on its way; without an answer nobody knows.
	sent
)

// failure is where and why a conversation ended.
type failure struct {
	stage stage
	doing string
	err   error
}

func (f *failure) Error() string { return f.doing + ": " + f.err.Error() }

// result says what a failure means.
func (f *failure) result() sdk.Result {
	message := sdk.Visible(f.Error())
	var answer *textproto.Error
	answered := errors.As(f.err, &answer)
	switch {
	case f.stage == sent && !answered:
		return sdk.Result{Outcome: sdk.OutcomeUnknown, Message: message + "; the mail may have been taken"}
	case f.stage >= offered && answered && answer.Code >= 500 && !wantsSigningIn(answer.Code):
		return sdk.Result{Outcome: sdk.OutcomeRefused, Message: message}
	}
	return sdk.Result{Outcome: sdk.OutcomeFailed, Message: message}
}

// wantsSigningIn tells codes that are about who sends and how (RFC 4954), which an
// operator can mend, and not about the mail.
func wantsSigningIn(code int) bool {
	return code == 530 || code == 534 || code == 535 || code == 538
}

// answerTime is how long before the end of a call the conversation ends.
const answerTime = 500 * time.Millisecond

// send has one conversation with the server, which ends before notAfter.
func (m *mailer) send(ctx context.Context, l *letter, notAfter time.Time) sdk.Result {
	encoded, err := l.encode()
	if err != nil {
		return sdk.Result{Outcome: sdk.OutcomeRefused, Message: err.Error()}
	}
	// The answer has to reach the core by then, or the outcome is unknown to it.
	ctx, cancel := context.WithDeadline(ctx, notAfter.Add(-min(answerTime, time.Until(notAfter)/10)))
	defer cancel()
	if err := m.converse(ctx, l, encoded); err != nil {
		m.log.Warn("mail not sent", "to", l.to.Address, "id", l.id, "error", err)
		result := err.result()
		result.Reference = l.id
		return result
	}
	m.log.Info("mail sent", "to", l.to.Address, "id", l.id)
	return sdk.Result{Outcome: sdk.OutcomeDone, Reference: l.id, Message: fmt.Sprintf("mailed to %s by %s", l.to.Address, m.server.address())}
}

func (m *mailer) converse(ctx context.Context, l *letter, encoded []byte) *failure {
	client, hangUp, err := m.dial(ctx)
	if err != nil {
		return &failure{before, "connecting to " + m.server.address(), err}
	}
	defer hangUp()
	failed := m.hand(ctx, client, l, encoded)
	var answer *textproto.Error
	if failed == nil || errors.As(failed.err, &answer) {
		_ = client.Quit() // whatever comes now changes nothing
	}
	return failed
}

// hand gives the mail to the server.
func (m *mailer) hand(ctx context.Context, client *smtp.Client, l *letter, encoded []byte) *failure {
	if err := m.greet(client); err != nil {
		return &failure{before, "talking to " + m.server.address(), err}
	}
	if err := mailFrom(client, l.from.Address, l.to.Address); err != nil {
		return &failure{offered, "the sender " + l.from.Address, err}
	}
	if err := client.Rcpt(l.to.Address); err != nil {
		return &failure{offered, "the recipient " + l.to.Address, err}
	}
	body, err := client.Data()
	if err != nil {
		return &failure{offered, "offering the mail", err}
	}
	if _, err := body.Write(encoded); err != nil {
		return &failure{offered, "sending the mail", err}
	}
	if ctx.Err() != nil {
		return &failure{offered, "sending the mail", ctx.Err()}
	}
	if err := body.Close(); err != nil {
		return &failure{sent, "waiting for the answer to the mail", err}
	}
	return nil
}

// mailFrom asks for SMTPUTF8 only where an address needs it. Client.Mail asks for it
// wherever it is offered, and then relays further on that cannot do it return the mail.
func mailFrom(client *smtp.Client, from, to string) error {
	command := "MAIL FROM:<" + from + ">"
	if !isPlain(from + to) {
		if offered, _ := client.Extension("SMTPUTF8"); !offered {
			return errors.New("the server takes no addresses with letters beyond ASCII")
		}
		command += " SMTPUTF8"
	}
	id, err := client.Text.Cmd("%s", command)
	if err != nil {
		return err
	}
	client.Text.StartResponse(id)
	defer client.Text.EndResponse(id)
	_, _, err = client.Text.ReadResponse(250)
	return err
}

// dial connects; the connection dies with ctx.
func (m *mailer) dial(ctx context.Context) (*smtp.Client, func(), error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", m.server.address())
	if err != nil {
		return nil, nil, err
	}
	release := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	hangUp := func() {
		release()
		_ = conn.Close()
	}
	if m.server.implicit {
		secured := tls.Client(conn, m.tls)
		if err := secured.HandshakeContext(ctx); err != nil {
			hangUp()
			return nil, nil, err
		}
		conn = secured
	}
	client, err := smtp.NewClient(conn, m.server.host)
	if err != nil {
		hangUp()
		return nil, nil, err
	}
	return client, hangUp, nil
}

// greet says hello, turns to TLS and signs in.
func (m *mailer) greet(client *smtp.Client) error {
	if err := client.Hello(m.hello); err != nil {
		return err
	}
	secure := m.server.implicit
	if offers, _ := client.Extension("STARTTLS"); offers && !secure && !m.plainLoopback() {
		if err := client.StartTLS(m.tls); err != nil {
			return fmt.Errorf("STARTTLS: %w", err)
		}
		secure = true
	}
	if !secure && !m.server.loopback && !m.config.Insecure {
		return errors.New("the server offers no TLS, and nothing is sent in clear text; use smtps://, or set insecure if that must be")
	}
	if m.config.User == "" {
		return nil
	}
	if !secure && !m.server.loopback {
		return errors.New("the server offers no TLS, and a password is never sent in clear text")
	}
	if err := client.Auth(m.auth(client)); err != nil {
		return fmt.Errorf("signing in as %s: %w", m.config.User, err)
	}
	return nil
}

// plainLoopback: mail servers on the machine itself offer STARTTLS with certificates
// that nobody vouches for, and there is nobody in between. With a ca_file the operator
// wants it verified.
func (m *mailer) plainLoopback() bool { return m.server.loopback && m.config.CAFile == "" }

func (m *mailer) auth(client *smtp.Client) smtp.Auth {
	_, offered := client.Extension("AUTH")
	methods := strings.Fields(strings.ToUpper(offered))
	for _, method := range methods {
		if method == "PLAIN" {
			return &plainAuth{m.config.User, m.config.Password}
		}
	}
	for _, method := range methods {
		if method == "LOGIN" {
			return &loginAuth{m.config.User, m.config.Password}
		}
	}
	return &plainAuth{m.config.User, m.config.Password}
}

// plainAuth is RFC 4616. That the connection may carry it is greet's to know; the one
// in net/smtp has its own idea of what a loopback is.
type plainAuth struct{ user, password string }

func (a *plainAuth) Start(*smtp.ServerInfo) (string, []byte, error) {
	return "PLAIN", []byte("\x00" + a.user + "\x00" + a.password), nil
}

func (a *plainAuth) Next(_ []byte, more bool) ([]byte, error) {
	if more {
		return nil, errors.New("the server asks for more than PLAIN has")
	}
	return nil, nil
}

// loginAuth is what Exchange wants.
type loginAuth struct{ user, password string }

func (a *loginAuth) Start(*smtp.ServerInfo) (string, []byte, error) { return "LOGIN", nil, nil }

func (a *loginAuth) Next(question []byte, more bool) ([]byte, error) {
	switch text := strings.ToLower(string(question)); {
	case !more:
		return nil, nil
	case strings.HasPrefix(text, "user"):
		return []byte(a.user), nil
	case strings.HasPrefix(text, "pass"):
		return []byte(a.password), nil
	}
	return nil, errors.New("the server asks for something that LOGIN does not have")
}

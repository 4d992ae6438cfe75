package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"mime"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/kelpie-sec/kelpie/sdk"
	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
	"github.com/kelpie-sec/kelpie/sdk/sdktest"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/types/known/timestamppb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// backend is a real mail server that keeps what it gets.
type backend struct {
	methods  []string // of signing in
	refusals map[string]error

	mu     sync.Mutex
	mails  []string
	users  []string
	secure []bool
}

type session struct {
	b    *backend
	conn *smtp.Conn
	to   string
}

func (b *backend) NewSession(c *smtp.Conn) (smtp.Session, error) {
	return &session{b: b, conn: c}, nil
}
func (s *session) Mail(from string, _ *smtp.MailOptions) error { return s.b.refusals["mail"] }
func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.to = to
	return s.b.refusals["rcpt"]
}
func (s *session) Reset()        {}
func (s *session) Logout() error { return nil }

func (s *session) Data(r io.Reader) error {
	content, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if err := s.b.refusals["data"]; err != nil {
		return err
	}
	_, secure := s.conn.TLSConnectionState()
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	s.b.mails = append(s.b.mails, string(content))
	s.b.secure = append(s.b.secure, secure)
	return nil
}

func (s *session) AuthMechanisms() []string { return s.b.methods }

func (s *session) Auth(method string) (sasl.Server, error) {
	check := func(user, password string) error {
		if user != "kelpie" || password != "s3cret" {
			return &smtp.SMTPError{Code: 535, EnhancedCode: smtp.EnhancedCode{5, 7, 8}, Message: "wrong password"}
		}
		s.b.mu.Lock()
		defer s.b.mu.Unlock()
		s.b.users = append(s.b.users, method+" "+user)
		return nil
	}
	if method == "LOGIN" {
		return &loginServer{check: check}, nil
	}
	return sasl.NewPlainServer(func(_, user, password string) error { return check(user, password) }), nil
}

type loginServer struct {
	check func(user, password string) error
	step  int
	user  string
}

func (l *loginServer) Next(response []byte) ([]byte, bool, error) {
	l.step++
	switch l.step {
	case 1:
		return []byte("Username:"), false, nil
	case 2:
		l.user = string(response)
		return []byte("Password:"), false, nil
	}
	return nil, true, l.check(l.user, string(response))
}

// serve starts a mail server on loopback and returns its address.
func serve(t *testing.T, b *backend, settings *tls.Config, implicit bool) string {
	t.Helper()
	server := smtp.NewServer(b)
	server.Domain, server.TLSConfig, server.AllowInsecureAuth = "mail.example.org", settings, true
	server.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if implicit {
		listener = tls.NewListener(listener, settings)
	}
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() {
		_ = server.Close()
		_ = listener.Close() // which the server does not know if it was closed before it served
		running.Wait()
	})
	return address
}

// authority makes a certificate for 127.0.0.1 and a file with the CA that vouches for it.
func authority(t *testing.T) (*tls.Config, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, path
}

func open(t *testing.T, c config) *mailer {
	t.Helper()
	if c.From == "" {
		c.From = "Kelpie <kelpie@example.org>"
	}
	if c.Prefix == "" {
		c.Prefix = "[Kelpie]"
	}
	m := &mailer{config: c}
	if wrong := m.Validate(); len(wrong) > 0 {
		t.Fatal(wrong)
	}
	if err := m.Open(t.Context(), sdk.Env{Log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	return m
}

func call(t *testing.T) sdk.Call {
	_, s := load(t, "testdata/case.json")
	return sdk.Call{
		Verb: "notify", Target: sdk.Target{Kind: "address", Value: "Kim <kim@example.org>"}, Parameters: &parameters{Notice: s.Notice},
		Key: "i-4711", NotAfter: time.Now().Add(20 * time.Second), Attempt: 1,
	}
}

func execute(t *testing.T, m *mailer, c sdk.Call) sdk.Result {
	t.Helper()
	result, err := m.Execute(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func TestSend(t *testing.T) {
	b := &backend{}
	m := open(t, config{Server: "smtp://" + serve(t, b, nil, false), ReplyTo: "soc@example.org"})
	c := call(t)
	for attempt := range 2 {
		c.Attempt = attempt + 1
		if result := execute(t, m, c); result.Outcome != sdk.OutcomeDone || result.Reference != "<kelpie.i-4711@example.org>" {
			t.Fatalf("result = %+v", result)
		}
	}
	for i, mail := range b.mails {
		header, text, html := read(t, []byte(mail))
		subject, repeat := header.Get("Subject"), i == 1
		if header.Get("Message-Id") != "<kelpie.i-4711@example.org>" || header.Get("References") != "<kelpie.case-c-7f31a9d24c0be1@example.org>" || header.Get("To") != `"Kim" <kim@example.org>` {
			t.Errorf("headers of mail %d: %v", i, header)
		}
		for _, body := range []string{text, html} {
			if strings.Contains(body, "Possible repeat") != repeat || !strings.Contains(body, "bastion.example.org") {
				t.Errorf("mail %d: %s", i, body)
			}
		}
		if strings.Contains(subject, "Possible repeat") != repeat {
			t.Errorf("subject of mail %d = %q", i, subject)
		}
	}
	if len(b.mails) != 2 {
		t.Errorf("%d mails, want 2", len(b.mails))
	}
}

func TestTLSAndSigningIn(t *testing.T) {
	settings, ca := authority(t)
	for _, test := range []struct {
		name     string
		implicit bool
		methods  []string
		want     string
	}{
		{"starttls plain", false, []string{"LOGIN", "PLAIN"}, "PLAIN kelpie"},
		{"smtps login", true, []string{"LOGIN"}, "LOGIN kelpie"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := &backend{methods: test.methods}
			scheme := map[bool]string{false: "smtp://", true: "smtps://"}[test.implicit]
			c := config{Server: scheme + serve(t, b, settings, test.implicit), User: "kelpie", Password: "s3cret", CAFile: sdk.Path(ca)}
			if result := execute(t, open(t, c), call(t)); result.Outcome != sdk.OutcomeDone {
				t.Fatalf("result = %+v", result)
			}
			if len(b.users) != 1 || b.users[0] != test.want || !b.secure[0] {
				t.Errorf("signed in as %v, secure %v", b.users, b.secure)
			}

			c.Password = "wrong"
			result := execute(t, open(t, c), call(t))
			if result.Outcome != sdk.OutcomeFailed || !strings.Contains(result.Message, "signing in as kelpie") || strings.Contains(result.Message, "wrong\x00") {
				t.Errorf("with a wrong password: %+v", result)
			}

			_, other := authority(t)
			c.CAFile = sdk.Path(other)
			if result := execute(t, open(t, c), call(t)); result.Outcome != sdk.OutcomeFailed || !strings.Contains(result.Message, "certificate") {
				t.Errorf("with a server that nobody vouches for: %+v", result)
			}
			if len(b.mails) != 1 {
				t.Errorf("%d mails, want 1", len(b.mails))
			}
		})
	}
}

// TestNothingInClearText treats the server on loopback as one that is elsewhere.
func TestNothingInClearText(t *testing.T) {
	b := &backend{methods: []string{"PLAIN"}}
	m := open(t, config{Server: "smtp://" + serve(t, b, nil, false)})
	m.server.loopback = false
	if result := execute(t, m, call(t)); result.Outcome != sdk.OutcomeFailed || !strings.Contains(result.Message, "offers no TLS") {
		t.Errorf("result = %+v", result)
	}
	m.config.Insecure = true
	if result := execute(t, m, call(t)); result.Outcome != sdk.OutcomeDone {
		t.Errorf("with insecure: %+v", result)
	}
	m.config.User, m.config.Password = "kelpie", "s3cret"
	if result := execute(t, m, call(t)); result.Outcome != sdk.OutcomeFailed || !strings.Contains(result.Message, "password is never sent") {
		t.Errorf("with insecure and a password: %+v", result)
	}
	if len(b.users) != 0 || len(b.mails) != 1 {
		t.Errorf("signed in %v, %d mails", b.users, len(b.mails))
	}
}

func TestRefusals(t *testing.T) {
	for _, at := range []string{"mail", "rcpt", "data"} {
		for code, want := range map[int]sdk.Outcome{550: sdk.OutcomeRefused, 451: sdk.OutcomeFailed, 530: sdk.OutcomeFailed} {
			t.Run(fmt.Sprint(at, code), func(t *testing.T) {
				refusal := &smtp.SMTPError{Code: code, EnhancedCode: smtp.NoEnhancedCode, Message: "no\x1b[2J"}
				m := open(t, config{Server: "smtp://" + serve(t, &backend{refusals: map[string]error{at: refusal}}, nil, false)})
				result := execute(t, m, call(t))
				if result.Outcome != want || !strings.Contains(result.Message, fmt.Sprint(code)) || strings.Contains(result.Message, "\x1b") {
					t.Errorf("result = %+v, want %s", result, want)
				}
			})
		}
	}
}

// TestAddressesBeyondASCII sends to a server that cannot take them, and to one that can.
func TestAddressesBeyondASCII(t *testing.T) {
	c := call(t)
	c.Target.Value = "jörg@bücher.example"
	m := open(t, config{Server: "smtp://" + serve(t, &backend{}, nil, false)})
	if result := execute(t, m, c); result.Outcome != sdk.OutcomeFailed || !strings.Contains(result.Message, "beyond ASCII") {
		t.Errorf("result = %+v", result)
	}
	commands := make(chan string, 1)
	m = open(t, config{Server: "smtp://" + script(t, func(conn net.Conn, lines *bufio.Reader) {
		fmt.Fprint(conn, "220 mail\r\n")
		_, _ = lines.ReadString('\n')
		fmt.Fprint(conn, "250-mail\r\n250 SMTPUTF8\r\n")
		for range 2 {
			line, _ := lines.ReadString('\n')
			fmt.Fprint(conn, "250 ok\r\n")
			if strings.HasPrefix(line, "MAIL") {
				commands <- line
			}
		}
	})})
	_ = execute(t, m, c)
	if got, want := <-commands, "MAIL FROM:<kelpie@example.org> SMTPUTF8\r\n"; got != want {
		t.Errorf("the server was sent %q, want %q", got, want)
	}
}

func TestRefusedBeforeTheServerIsAsked(t *testing.T) {
	m := open(t, config{Server: "smtp://127.0.0.1:1"})
	for name, change := range map[string]func(*sdk.Call){
		"no address":    func(c *sdk.Call) { c.Target.Value = "kim" },
		"injection":     func(c *sdk.Call) { c.Target.Value = "kim@example.org>\r\nRCPT TO:<eve@example.org" },
		"two addresses": func(c *sdk.Call) { c.Target.Value = "kim@example.org, eve@example.org" },
		"nothing":       func(c *sdk.Call) { c.Parameters = &parameters{} },
		"no notice":     func(c *sdk.Call) { c.Parameters = &parameters{Notice: "text"} },
	} {
		c := call(t)
		change(&c)
		if result := execute(t, m, c); result.Outcome != sdk.OutcomeRefused || result.Message == "" {
			t.Errorf("%s: %+v", name, result)
		}
	}
}

// script plays a server that answers as told; what it was sent comes on the channel.
func script(t *testing.T, play func(conn net.Conn, lines *bufio.Reader)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		play(conn, bufio.NewReader(conn))
	})
	t.Cleanup(func() {
		_ = listener.Close()
		running.Wait()
	})
	return listener.Addr().String()
}

// converse answers commands until it has read one that begins with end, which it leaves
// unanswered.
func converse(conn net.Conn, lines *bufio.Reader, end string) {
	fmt.Fprint(conn, "220 mail\r\n")
	for {
		line, err := lines.ReadString('\n')
		switch {
		case err != nil || strings.HasPrefix(line, end):
			return
		case strings.HasPrefix(line, "DATA"):
			fmt.Fprint(conn, "354 go on\r\n")
		case strings.HasPrefix(line, "EHLO"), strings.HasPrefix(line, "MAIL"), strings.HasPrefix(line, "RCPT"):
			fmt.Fprint(conn, "250 ok\r\n")
		}
	}
}

func TestConnectionLost(t *testing.T) {
	for end, want := range map[string]sdk.Outcome{
		"EHLO":            sdk.OutcomeFailed,
		"MAIL":            sdk.OutcomeFailed,
		"RCPT":            sdk.OutcomeFailed,
		"DATA":            sdk.OutcomeFailed,
		".\r\n":           sdk.OutcomeUnknown, // the whole mail was read, the answer is lost
		"never, it hangs": sdk.OutcomeUnknown,
	} {
		t.Run(end, func(t *testing.T) {
			m := open(t, config{Server: "smtp://" + script(t, func(conn net.Conn, lines *bufio.Reader) { converse(conn, lines, end) })})
			c := call(t)
			if strings.HasPrefix(end, "never") {
				c.NotAfter = time.Now().Add(500 * time.Millisecond)
			}
			if result := execute(t, m, c); result.Outcome != want || result.Reference == "" {
				t.Errorf("lost at %q: %+v, want %s", end, result, want)
			}
		})
	}
	t.Run("nobody listens", func(t *testing.T) {
		if result := execute(t, open(t, config{Server: "smtp://127.0.0.1:1"}), call(t)); result.Outcome != sdk.OutcomeFailed {
			t.Errorf("result = %+v", result)
		}
	})
}

// TestNotAfter lets a server say nothing until the time has passed.
func TestNotAfter(t *testing.T) {
	released := make(chan struct{})
	m := open(t, config{Server: "smtp://" + script(t, func(net.Conn, *bufio.Reader) { <-released })})
	defer close(released)
	c := call(t)
	c.NotAfter = time.Now().Add(100 * time.Millisecond)
	began := time.Now()
	if result := execute(t, m, c); result.Outcome != sdk.OutcomeFailed {
		t.Errorf("result = %+v", result)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
}

func TestDryRunConnectsToNothing(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	m := open(t, config{Server: "smtp://" + listener.Addr().String()})
	c := call(t)
	c.DryRun = true
	result := execute(t, m, c)
	if result.Outcome != sdk.OutcomeDone || !strings.HasPrefix(result.Message, "would mail [Kelpie] Password guessing") {
		t.Errorf("result = %+v", result)
	}
	_ = listener.(*net.TCPListener).SetDeadline(time.Now().Add(50 * time.Millisecond))
	if conn, err := listener.Accept(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("somebody connected: %v, %v", conn, err)
	}
}

func TestCancelled(t *testing.T) {
	reached := make(chan struct{})
	released := make(chan struct{})
	m := open(t, config{Server: "smtp://" + script(t, func(net.Conn, *bufio.Reader) { close(reached); <-released })})
	defer close(released)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var ending sync.WaitGroup
	ending.Go(func() { <-reached; cancel() })
	result, err := m.Execute(ctx, call(t))
	if err != nil || result.Outcome != sdk.OutcomeFailed {
		t.Errorf("result = %+v, %v", result, err)
	}
	ending.Wait()
}

func TestParseAddress(t *testing.T) {
	for text, want := range map[string]string{
		"Kim.Li@Example.ORG":                            "<Kim.Li@example.org>",
		"Kim <kim@bücher.example>":                      `"Kim" <kim@xn--bcher-kva.example>`,
		strings.Repeat("x", 200) + " <kim@example.org>": `"` + strings.Repeat("x", 57) + `…" <kim@example.org>`,
	} {
		got, err := parseAddress(text)
		if decoded, _ := new(mime.WordDecoder).DecodeHeader(got.String()); err != nil || strings.ReplaceAll(decoded, `"`, "") != strings.ReplaceAll(want, `"`, "") {
			t.Errorf("parseAddress(%q) = %s, %v; want %s", text, decoded, err, want)
		}
	}
	for _, text := range []string{"", "kim", "kim@", "@example.org", "kim@10.0.0.1", "a@example.org, b@example.org", "kim@example.org\r\nBcc: x@example.org", `"a b"@example.org`, "<kim@example.org> x"} {
		if got, err := parseAddress(text); err == nil {
			t.Errorf("parseAddress(%q) = %s, want an error", text, got.String())
		}
	}
}

func TestValidate(t *testing.T) {
	for path, c := range map[string]config{
		"server":   {Server: "mail.example.org:587", From: "a@example.org"},
		"server ":  {Server: "smtp://kim:x@mail.example.org", From: "a@example.org"},
		"server  ": {Server: "smtp://mail.example.org/x", From: "a@example.org"},
		"from":     {Server: "smtp://mail.example.org", From: "kelpie"},
		"reply_to": {Server: "smtp://mail.example.org", From: "a@example.org", ReplyTo: "soc"},
		"user":     {Server: "smtp://mail.example.org", From: "a@example.org", User: "kelpie"},
		"password": {Server: "smtp://mail.example.org", From: "a@example.org", Password: "x"},
		"hello":    {Server: "smtp://mail.example.org", From: "a@example.org", Hello: "a b:c"},
		"insecure": {Server: "smtps://mail.example.org", From: "a@example.org", Insecure: true},
		"prefix":   {Server: "smtp://mail.example.org", From: "a@example.org", Prefix: "a\nb"},
	} {
		wrong := (&mailer{config: c}).Validate()
		if len(wrong) != 1 || wrong[0].Path[0] != strings.TrimSpace(path) {
			t.Errorf("%s: Validate complains %v", path, wrong)
		}
	}
	for text, want := range map[string]string{
		"smtp://mail.example.org": "mail.example.org:587", "smtps://mail.example.org": "mail.example.org:465", "smtp://[::1]:25": "[::1]:25",
	} {
		if s, err := parseServer(text); err != nil || s.address() != want {
			t.Errorf("parseServer(%s) = %s, %v; want %s", text, s.address(), err, want)
		}
	}
}

func TestOverGRPC(t *testing.T) {
	b := &backend{}
	client := sdktest.Serve(t, plugin())
	if wrong := client.Configure(t, "action.mail", sdk.KindAction, map[string]any{"server": "smtp://" + serve(t, b, nil, false), "from": "kelpie@example.org"}); len(wrong) > 0 {
		t.Fatal(wrong)
	}
	encoded, err := os.ReadFile("testdata/case.json")
	if err != nil {
		t.Fatal(err)
	}
	var parameters map[string]any
	if err := json.Unmarshal(encoded, &parameters); err != nil {
		t.Fatal(err)
	}
	delete(parameters, "now") // which is of the sample only
	if encoded, err = json.Marshal(parameters); err != nil {
		t.Fatal(err)
	}
	response, err := client.Act.Execute(t.Context(), &pluginv1.ExecuteRequest{
		Instance: "action.mail", Verb: "notify", Target: &pluginv1.Target{Kind: "address", Value: "kim@example.org"},
		Parameters: encoded, IdempotencyKey: "i-1", NotAfter: timestamppb.New(time.Now().Add(20 * time.Second)), Attempt: 1,
	})
	if err != nil || response.GetOutcome() != pluginv1.Outcome_OUTCOME_DONE || len(b.mails) != 1 {
		t.Errorf("Execute = %v, %v; %d mails", response, err, len(b.mails))
	}
}

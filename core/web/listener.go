package web

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Bounds of the connections. HTTP/1.1 alone is spoken: a page of one piece needs no more.
const (
	headerTimeout = 5 * time.Second
	readTimeout   = 15 * time.Second
	writeTimeout  = answerTime + 10*time.Second
	idleTimeout   = 20 * time.Second
	maxHeader     = 16 << 10
	// mostOpen is how many connections there are at a time, and mostOfOne from one
	// address that is not this machine's.
	mostOpen  = 512
	mostOfOne = 64
	// stopTime is how long a stop waits for what is being answered.
	stopTime = 3 * time.Second
	// soonOver is how long before its end a certificate is told about.
	soonOver = 14 * 24 * time.Hour
)

// Listener is an open address. It takes connections from Serve on.
type Listener struct {
	Settings Settings

	bound  *bound
	cert   atomic.Pointer[certificate] // nil: plain HTTP
	server *http.Server
	logger *slog.Logger
	now    func() time.Time
	done   chan struct{} // closed when it serves no more; nil: it has not begun
}

// Open takes an address and reads the certificate; nothing is answered yet. Errors are for
// operators to read.
func Open(s Settings, logger *slog.Logger, now func() time.Time) (*Listener, error) {
	l := &Listener{Settings: s, logger: logger, now: now}
	if s.Cert != "" {
		cert, err := newCertificate(s.Cert, s.Key, now)
		if err != nil {
			return nil, err
		}
		l.cert.Store(cert)
	}
	inner, err := net.Listen("tcp", s.Listen)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("listen = %q: another program listens there already; end that, or write another port", s.Listen)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("listen = %q: this machine has no such address; \"0.0.0.0\" is all that it has", s.Listen)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("listen = %q: this user may not listen on that port; write one from 1024 on, with a proxy or a redirection before it", s.Listen)
	case err != nil:
		return nil, fmt.Errorf("listen = %q: %w", s.Listen, err)
	}
	l.bound = &bound{Listener: inner, of: map[netip.Addr]int{}}
	return l, nil
}

// Addr is where it listens.
func (l *Listener) Addr() net.Addr { return l.bound.Addr() }

// Become reads what other settings with the same address say. keep goes on by them;
// until then all is as it was.
func (l *Listener) Become(s Settings) (keep func(), err error) {
	var cert *certificate
	if s.Cert != "" {
		if cert, err = newCertificate(s.Cert, s.Key, l.now); err != nil {
			return nil, err
		}
	}
	return func() {
		l.Settings = s
		l.cert.Store(cert)
	}, nil
}

// incoming is a Listener as its server has it, which closes the address alone.
type incoming struct{ *Listener }

// Close lets the address go.
func (l incoming) Close() error { return l.bound.Close() }

// Accept gives the next connection.
func (l incoming) Accept() (net.Conn, error) {
	c, err := l.bound.Accept()
	if err != nil {
		return nil, err
	}
	cert := l.cert.Load()
	if cert == nil {
		return c, nil
	}
	return tls.Server(c, &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			pair, _ := cert.get() // a problem is a trouble
			return pair, nil
		},
	}), nil
}

// Serve begins to answer by a handler, until Close.
func (l *Listener) Serve(h http.Handler) {
	l.server = &http.Server{
		Handler: h, ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader, Protocols: &http.Protocols{},
		DisableGeneralOptionsHandler: true,
		// What any stranger can cause is not to fill the log.
		ErrorLog: slog.NewLogLogger(l.logger.Handler(), slog.LevelDebug),
	}
	l.server.Protocols.SetHTTP1(true)
	l.done = make(chan struct{})
	go func() {
		defer close(l.done)
		if err := l.server.Serve(incoming{l}); !errors.Is(err, http.ErrServerClosed) {
			l.logger.Error("the answer page is not served any more", "error", err)
		}
	}()
}

// Close lets the address go at once, waits a moment for what is being answered, and
// returns when nothing is any more.
func (l *Listener) Close() error {
	if l.done == nil {
		return l.bound.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	err := l.server.Shutdown(ctx)
	if err != nil {
		err = l.server.Close()
	}
	<-l.done
	return err
}

// Trouble says what is wrong with it; empty: nothing.
func (l *Listener) Trouble() string {
	if l.done != nil {
		select {
		case <-l.done:
			return "the answer page is not served any more"
		default:
		}
	}
	cert := l.cert.Load()
	if cert == nil {
		return ""
	}
	pair, err := cert.get()
	if err != nil {
		return "the certificate of the answer page can't be read again, and the one before is shown: " + err.Error()
	}
	switch end := pair.Leaf.NotAfter; {
	case l.now().After(end):
		return "the certificate of the answer page has expired: browsers warn people of it"
	case l.now().Add(soonOver).After(end):
		return "the certificate of the answer page expires on " + end.UTC().Format(time.DateOnly)
	}
	return ""
}

// bound holds the number of connections, all and of one address; who comes beyond is
// turned away at once, so that who is let in has a turn.
type bound struct {
	net.Listener
	mu  sync.Mutex
	all int
	of  map[netip.Addr]int
}

// Accept gives the next connection that is let in.
func (b *bound) Accept() (net.Conn, error) {
	for {
		c, err := b.Listener.Accept()
		if err != nil {
			return nil, err
		}
		addr := remote(c)
		if b.enter(addr) {
			return &counted{Conn: c, leave: sync.OnceFunc(func() { b.leave(addr) })}, nil
		}
		c.Close()
	}
}

func remote(c net.Conn) netip.Addr {
	if tcp, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		addr := tcp.AddrPort().Addr().Unmap()
		if prefix, err := addr.WithZone("").Prefix(64); err == nil && addr.Is6() && !addr.IsLoopback() {
			return prefix.Addr()
		}
		return addr
	}
	return netip.Addr{}
}

func (b *bound) enter(addr netip.Addr) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.all >= mostOpen || b.of[addr] >= mostOfOne && !addr.IsLoopback() {
		return false
	}
	b.all++
	b.of[addr]++
	return true
}

func (b *bound) leave(addr netip.Addr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all--
	if b.of[addr]--; b.of[addr] == 0 {
		delete(b.of, addr)
	}
}

// counted is a connection that is counted until it is closed.
type counted struct {
	net.Conn
	leave func()
}

// Close closes it.
func (c *counted) Close() error {
	defer c.leave()
	return c.Conn.Close()
}

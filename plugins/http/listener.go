package main

import (
	"crypto/tls"
	"net"
	"os"
	"sync"
	"time"
)

// limit makes a listener accept so many connections at once.
func limit(l net.Listener, n int) net.Listener {
	return &limited{Listener: l, free: make(chan struct{}, n), closed: make(chan struct{})}
}

type limited struct {
	net.Listener
	free   chan struct{}
	closed chan struct{}
	once   sync.Once
}

func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.free <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.free
		return nil, err
	}
	return &counted{Conn: conn, release: func() { <-l.free }}, nil
}

func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type counted struct {
	net.Conn
	once    sync.Once
	release func()
}

func (c *counted) Close() error {
	err := c.Conn.Close()
	c.once.Do(c.release)
	return err
}

// certEvery is how often the certificate is looked at.
const certEvery = 10 * time.Second

// certificate is read again when its file has changed, so that a new one needs no
// restart. One that cannot be read leaves the older one in use.
type certificate struct {
	cert, key string

	mu      sync.Mutex
	looked  time.Time
	written time.Time
	current *tls.Certificate
}

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.looked) >= certEvery {
		_ = c.load(now) // the older one stays
	}
	return c.current, nil
}

// load reads the certificate if its file is another than before.
func (c *certificate) load(now time.Time) error {
	c.looked = now
	info, err := os.Stat(c.cert)
	if err != nil {
		return err
	}
	if c.current != nil && info.ModTime().Equal(c.written) {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return err
	}
	c.current, c.written = &pair, info.ModTime()
	return nil
}

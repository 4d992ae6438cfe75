package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
)

const (
	headerTimeout = 10 * time.Second
	// bodyTimeout is how long a sender has for a whole request.
	bodyTimeout = time.Minute
	idleTimeout = 2 * time.Minute
	maxHeader   = 16 << 10
	// maxConnections are open at once; others wait to be accepted.
	maxConnections = 1024
	// portRetry is how often a port that somebody else has is tried.
	portRetry = 500 * time.Millisecond
	// stopLimit is how long requests under way have for their answers when the session
	// ends.
	stopLimit = 2 * time.Second
)

// intake takes one block's requests.
type intake struct {
	config config
	log    *slog.Logger
	digest [sha256.Size]byte // of the token
	idPath []string
	tls    *tls.Config
	denied denials
	// listening is told the address, in tests.
	listening func(net.Addr)
}

// Config is filled from the block.
func (i *intake) Config() any { return &i.config }

// Open reads the certificate. The port is taken in Detect.
func (i *intake) Open(_ context.Context, env sdk.Env) error {
	i.log = env.Log
	i.digest = sha256.Sum256([]byte(i.config.Token))
	if i.config.IDField != "" {
		i.idPath = strings.Split(i.config.IDField, ".")
	}
	var err error
	i.tls, err = i.config.tlsConfig()
	return err
}

// Detect takes requests until ctx ends. Under once there is nothing to read: nobody
// could say when all have been sent.
func (i *intake) Detect(ctx context.Context, start sdk.Start, out sdk.Sender) error {
	if start.Once {
		return nil
	}
	listener, err := i.listen(ctx, out)
	if err != nil {
		return err
	}
	out.Status(nil, 0, "")
	if i.listening != nil {
		i.listening(listener.Addr())
	}
	i.log.Info("listening", "address", listener.Addr().String(), "path", i.config.Path, "tls", i.tls != nil)

	h := newHandler(i, out)
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       bodyTimeout,
		WriteTimeout:      bodyTimeout + i.config.Wait + 10*time.Second,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		TLSConfig:         i.tls,
		ErrorLog:          slog.NewLogLogger(i.log.Handler(), slog.LevelDebug),
	}
	served := make(chan error, 1)
	var serving sync.WaitGroup
	serving.Go(func() { served <- serve(server, limit(listener, maxConnections)) })
	defer serving.Wait()
	select {
	case err := <-served:
		return fmt.Errorf("the port %s cannot be served: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	h.stop()
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
	defer cancel()
	if server.Shutdown(grace) != nil {
		_ = server.Close() // of whoever has not read its answer
	}
	h.wait()
	return ctx.Err()
}

func serve(server *http.Server, listener net.Listener) error {
	var err error
	if server.TLSConfig != nil {
		err = server.ServeTLS(listener, "", "")
	} else {
		err = server.Serve(listener)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// listen takes the port. The session before this one may have it yet, or another
// program: that is told, and tried again.
func (i *intake) listen(ctx context.Context, out sdk.Sender) (net.Listener, error) {
	for {
		var config net.ListenConfig
		listener, err := config.Listen(ctx, "tcp", i.config.Listen)
		if err == nil {
			return listener, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		out.Status(err, 0, "")
		select {
		case <-time.After(portRetry):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/kelpie-sec/kelpie/core/api"
)

// Bounds of the API's connections.
const (
	headerTimeout = 5 * time.Second
	readTimeout   = 30 * time.Second
	idleTimeout   = time.Minute
	maxHeader     = 64 << 10
	apiStop       = 3 * time.Second
	// maxSocket is the longest path of a socket (sun_path of unix(7), less its end).
	maxSocket = 107
)

func (k *Kelpie) socket() string { return filepath.Join(k.settings.DataDir, Socket) }

// checkSocket says before anything is started that the socket can't be.
func (k *Kelpie) checkSocket() error {
	if path := k.socket(); len(path) > maxSocket {
		return fmt.Errorf("%s: a socket's path may have %d bytes; choose a shorter data_dir, or start kelpie nearer to it", path, maxSocket)
	}
	return nil
}

// serve opens the API on the data folder's socket, which its owner alone may use, with the
// key beside it.
func (k *Kelpie) serve(f *flow) (stop func() error, err error) {
	path := k.socket()
	// A socket that is left over is nobody's: the folder is locked by us.
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	key, err := k.newKey()
	if err != nil {
		return nil, err
	}
	// On Linux the socket has the mode of its descriptor from the beginning; elsewhere
	// the folder is closed to others.
	private := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = privateSocket(int(fd)) })
	}}
	k.run(f) // before there is a socket: who finds that finds who runs
	l, err := private.Listen(context.Background(), "unix", path)
	if err != nil {
		k.run(nil)
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		k.run(nil)
		l.Close()
		return nil, err
	}
	server := &http.Server{
		Handler: keyed(key, api.WithProfiles(k.Handler())), ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	return func() error {
		k.mu.Lock()
		k.running, k.stopping = nil, true
		k.mu.Unlock()
		defer func() {
			k.mu.Lock()
			k.stopping = false
			k.mu.Unlock()
		}()
		ctx, cancel := context.WithTimeout(context.Background(), apiStop)
		defer cancel()
		err := server.Shutdown(ctx)
		if err != nil {
			err = server.Close()
		}
		if served := <-done; !errors.Is(served, http.ErrServerClosed) {
			err = errors.Join(err, served)
		}
		return errors.Join(err, os.Remove(k.path(Key)))
	}, nil
}

func (k *Kelpie) run(f *flow) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.running = f
}

// Command reputation is a small threat-intelligence service, made up for those who write their
// first connector: a key in a header, alerts in pages, the reputation of addresses, and a
// firewall that blocks them. docs/first-connector.md integrates it. It keeps everything in
// memory, and says on its standard output what it is asked.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	log.SetFlags(0)
	address := flag.String("listen", "127.0.0.1:9180", "the address to listen on")
	key := flag.String("key", "demo-key", "what the header X-API-Key has to be")
	quota := flag.Int("quota", 600, "requests a minute; beyond it the answer is 429")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := serve(ctx, *address, newService(*key, *quota, time.Now)); err != nil {
		log.Fatal("reputation: ", err)
	}
}

// serve answers until ctx ends.
func serve(ctx context.Context, address string, s *service) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	fmt.Printf("listening on http://%s\n", listener.Addr())
	server := &http.Server{Handler: logged(s), ReadHeaderTimeout: 5 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		<-ctx.Done()
		server.Close()
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	<-done
	return nil
}

// logged prints a line for each request, with what became of it.
func logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := &status{ResponseWriter: w, code: http.StatusOK}
		next.ServeHTTP(answer, r)
		fmt.Printf("%d %s %q\n", answer.code, r.Method, r.URL.RequestURI())
	})
}

// status remembers the code of an answer.
type status struct {
	http.ResponseWriter
	code int
}

func (s *status) WriteHeader(code int) {
	s.code = code
	s.ResponseWriter.WriteHeader(code)
}

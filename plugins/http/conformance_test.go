package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/kelpie-sec/kelpie/sdk"
	"github.com/kelpie-sec/kelpie/sdk/conformance"
	"github.com/kelpie-sec/kelpie/sdk/sdktest"
)

// TestConformance sends its events as a sender should: one after the other, each again
// under its key until it is taken. UPDATE=1 records the ids of a release.
func TestConformance(t *testing.T) {
	if testing.Short() {
		t.Skip("runs real processes")
	}
	address := freePort(t)
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(client.CloseIdleConnections)
	send := func(ctx context.Context, key string, body []byte) bool {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+"/", bytes.NewReader(body))
		if err != nil {
			return false
		}
		req.Header.Set("Authorization", "Bearer "+secret)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Idempotency-Key", key)
		resp, err := client.Do(req)
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	}
	sdktest.Conform(t, conformance.Settings{
		Binary: sdktest.Build(t, "."), Record: "testdata/ids.json", Update: os.Getenv("UPDATE") != "",
		Instances: []conformance.Instance{{
			Name: "detector.http", Kind: sdk.KindDetector, Config: map[string]any{"listen": address, "token": secret}, Secrets: []string{secret},
			Push: func(ctx context.Context, payloads [][]byte) error {
				for n, payload := range payloads {
					for !send(ctx, fmt.Sprintf("key-%d", n), payload) {
						select {
						case <-time.After(20 * time.Millisecond):
						case <-ctx.Done():
							return ctx.Err()
						}
					}
				}
				return nil
			},
		}},
	})
}

func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

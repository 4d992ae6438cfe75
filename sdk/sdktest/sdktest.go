// Package sdktest lets the tests of a plugin call it as the core does, over gRPC, but
// within the process.
package sdktest

import (
	"context"
	"encoding/json"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/kelpie-sec/kelpie/sdk"
	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
)

// Client calls a plugin that is served for one test.
type Client struct {
	pluginv1.PluginServiceClient
	Detect pluginv1.DetectorServiceClient
	Enrich pluginv1.EnrichmentServiceClient
	Act    pluginv1.ActionServiceClient
	state  string
}

// Serve serves a plugin until the test ends. A plugin that contradicts itself fails the
// test.
func Serve(t testing.TB, p sdk.Plugin) *Client {
	t.Helper()
	server, err := sdk.NewServer(p)
	if err != nil {
		t.Fatalf("the plugin %s contradicts itself: %v", p.Name, err)
	}
	dir := t.TempDir()
	socket := filepath.Join(dir, "plugin.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	rpc := grpc.NewServer(server.Options()...)
	server.Register(rpc)
	var running sync.WaitGroup
	running.Go(func() {
		if err := rpc.Serve(listener); err != nil {
			t.Errorf("serving the plugin: %v", err)
		}
	})
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		rpc.Stop()
		running.Wait()
	})
	return &Client{
		PluginServiceClient: pluginv1.NewPluginServiceClient(conn),
		Detect:              pluginv1.NewDetectorServiceClient(conn),
		Enrich:              pluginv1.NewEnrichmentServiceClient(conn),
		Act:                 pluginv1.NewActionServiceClient(conn),
		state:               dir,
	}
}

// Configure makes an instance of a connector from a block's values and returns what the
// plugin complains about.
func (c *Client) Configure(t testing.TB, instance string, kind sdk.Kind, block map[string]any) []*pluginv1.Diagnostic {
	t.Helper()
	encoded, err := json.Marshal(block)
	if err != nil {
		t.Fatal(err)
	}
	response, err := c.PluginServiceClient.Configure(t.Context(), &pluginv1.ConfigureRequest{
		Instance: instance, Kind: pluginv1.ConnectorKind(kind), Config: encoded, StateDir: c.state,
	})
	if err != nil {
		t.Fatalf("Configure %s: %v", instance, err)
	}
	return response.GetDiagnostics()
}

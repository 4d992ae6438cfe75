package conformance_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/kelpie-sec/kelpie/sdk"
	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
)

// modeEnv makes the test binary a plugin: "good", or one that breaks the contract in the
// way that its mode names. "sdk" and "sdk_prints" are served by the SDK, the others by the
// few lines below, which can lie.
const modeEnv = "KELPIE_CONFORMANCE_TEST"

func servePlugin(mode string) {
	switch mode {
	case "crashes":
		fmt.Fprintln(os.Stderr, "cannot find libfake.so")
		os.Exit(3)
	case "greets":
		fmt.Println("Welcome to fake!")
	}
	f := &fake{mode: mode, closed: map[string]bool{}}
	if strings.HasPrefix(mode, "sdk") {
		sdk.Serve(f.plugin())
	}
	if err := f.serve(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// fake is a plugin of a product whose API is farEnd's.
type fake struct {
	mode string

	mu     sync.Mutex
	closed map[string]bool
	label  string // of the instance configured last
}

func (f *fake) plugin() sdk.Plugin {
	return sdk.Plugin{
		Name: "fake", Version: "1.0.0",
		Connectors: []sdk.Connector{
			{Kind: sdk.KindDetector, Summary: "Reports.", Finite: true, New: func() sdk.Instance { return &detector{api{fake: f}} }},
			{
				Kind: sdk.KindEnrichment, Summary: "Answers.", Takes: []string{sdk.IP, sdk.Host}, BatchLimit: 4,
				New: func() sdk.Instance { return &enricher{api{fake: f}} },
			},
			{
				Kind: sdk.KindAction, Summary: "Acts.", New: func() sdk.Instance { return &actor{api{fake: f}} },
				Verbs: []sdk.Verb{{
					Name: "isolate_host", Targets: []string{sdk.Host}, Summary: "Isolates.",
					Parameters: func() any { return &struct{}{} }, Undo: true, Check: true, Idempotent: true,
				}},
			},
		},
	}
}

// serve does by hand what go-plugin does.
func (f *fake) serve() error {
	server, err := sdk.NewServer(f.plugin())
	if err != nil {
		return err
	}
	settings, certificate, err := f.tls()
	if err != nil {
		return err
	}
	socket := filepath.Join(os.Getenv("PLUGIN_UNIX_SOCKET_DIR"), "plugin.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	options := []grpc.ServerOption{
		grpc.Creds(credentials.NewTLS(settings)), grpc.ChainUnaryInterceptor(f.unary), grpc.ChainStreamInterceptor(f.stream),
	}
	options = append(options, server.Options()...)
	if f.mode == "small_messages" {
		options = append(options, grpc.MaxRecvMsgSize(4<<20))
	}
	rpc := grpc.NewServer(options...)
	server.Register(rpc)
	fmt.Printf("1|%d|unix|%s|grpc|%s\n", sdk.ProtocolVersion, socket, certificate)
	if f.mode != "stays" {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			os.Exit(0)
		}()
	}
	return rpc.Serve(listener)
}

func (f *fake) tls() (*tls.Config, string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, "", err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, "", err
	}
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM([]byte(os.Getenv("PLUGIN_CLIENT_CERT")))
	settings := &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: clients, MinVersion: tls.VersionTLS12,
	}
	if f.mode == "takes_anybody" {
		settings.ClientAuth = tls.NoClientCert
	}
	return settings, base64.RawStdEncoding.EncodeToString(der), nil
}

// unary lies in calls.
func (f *fake) unary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	switch r := req.(type) {
	case *pluginv1.ConfigureRequest:
		f.mu.Lock()
		delete(f.closed, r.GetInstance())
		f.mu.Unlock()
		if f.mode == "ignores_unknown" {
			r.Config = without(r.GetConfig(), "no_such_attribute")
		}
	case *pluginv1.HealthRequest:
		if f.mode == "dawdles" && r.GetInstance() == "enrichment.red" {
			<-time.After(1500 * time.Millisecond)
		}
	case *pluginv1.CloseRequest:
		f.mu.Lock()
		again := f.closed[r.GetInstance()]
		f.closed[r.GetInstance()] = true
		f.mu.Unlock()
		if f.mode == "closes_once" && again {
			return nil, status.Error(codes.NotFound, "there is no such instance")
		}
	case *pluginv1.ExecuteRequest:
		switch {
		case f.mode == "never_dry":
			r.DryRun = false
		case f.mode == "late":
			r.NotAfter = timestamppb.New(time.Now().Add(time.Minute))
		case f.mode == "pretends" && !r.GetDryRun() && r.GetNotAfter().AsTime().After(time.Now()):
			return &pluginv1.ExecuteResponse{Instance: r.GetInstance(), Outcome: pluginv1.Outcome_OUTCOME_DONE}, nil
		}
	case *pluginv1.UndoRequest:
		if f.mode == "undoes_nothing" {
			return &pluginv1.UndoResponse{Instance: r.GetInstance(), Outcome: pluginv1.Outcome_OUTCOME_DONE}, nil
		}
	case *pluginv1.CheckRequest:
		outcome, lies := map[string]pluginv1.Outcome{
			"knows_all": pluginv1.Outcome_OUTCOME_DONE, "pretends": pluginv1.Outcome_OUTCOME_UNKNOWN,
		}[f.mode]
		if lies {
			return &pluginv1.CheckResponse{Instance: r.GetInstance(), Outcome: outcome}, nil
		}
	}
	out, err := handle(ctx, req)
	if err != nil {
		return nil, err
	}
	return f.spoil(out.(proto.Message)), nil
}

// spoil changes an answer.
func (f *fake) spoil(answer proto.Message) proto.Message {
	answer = proto.Clone(answer)
	switch a := answer.(type) {
	case *pluginv1.DescribeResponse:
		switch f.mode {
		case "changes":
			a.Version = "1.0." + strconv.Itoa(os.Getpid())
		case "takes_core_names":
			a.Connectors[0].Schema.Attributes = append(a.Connectors[0].Schema.Attributes, &pluginv1.Attribute{
				Name: "enabled", Doc: "Whether.", Type: &pluginv1.Type{Kind: pluginv1.Kind_KIND_BOOL},
			})
		case "takes_none":
			a.Connectors[1].Takes = nil
		case "empty":
			a.Connectors = nil
		case "wrong_default":
			a.Connectors[1].Schema.Attributes[2].Default = []byte("7")
		}
	case *pluginv1.ConfigureResponse:
		var kept []*pluginv1.Diagnostic
		for _, d := range a.GetDiagnostics() {
			missing, unknown := strings.Contains(d.GetSummary(), "missing"), strings.Contains(d.GetSummary(), "no attribute")
			if f.mode == "no_path" && missing {
				d.Path = nil
			}
			if f.mode != "any_type" || missing || unknown || len(d.GetPath()) == 0 {
				kept = append(kept, d)
			}
		}
		a.Diagnostics = kept
	case *pluginv1.EnrichResponse:
		if f.mode == "answers_less" && len(a.GetAnswers()) > 1 {
			a.Answers = a.GetAnswers()[1:]
		}
	}
	return answer
}

// without takes an attribute out of a JSON object, if it is one.
func without(data []byte, name string) []byte {
	var values map[string]json.RawMessage
	if json.Unmarshal(data, &values) != nil || values[name] == nil {
		return data
	}
	delete(values, name)
	out, _ := json.Marshal(values)
	return out
}

// stream lies in sessions.
func (f *fake) stream(srv any, s grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	return handle(srv, &liar{ServerStream: s, mode: f.mode})
}

type liar struct {
	grpc.ServerStream
	mode string
}

func (l *liar) RecvMsg(into any) error {
	for {
		if err := l.ServerStream.RecvMsg(into); err != nil {
			return err
		}
		r, ok := into.(*pluginv1.DetectRequest)
		if ok && l.mode == "fills_batches" && r.GetStart() != nil {
			r.GetStart().MaxEvents = 0
		}
		if ok && l.mode == "lifeless" && r.GetStart() != nil {
			r.GetStart().Pulse = nil
		}
		if ok && l.mode == "generous" && r.GetCredit() != nil {
			r.GetCredit().Batches += 5
		}
		if ok && l.mode == "never_stops" && r.GetStop() != nil {
			continue
		}
		return nil
	}
}

func (l *liar) SendMsg(message any) error {
	m, ok := message.(*pluginv1.DetectResponse)
	if !ok {
		return l.ServerStream.SendMsg(message)
	}
	if l.mode == "never_ends" && m.GetStatus().GetState() == pluginv1.DetectorState_DETECTOR_STATE_ENDED {
		return nil
	}
	if b := m.GetBatch(); b != nil {
		l.batch(b)
	}
	return l.ServerStream.SendMsg(m)
}

func (l *liar) batch(b *pluginv1.Batch) {
	if n, err := strconv.Atoi(string(b.GetCursor())); err == nil {
		switch l.mode {
		case "cursor_back":
			b.Cursor = []byte("0")
		case "cursor_ahead":
			b.Cursor = []byte(strconv.Itoa(n + 1))
		}
	}
	var kept []*pluginv1.Event
	for _, e := range b.GetEvents() {
		switch l.mode {
		case "cleans":
			e.Raw = bytes.ReplaceAll(e.GetRaw(), []byte(`\u001b`), nil)
		case "ids_of_process":
			e.Id = strconv.Itoa(os.Getpid()) + e.GetId()
		case "new_ids":
			e.Id = "v2-" + e.GetId()
		case "drops_large":
			if len(e.GetRaw()) > 512<<10 {
				continue
			}
		case "cuts_large":
			e.Oversize = nil
		}
		kept = append(kept, e)
	}
	b.Events = kept
}

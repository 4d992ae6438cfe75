package sdk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
)

// healthLimit bounds a health check.
const healthLimit = time.Second

// Server serves a plugin's contract on a gRPC server. Serve makes one; tests that want
// a plugin in their own process use it by itself. Its methods may be called
// concurrently.
type Server struct {
	pluginv1.UnimplementedPluginServiceServer

	description *pluginv1.DescribeResponse
	connectors  []connector
	connection  *body
	http        *http.Client
	log         *slog.Logger
	scrub       *secrets
	turns       turns // of Configure and Close, by instance

	mu        sync.Mutex
	instances map[string]*instance
	closed    bool
	closers   sync.WaitGroup
}

// NewServer makes a Server that logs to the standard error. The error tells what in
// the plugin contradicts itself.
func NewServer(p Plugin) (*Server, error) {
	return newServer(p, newLogHandler(os.Stderr, levelFromEnv(os.Getenv(LogLevelEnv))))
}

func newServer(p Plugin, logs *logHandler) (*Server, error) {
	description, connectors, connection, err := describe(p)
	if err != nil {
		return nil, err
	}
	client, err := NewHTTPClient(HTTPOptions{UserAgent: userAgent(p)})
	if err != nil {
		return nil, err
	}
	return &Server{
		description: description,
		connectors:  connectors,
		connection:  connection,
		http:        client,
		log:         slog.New(logs),
		scrub:       logs.scrub,
		instances:   map[string]*instance{},
	}, nil
}

// Options are what a gRPC server needs to serve this: the limits and the recovery from
// panics.
func (s *Server) Options() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.MaxRecvMsgSize(MaxMessage),
		grpc.MaxSendMsgSize(MaxMessage),
		grpc.ChainUnaryInterceptor(s.recoverUnary),
		grpc.ChainStreamInterceptor(s.recoverStream),
	}
}

// Register adds the services of the kinds of connectors that the plugin has.
func (s *Server) Register(r grpc.ServiceRegistrar) {
	pluginv1.RegisterPluginServiceServer(r, s)
	kinds := map[Kind]bool{}
	for i := range s.connectors {
		kinds[s.connectors[i].Kind] = true
	}
	if kinds[KindDetector] {
		pluginv1.RegisterDetectorServiceServer(r, &detectorServer{server: s, newest: map[string]*running{}})
	}
	if kinds[KindEnrichment] {
		pluginv1.RegisterEnrichmentServiceServer(r, &enrichmentServer{server: s})
	}
	if kinds[KindAction] {
		pluginv1.RegisterActionServiceServer(r, &actionServer{server: s})
	}
}

// Describe answers the same for the life of the process.
func (s *Server) Describe(context.Context, *pluginv1.DescribeRequest) (*pluginv1.DescribeResponse, error) {
	return s.description, nil
}

// Health of an instance, or of the process.
func (s *Server) Health(ctx context.Context, req *pluginv1.HealthRequest) (*pluginv1.HealthResponse, error) {
	if req.GetInstance() == "" {
		return &pluginv1.HealthResponse{Ok: true}, nil
	}
	i, err := s.enter(req.GetInstance())
	if err != nil {
		return nil, err
	}
	defer i.leave()
	checker, ok := i.value.(HealthChecker)
	if !ok {
		return &pluginv1.HealthResponse{Ok: true}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, healthLimit)
	defer cancel()
	trouble := checker.Health(ctx)

	i.mu.Lock()
	defer i.mu.Unlock()
	if trouble == nil {
		i.troubled = time.Time{}
		return &pluginv1.HealthResponse{Ok: true}, nil
	}
	if i.troubled.IsZero() {
		i.troubled = time.Now()
	}
	return &pluginv1.HealthResponse{
		Message: cut(s.scrub.scrub(trouble.Error()), textLimit),
		Since:   timeToProto(i.troubled),
	}, nil
}

// enter counts a call into a configured instance; the caller must leave it. What is in
// the table is not closing, so that a call meets either the older or the newer one
// while an instance is replaced.
func (s *Server) enter(id string) (*instance, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.instances[id]
	if i == nil {
		return nil, inputError(codes.NotFound, fmt.Sprintf("instance %q is not configured in this process", id))
	}
	i.calls.Add(1)
	return i, nil
}

// enterKind is enter for the calls of one kind of connector.
func (s *Server) enterKind(id string, kind Kind) (*instance, error) {
	i, err := s.enter(id)
	if err == nil && i.connector.Kind != kind {
		i.leave()
		return nil, inputError(codes.InvalidArgument, fmt.Sprintf("instance %q is configured as %s, not as %s", id, i.connector.Kind, kind))
	}
	return i, err
}

func (s *Server) recoverUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (out any, err error) {
	defer func() {
		if r := recover(); r != nil {
			logPanic(s.log.With("instance", instanceOf(req)), info.FullMethod, r)
			err = newStatus(codes.Internal, errPanicked.Error(), FaultPlugin, nil)
		}
	}()
	return handle(ctx, req)
}

func (s *Server) recoverStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) (err error) {
	defer func() {
		if r := recover(); r != nil {
			logPanic(s.log, info.FullMethod, r)
			err = newStatus(codes.Internal, errPanicked.Error(), FaultPlugin, nil)
		}
	}()
	return handle(srv, stream)
}

func logPanic(log *slog.Logger, where string, value any) {
	log.Error("panic in the plugin", "where", where, "panic", value, "stack", string(debug.Stack()))
}

func instanceOf(req any) string {
	if r, ok := req.(interface{ GetInstance() string }); ok {
		return r.GetInstance()
	}
	return ""
}

// Shutdown ends all instances: their streams are ended, their calls waited for, each is
// closed. It returns when that has happened or ctx ends. Nothing can be configured
// afterwards.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	defer s.http.CloseIdleConnections()
	for id, i := range s.instances {
		s.closers.Go(i.close)
		delete(s.instances, id)
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() { s.closers.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return errors.New("instances are still closing")
	}
}

// Close ends an instance. Closing one that is not there is no error.
func (s *Server) Close(ctx context.Context, req *pluginv1.CloseRequest) (*pluginv1.CloseResponse, error) {
	id := req.GetInstance()
	release, err := s.turns.take(ctx, id)
	if err != nil {
		return nil, status.FromContextError(err).Err()
	}
	defer release()
	s.mu.Lock()
	i := s.instances[id]
	delete(s.instances, id)
	if i != nil {
		s.closers.Go(i.close)
	}
	s.mu.Unlock()
	if i == nil {
		return &pluginv1.CloseResponse{}, nil
	}
	select {
	case <-i.ended:
		return &pluginv1.CloseResponse{}, nil
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
}

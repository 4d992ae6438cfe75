package main

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/kelpie-sec/kelpie/sdk"
	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
)

// stderr and stdout are the process's own: go-plugin puts others in their place.
var stdout, stderr = os.Stdout, os.Stderr

// ways are the instances by their names in requests.
var ways sync.Map

// serve does what sdk.Serve does, and misbehaves where that would not: the SDK itself
// does not let a plugin break the contract.
func serve(p sdk.Plugin) error {
	server, err := sdk.NewServer(p)
	if err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // it ends when the core is gone
		os.Exit(0)
	}()
	if err := standBetween(); err != nil {
		return err
	}
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig:  sdk.Handshake(),
		VersionedPlugins: map[int]plugin.PluginSet{sdk.ProtocolVersion: {sdk.PluginName: &glue{server: server}}},
		GRPCServer: func(options []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(append(options, server.Options()...),
				grpc.ChainUnaryInterceptor(answer), grpc.ChainStreamInterceptor(report))...)
		},
	})
	return nil
}

// glue makes the server known to go-plugin.
type glue struct {
	plugin.NetRPCUnsupportedPlugin
	server *sdk.Server
}

func (g *glue) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	g.server.Register(s)
	return nil
}

func (g *glue) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.New("the plugin's side has no client")
}

// way of an instance at this call; empty: it is as it should be.
func way(instance string) string {
	if r, ok := ways.Load(instance); ok && r.(*rogue).due() {
		return r.(*rogue).config.Way
	}
	return ""
}

// text of 100 MB.
func text() string { return strings.Repeat("x", 100<<20) }

// answer misbehaves in a call.
func answer(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	var do string
	switch r := req.(type) {
	case *pluginv1.EnrichRequest:
		do = way(r.GetInstance())
	case *pluginv1.ExecuteRequest:
		do = way(r.GetInstance())
	}
	misbehave(do)
	out, err := handle(ctx, req)
	switch a := out.(type) {
	case *pluginv1.EnrichResponse:
		switch do {
		case huge:
			a.Answers[0] = &pluginv1.QuestionAnswer{Answers: []*pluginv1.Answer{{Details: []byte(`"` + text() + `"`)}}}
		case other:
			a.Instance = "another"
		}
	case *pluginv1.ExecuteResponse:
		switch do {
		case huge:
			a.Message = text()
		case other:
			a.Instance = "another"
		}
	}
	return out, err
}

// report misbehaves in a detector's session.
func report(server any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	return handle(server, &session{ServerStream: stream})
}

// session changes what a detector sends.
type session struct {
	grpc.ServerStream
	instance string // by the first message that comes
}

func (s *session) RecvMsg(m any) error {
	err := s.ServerStream.RecvMsg(m)
	if r, ok := m.(*pluginv1.DetectRequest); ok && s.instance == "" {
		s.instance = r.GetInstance()
	}
	return err
}

func (s *session) SendMsg(m any) error {
	r, ok := m.(*pluginv1.DetectResponse)
	if !ok || r.GetBatch() == nil {
		return s.ServerStream.SendMsg(m)
	}
	do := way(s.instance)
	misbehave(do)
	batch := r.GetBatch()
	switch do {
	case huge:
		batch.Events[0].Raw = []byte(`"` + text() + `"`)
	case other:
		r.Instance = "detector.another"
	case flood:
		one := batch.Events[0]
		one.Raw = []byte(`{"pad":"` + strings.Repeat("x", 1000) + `"}`)
		for len(batch.Events) < 512 {
			batch.Events = append(batch.Events, one)
		}
	case unasked:
		for {
			if err := s.ServerStream.SendMsg(m); err != nil {
				return err
			}
			batch.Number++
		}
	}
	return s.ServerStream.SendMsg(m)
}

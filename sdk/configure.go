package sdk

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
)

// Configure makes an instance or, if the new one opens, replaces it. The older one goes
// on with the calls that it has and is then closed.
func (s *Server) Configure(ctx context.Context, req *pluginv1.ConfigureRequest) (*pluginv1.ConfigureResponse, error) {
	id := req.GetInstance()
	if id == "" {
		return nil, inputError(codes.InvalidArgument, "the instance has no name")
	}
	c := s.connector(kindFromProto(req.GetKind()), req.GetConnector())
	if c == nil {
		return nil, inputError(codes.InvalidArgument, fmt.Sprintf("plugin %q has no %s", s.description.GetName(),
			Connector{Kind: kindFromProto(req.GetKind()), Name: req.GetConnector()}.label()))
	}
	release, err := s.turns.take(ctx, id)
	if err != nil {
		return nil, status.FromContextError(err).Err()
	}
	defer release()

	i := newInstance(id, c, s.log.With("instance", id), s.scrub)
	kept := false
	defer func() { // also when the author's code panics
		if !kept {
			i.close()
		}
	}()
	diagnostics := s.open(ctx, i, req)
	if err := ctx.Err(); err != nil { // nobody waits for this instance any more
		return nil, status.FromContextError(err).Err()
	}
	out := &pluginv1.ConfigureResponse{}
	for _, d := range diagnostics {
		out.Diagnostics = append(out.Diagnostics, d.toProto(s.scrub))
	}
	if hasErrors(diagnostics) {
		return out, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, status.Error(codes.Unavailable, "the plugin is ending")
	}
	kept = true
	i.before = s.instances[id]
	s.instances[id] = i
	if i.before != nil {
		s.closers.Go(i.before.close)
	}
	return out, nil
}

// open fills an instance's configuration and opens it.
func (s *Server) open(ctx context.Context, i *instance, req *pluginv1.ConfigureRequest) []Diagnostic {
	config, complaint := parseObject(req.GetConfig())
	if complaint != nil {
		return []Diagnostic{*complaint}
	}
	// The secrets first: no complaint may print one.
	s.scrub.add(i.connector.body.secretValues(config)...)
	diagnostics := i.connector.body.decode(config, i.value.Config())
	diagnostics = append(diagnostics, s.connect(i, req.GetConnection())...)
	if hasErrors(diagnostics) {
		return diagnostics
	}
	if v, ok := i.value.(Validator); ok {
		if diagnostics = append(diagnostics, v.Validate()...); hasErrors(diagnostics) {
			return diagnostics
		}
	}
	if o, ok := i.value.(Opener); ok {
		ctx, cancel := context.WithTimeout(ctx, callLimit)
		defer cancel()
		env := Env{Instance: i.id, Log: i.log, StateDir: req.GetStateDir(), HTTP: s.http}
		if err := o.Open(ctx, env); err != nil {
			diagnostics = append(diagnostics, diagnosticsOf(err)...)
		}
	}
	return diagnostics
}

// connect fills the configuration of the connection.
func (s *Server) connect(i *instance, data []byte) []Diagnostic {
	connected, ok := i.value.(Connected)
	if !ok || s.connection == nil {
		if len(data) > 0 {
			return []Diagnostic{{Summary: i.connector.label() + " takes no connection", Connection: true}}
		}
		return nil
	}
	if len(data) == 0 && slices.ContainsFunc(s.connection.fields, func(f field) bool { return f.required }) {
		return []Diagnostic{{Summary: "a connection is missing: name a connection block of this plugin"}}
	}
	tree, complaint := parseObject(data)
	if complaint != nil {
		complaint.Connection = true
		return []Diagnostic{*complaint}
	}
	s.scrub.add(s.connection.secretValues(tree)...)
	diagnostics := s.connection.decode(tree, connected.ConfigConnection())
	for n := range diagnostics {
		diagnostics[n].Connection = true
	}
	return diagnostics
}

func (s *Server) connector(kind Kind, name string) *connector {
	for n := range s.connectors {
		if c := &s.connectors[n]; c.Kind == kind && c.Name == name {
			return c
		}
	}
	return nil
}

func hasErrors(diagnostics []Diagnostic) bool {
	for _, d := range diagnostics {
		if !d.Warning {
			return true
		}
	}
	return false
}

// diagnosticsOf reads an error of Open: the Diagnostics in it, at least one of them an
// error, since the instance did not open.
func diagnosticsOf(err error) []Diagnostic {
	d := Diagnostic{}
	if !errors.As(err, &d) {
		return []Diagnostic{{Summary: err.Error()}}
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var found []Diagnostic
		for _, e := range joined.Unwrap() {
			found = append(found, diagnosticsOf(e)...)
		}
		return found
	}
	d.Warning = false
	return []Diagnostic{d}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/kelpie-sec/kelpie/core/faulttest/far"
	"github.com/kelpie-sec/kelpie/sdk"
	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
)

// serve does what sdk.Serve does, and falsifies answers on their way out: the SDK
// itself does not let a plugin break the contract.
func serve(p sdk.Plugin) error {
	server, err := sdk.NewServer(p)
	if err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // it ends when the core is gone
		os.Exit(0)
	}()
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig:  sdk.Handshake(),
		VersionedPlugins: map[int]plugin.PluginSet{sdk.ProtocolVersion: {sdk.PluginName: &glue{server: server}}},
		GRPCServer: func(options []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(append(options, server.Options()...), grpc.ChainUnaryInterceptor(falsify))...)
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

// order is the far end's, to lie about the answer of one call.
type order struct {
	lie  far.Lie
	tell func(context.Context) error
}

type orderKey struct{}

// falsify carries out the order that a call got. The far end hears of it at the last
// moment, and only if somebody still waits for the answer.
func falsify(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	o := &order{}
	out, err := handle(context.WithValue(ctx, orderKey{}, o), req)
	answer, ok := out.(*pluginv1.EnrichResponse)
	if err != nil || !ok || o.lie == "" || ctx.Err() != nil {
		return out, err
	}
	switch told, err := falsified(answer, o.lie); {
	case err != nil:
		return nil, err
	case !told:
		return answer, nil
	}
	return answer, o.tell(ctx)
}

// falsified makes a lie of an answer, if there is something in it to lie about.
func falsified(answer *pluginv1.EnrichResponse, lie far.Lie) (told bool, err error) {
	worst := &pluginv1.QuestionAnswer{Answers: []*pluginv1.Answer{{Answer: &pluginv1.Answer_Verdict{
		Verdict: &pluginv1.Verdict{Disposition: pluginv1.Disposition_DISPOSITION_MALICIOUS, Score: 100, Confidence: 100},
	}}}}
	switch all := answer.Answers; lie {
	case far.WrongInstance:
		answer.Instance = "another"
		for i := range all {
			all[i] = worst
		}
	case far.NotAsked:
		answer.Answers = append([]*pluginv1.QuestionAnswer{worst}, all...)
	case far.Twice:
		answer.Answers = append([]*pluginv1.QuestionAnswer{all[0]}, all...)
	case far.LeftOut:
		answer.Answers = all[1:]
	case far.OutOfRange:
		for i := range all {
			all[i] = worst
		}
		worst.Answers[0].GetVerdict().Score = 100_000
	case far.NamesSubjects:
		for _, a := range all {
			if len(a.GetAnswers()) > 0 {
				a.Aliases = append(a.Aliases, &pluginv1.Observable{Kind: sdk.Host, Value: far.Bystander})
				a.Observables = append(a.Observables, &pluginv1.FoundObservable{
					Observable: &pluginv1.Observable{Kind: sdk.Host, Value: far.Bystander},
				})
				told = true
			}
		}
		return told, nil
	default:
		return false, fmt.Errorf("there is no lie %q", lie)
	}
	return true, nil
}

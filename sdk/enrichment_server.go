package sdk

import (
	"context"
	"fmt"

	"google.golang.org/grpc/codes"

	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
)

// enrichmentServer asks the instances of enrichments.
type enrichmentServer struct {
	pluginv1.UnimplementedEnrichmentServiceServer
	server *Server
}

// Enrich answers each question by itself.
func (e *enrichmentServer) Enrich(ctx context.Context, req *pluginv1.EnrichRequest) (*pluginv1.EnrichResponse, error) {
	i, err := e.server.enterKind(req.GetInstance(), KindEnrichment)
	if err != nil {
		return nil, err
	}
	defer i.leave()
	most := max(i.connector.BatchLimit, 1)
	if len(req.GetQuestions()) > most {
		return nil, inputError(codes.InvalidArgument,
			fmt.Sprintf("%d questions in one call; %s takes %d", len(req.GetQuestions()), i.id, most))
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	replies, err := i.value.(Enricher).Enrich(ctx, questionsFromProto(req.GetQuestions()))
	if err != nil {
		return nil, statusOf(ctx, err, i.scrub)
	}
	if len(replies) != len(req.GetQuestions()) {
		return nil, newStatus(codes.Internal,
			fmt.Sprintf("the plugin gave %d replies to %d questions", len(replies), len(req.GetQuestions())), FaultPlugin, nil)
	}
	return repliesToProto(i, replies), nil
}

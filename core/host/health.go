package host

import (
	"context"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
)

// checkHealth asks the process and each instance how they are. An error means that
// something did not answer too often.
func (s *supervisor) checkHealth(ctx context.Context, p *process, missed map[string]int) error {
	t := s.launch.timing
	ctx, cancel := context.WithTimeout(ctx, t.HealthTimeout)
	defer cancel()
	members := s.members()
	answers := make([]error, 1+len(members)) // the process's own, then theirs
	var asking sync.WaitGroup
	asking.Go(func() {
		_, err := p.api.Health(ctx, &pluginv1.HealthRequest{})
		answers[0] = unanswered(err)
	})
	for n, i := range members {
		asking.Go(func() { answers[1+n] = i.checkHealth(ctx, p) })
	}
	asking.Wait()
	for n, err := range answers {
		who, address := "it", ""
		if n > 0 {
			address = members[n-1].name
			who = "its instance " + members[n-1].Address
		}
		if err == nil {
			delete(missed, address)
			continue
		}
		if missed[address]++; missed[address] >= t.HealthMisses {
			return fmt.Errorf("%s did not answer within %s, %d times in a row", who, t.HealthTimeout, t.HealthMisses)
		}
	}
	return nil
}

// checkHealth asks one instance. That it says it is in trouble is no error.
func (i *instance) checkHealth(ctx context.Context, p *process) error {
	i.owner.mu.Lock()
	running := i.state == Running
	i.owner.mu.Unlock()
	if !running {
		return nil
	}
	answer, err := p.api.Health(ctx, &pluginv1.HealthRequest{Instance: i.name})
	if err := unanswered(err); err != nil {
		return err
	}
	trouble := ""
	switch {
	case err != nil:
		trouble = "its health cannot be told: " + i.scrub.message(status.Convert(err).Message())
	case !answer.GetOk():
		if trouble = i.scrub.message(answer.GetMessage()); trouble == "" {
			trouble = "it says that it cannot work, and not why"
		}
	}
	if l := i.owner.launch; l.denied(trouble) {
		trouble = l.hinted(trouble)
	}
	i.owner.mu.Lock()
	defer i.owner.mu.Unlock()
	if i.state == Running && trouble != i.trouble {
		i.trouble, i.since = trouble, time.Now()
	}
	return nil
}

// unanswered keeps the errors that mean that nobody answered: who answers with an
// error lives.
func unanswered(err error) error {
	switch status.Code(err) {
	case codes.DeadlineExceeded, codes.Unavailable, codes.Canceled:
		return err
	}
	return nil
}

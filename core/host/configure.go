package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk/pluginv1"
)

// configureAll gives the process its instances. An error means that it did not live
// through that.
func (s *supervisor) configureAll(ctx context.Context, p *process) error {
	s.mu.Lock()
	s.alive, s.about = p, p.about
	s.mu.Unlock()
	found := s.configure(ctx, p, s.members())
	if p.endsWithin(0) {
		s.end(p, 0)
		return fmt.Errorf("it ended while it was configured: %s", p.runner.exitReason())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.diagnostics = found
	return nil
}

// configureRefused tries again those that were refused: what they lacked may be there.
func (s *supervisor) configureRefused(ctx context.Context, p *process) {
	s.mu.Lock()
	refused := slices.DeleteFunc(slices.Clone(s.instances), func(i *instance) bool { return i.state != Failed })
	s.mu.Unlock()
	if len(refused) == 0 {
		return
	}
	s.configure(ctx, p, refused)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.announce()
}

// configure several instances at once: one that is slow holds up only itself.
func (s *supervisor) configure(ctx context.Context, p *process, instances []*instance) []Diagnostic {
	var configuring sync.WaitGroup
	var all []Diagnostic
	for _, i := range instances {
		configuring.Go(func() {
			found := i.configure(ctx, p, s.stateDir, s.launch.timing.Configure)
			found = append(s.launch.explainConfinement(found), i.outside(s.launch, p.about)...)
			s.mu.Lock()
			defer s.mu.Unlock()
			all = append(all, found...)
			i.settle(found)
		})
	}
	configuring.Wait()
	return all
}

// maxDiagnostics of one instance are shown.
const maxDiagnostics = 100

// configure gives the process this instance, and returns the plugin's complaints.
func (i *instance) configure(ctx context.Context, p *process, stateDir string, timeout time.Duration) []Diagnostic {
	complain := func(summary, detail string) []Diagnostic {
		return []Diagnostic{{Instance: i.Address, Summary: summary, Detail: detail}}
	}
	if err := i.offered(p.about); err != nil {
		return complain("the plugin does not offer this", err.Error())
	}
	state := i.folder(stateDir)
	if err := os.MkdirAll(state, 0o700); err != nil {
		return complain("its folder cannot be made", err.Error())
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	answer, err := p.api.Configure(ctx, &pluginv1.ConfigureRequest{
		Instance: i.name, Kind: kindProto(i.Kind), Connector: i.Connector,
		Config: i.Config, Connection: i.Connection, StateDir: state,
	})
	if err != nil {
		return complain("the plugin cannot be given its configuration", i.reason(i.explain(ctx, p, err)))
	}
	var found []Diagnostic
	for n, d := range answer.GetDiagnostics() {
		if n == maxDiagnostics {
			break
		}
		found = append(found, Diagnostic{
			Instance: i.Address, Path: i.scrub.texts(d.GetPath()), Connection: d.GetConnection(),
			Summary: i.scrub.message(d.GetSummary()), Detail: i.scrub.message(d.GetDetail()),
			Warning: d.GetSeverity() == pluginv1.Severity_SEVERITY_WARNING,
		})
	}
	return found
}

// reason of an error without the instance's name before it.
func (i *instance) reason(err error) string {
	if e := (*Error)(nil); errors.As(err, &e) {
		return e.Message
	}
	return i.scrub.message(err.Error())
}

// offered looks for the instance's connector.
func (i *instance) offered(about model.Plugin) error {
	var names []string
	for _, c := range about.Connectors {
		if c.Kind != i.Kind {
			continue
		}
		if c.Name == i.Connector {
			return nil
		}
		names = append(names, fmt.Sprintf("%q", c.Name))
	}
	if len(names) == 0 {
		return fmt.Errorf("plugin %q has no %s", about.Name, i.Kind)
	}
	return fmt.Errorf("plugin %q has no %s %q; it has %s", about.Name, i.Kind, i.Connector, names)
}

// settle keeps what Configure came to. The caller holds owner.mu.
func (i *instance) settle(found []Diagnostic) {
	if i.state == Stopped {
		return // it has left meanwhile
	}
	state, trouble := Running, ""
	for _, d := range found {
		if !d.Warning {
			state, trouble = Failed, d.Summary
			if d.Detail != "" {
				trouble += ": " + d.Detail
			}
			break
		}
	}
	if state == i.state && trouble == i.trouble {
		return
	}
	i.state, i.trouble, i.since = state, trouble, time.Now()
	if state == Failed {
		i.owner.log.Error("plugin refuses the configuration", "instance", i.Address, "error", trouble)
	}
}

//go:build linux

package faulttest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// askPatience bounds a question to the core, which may be stopped.
const askPatience = 500 * time.Millisecond

// World is a folder in which the real program runs, and everything around it: feeds
// that grow, what is behind enrichments and actions, a mail server. All of it is made
// from a seed. It is for one goroutine.
type World struct {
	Seed  uint64
	Feeds []Feed
	Far   *FarEnd

	dir  string
	p    Programs
	core *Core
	api  *http.Client
	sink *exec.Cmd

	gate    *gate
	starts  int
	groups  int
	counted map[string]int  // by source, when the core last answered
	ration  int             // events that the present step may still offer
	clock   time.Duration   // how far the core's clock is ahead of the machine's
	ahead   time.Duration   // the farthest that it ever was
	moved   bool            // it was set in this life of the machine
	lives   int             // restarts of the machine
	doubts  []time.Duration // uptimes of those before which it was set
}

// NewWorld makes a world in an empty folder, whose feeds have offered nothing yet.
func NewWorld(p Programs, dir string, seed uint64) (*World, error) {
	r := stream(seed, "world")
	groups := 20 + r.IntN(30)
	w := &World{Seed: seed, dir: dir, p: p, groups: groups, gate: &gate{}, counted: map[string]int{}}
	w.Feeds = []Feed{
		newFileFeed("grows", stream(seed, "grows"), 1000+r.IntN(1000), groups),
		newScriptFeed("plays", stream(seed, "plays"), 600+r.IntN(600), groups, 0),
		newScriptFeed("repeats", stream(seed, "repeats"), 300+r.IntN(300), groups, 1+r.IntN(8)),
		newDoorFile("front", stream(seed, "front"), 300+r.IntN(300), w.gate),
		newDoorScript("back", stream(seed, "back"), 300+r.IntN(300), 1+r.IntN(8), w.gate),
	}
	w.Feeds = append(w.Feeds, newLiars(seed)...)
	w.api = dialAPI(w.path("data/kelpie.sock"))
	var err error
	if w.Far, err = newFarEnd(seed, dir); err != nil {
		return nil, err
	}
	if err := w.startSink(); err != nil {
		return w, err
	}
	for name, text := range map[string]string{"config.hcl": w.configuration(firstVariant), "clock": strings.Repeat("\x00", 24)} {
		if err := os.WriteFile(w.path(name), []byte(text), 0o600); err != nil {
			return w, err
		}
	}
	if err := w.fenceScript(); err != nil {
		return w, err
	}
	if err := w.writePack(); err != nil {
		return w, err
	}
	if err := w.Offer(0); err != nil {
		return w, err
	}
	_, err = w.kelpie("plugin", "lock", "--plugin-dir", p.Plugins)
	return w, err
}

// Close ends all that still runs.
func (w *World) Close() error {
	if w.core != nil && w.alive() == nil {
		w.core.cmd.Process.Kill()
		<-w.core.ended
	}
	if w.sink != nil && w.sink.Process != nil {
		w.sink.Process.Kill()
		_ = w.sink.Wait() // it was killed, and says so
	}
	return w.Far.close()
}

func (w *World) path(name string) string { return filepath.Join(w.dir, name) }

// actThreshold is the severity from which a case is acted on; weighThreshold the score
// from which a ticket is opened about it.
const (
	actThreshold   = 50
	weighThreshold = 80
)

// configuration is short of patience, so that a run sees the end of it.
func (w *World) configuration(v variant) string {
	var b, from strings.Builder
	shared := `"user:` + user(0)
	for u := range users - 1 {
		shared += `", "user:` + user(u+1)
	}
	shared += `"`
	for i, f := range w.Feeds {
		switch {
		case isDoor(f):
		case i > 0:
			from.WriteString(", ")
			fallthrough
		default:
			from.WriteString("detector." + f.Name())
		}
		b.WriteString(f.Block(w.dir, v) + "\n")
	}
	fmt.Fprintf(&b, `
kelpie {
  actions    = "on"
  plugin_dir = %[1]q
}

case {
  lateness   = "1h"
  never_join = [%[7]s]
}

pipeline "alerts" {
  from    = [%[2]s]
  when    = event.raw.kind != "flow"
  alerts  = true
  respond = [response.act, response.weigh, response.contain]

  map {
    title      = event.raw.title
    time       = event.raw.time
    severity   = event.raw.severity
    subjects   = { host = event.raw.hosts, user = event.raw.users }
    indicators = { ip = event.raw.from }
  }
}

ignore "noise" {
  on      = [pipeline.alerts]
  when    = event.raw.kind == "noise"
  owner   = "soc"
  reason  = "it is known"
  expires = "2099-01-01"
}

enrichment "lookup" "honest" {
  socket   = %[3]q
  source   = "enrichment.honest"
  takes    = ["ip"]
  timeout  = "1s"
  patience = "3s"
}

enrichment "lookup" "wild" {
  socket    = %[3]q
  source    = "enrichment.wild"
  takes     = ["ip"]
  timeout   = "1s"
  patience  = "%[8]ds"
  isolation = "own"
}

score {
  factor "threat" {
    weight  = 1
    combine = "max"

    evidence "severity" {
      points  = case.severity
      because = "reported at ${case.severity}"
    }
    evidence "verdicts" {
      for_each = case.verdicts
      points   = each.value.score
      because  = "${each.value.source} says so"
    }
  }
}

response "act" {
  when = case.severity >= %[4]d

  step "scan" {
    do      = action.edr.scan_host
    targets = case.hosts
  }
  step "collect" {
    do      = action.edr.collect
    targets = case.hosts
  }
  step "tell" {
    do = action.desk.notify
    to = "soc@example.org"
  }
  step "mail" {
    do = action.mail.notify
    to = "soc@example.org"
  }
}

response "weigh" {
  when = case.score.total >= %[5]d

  step "ticket" {
    do      = action.desk.ticket
    targets = case.hosts
  }
}

action "vendor" "edr" {
  socket    = %[3]q
  timeout   = "%[9]dms"
  isolation = "own"
}

action "vendor" "desk" {
  socket    = %[3]q
  env       = { PROCESS = "%[10]d" }
  timeout   = "1500ms"
  isolation = "own"
}

action "email" "mail" {
  server  = "smtp://%[6]s"
  from    = "kelpie@example.org"
  timeout = "3s"
}
`, w.p.Plugins, from.String(), w.Far.socket, actThreshold, weighThreshold, w.sinkAddress(), shared, v.patience, v.timeout, v.process)
	return b.String() + w.fenceBlocks() + ruleBlocks()
}

// Offer lets the plugins see about n more events, of all feeds in proportion.
func (w *World) Offer(n int) error {
	left := w.Left()
	w.lookAtTable()
	for _, f := range w.Feeds {
		share := len(f.Events()) - f.Offered()
		if left > 0 {
			share = (share*n + left - 1) / left
		}
		if err := f.Offer(w.dir, share); err != nil {
			return err
		}
	}
	return nil
}

// Drip offers about n more events, as far as the present step's ration reaches.
func (w *World) Drip(n int) error {
	n = min(n, w.ration)
	if n <= 0 {
		return nil
	}
	before := w.Left()
	err := w.Offer(n)
	w.ration -= before - w.Left()
	return err
}

// Left is how many events are still to be offered.
func (w *World) Left() int {
	n := 0
	for _, f := range w.Feeds {
		n += len(f.Events()) - f.Offered()
	}
	return n
}

// Until waits for a condition.
func (w *World) Until(what string, ok func() (bool, error)) error {
	return w.within(patience, what, ok)
}

func (w *World) within(limit time.Duration, what string, ok func() (bool, error)) error {
	deadline := time.Now().Add(limit)
	for {
		done, err := ok()
		if done || err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("waited %s for %s: %w", limit, what, errPatience)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// errPatience means that a condition did not come true.
var errPatience = errors.New("it did not come")

// pick gives one of some.
func pick[T any](r *rand.Rand, all []T) T { return all[r.IntN(len(all))] }

func (w *World) startSink() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		return err
	}
	w.sink = exec.Command(w.p.Sink, "-addr", address, "-maildir", w.path("mail"))
	w.sink.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := w.sink.Start(); err != nil {
		return err
	}
	return w.Until("the mail server", func() (bool, error) {
		c, err := net.Dial("tcp", address)
		if err != nil {
			return false, nil
		}
		return true, c.Close()
	})
}

func (w *World) sinkAddress() string { return w.sink.Args[2] }

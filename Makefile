# Everything here needs Go and nothing else; what else a target uses, it says.

GO      ?= go
BIN     := bin
PLUGINS := $(patsubst plugins/%/main.go,%,$(wildcard plugins/*/main.go))
CONFIG  ?= config.hcl.example

GOFUMPT     := mvdan.cc/gofumpt@v0.12.0
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
BUF         := github.com/bufbuild/buf/cmd/buf@v1.75.0

.PHONY: build kelpie run test test-race lint generate generate-check contract docs screenshots bench bounds misbehaving torture torture-disk story clean

## build: the program and all plugins, their lock and schemas, into bin/
build: kelpie $(addprefix plugin-,$(PLUGINS))
	$(BIN)/kelpie plugin lock --plugin-dir $(BIN)/plugins

kelpie:
	$(GO) build -o $(BIN)/kelpie ./core/cmd/kelpie

plugin-%:
	$(GO) build -o $(BIN)/plugins/$* ./plugins/$*

## run: the quickstart: real recordings in, cases out
run:
	@GO="$(GO)" CONFIG="$(CONFIG)" examples/quickstart/run.sh

## test: all tests, of both modules
test:
	$(GO) test ./...
	cd sdk && $(GO) test ./...

## test-race: the same, looking for data races
test-race:
	$(GO) test -race ./...
	cd sdk && $(GO) test -race ./...

## lint: formatting, vet, staticcheck, and the contract's own rules
lint:
	@out="$$($(GO) run $(GOFUMPT) -l . )"; test -z "$$out" || { echo "not formatted (run gofumpt -w):"; echo "$$out"; exit 1; }
	$(GO) vet ./...
	$(GO) vet -tags kelpiefault ./...
	cd sdk && $(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...
	cd sdk && $(GO) run $(STATICCHECK) ./...
	GOOS=darwin GOARCH=arm64 $(GO) build ./...
	cd sdk && GOOS=windows $(GO) build ./...

## generate: the contract's Go code, from sdk/proto
generate:
	cd sdk/proto && $(GO) run $(BUF) lint && $(GO) run $(BUF) generate

## generate-check: that what is committed is what generate makes
generate-check: generate
	git diff --exit-code -- sdk/pluginv1

## contract: that it only grows: what releases/held names can still talk to today's core
contract: generate-check
	@for commit in $$(grep -v '^#' releases/held | cut -d ' ' -f 1); do \
		git cat-file -e $$commit || { echo "$$commit is not in this clone, and is not held"; continue; }; \
		rm -rf $(BIN)/held && mkdir -p $(BIN)/held && git archive $$commit sdk/proto | tar -x -C $(BIN)/held && \
		$(GO) run $(BUF) breaking sdk/proto --against $(BIN)/held/sdk/proto && echo "$$commit: the contract only grew" || exit 1; \
	done

## docs: the pages that are made from what the programs say of themselves: docs/reference.md,
## docs/expressions.md and docs/connectors
docs:
	$(GO) generate ./docs

## screenshots: the sample mails as pictures, into docs/mail; needs Chromium
screenshots:
	plugins/email/screenshots.sh $(abspath docs/mail)

## bench: events and signals a second, latency, memory; see docs/performance.md
bench:
	$(GO) test -run '^$$' -bench . -skip 'Bound|Start' -benchtime 3x -timeout 30m ./core/faulttest
	$(GO) test -run '^$$' -bench . ./core/match ./core/model ./core/rehearsal

## bounds: the core's memory under what it can't work off, a minute each; fails beyond its
## bound. And the start after a kill with a million signals, which take a while, and 10 GB
bounds:
	$(GO) test -run '^$$' -bench 'Bound|Start' -benchtime 1x -timeout 90m ./core/faulttest

## misbehaving: honest work beside plugins that crash, hang, leak, flood and lie, ten seconds
## for each, in turns with honest work alone; JSON=file
misbehaving:
	$(GO) test -count 1 -timeout 60m -v -run '^TestMisbehaving$$' ./core/faulttest -args -long $(if $(JSON),-json $(abspath $(JSON)))

## torture: the fault harness: aimed kills, then SEEDS random schedules (100), several
## worlds at once (WORLDS, 5); SEED=n runs one of them again, SHORT=1 a few; JSON=file
torture:
	$(GO) test -count 1 -timeout 120m -v -run '^TestTorture$$' ./core/faulttest -args -torture \
		$(if $(SHORT),-hits 1 -seeds 3) $(if $(SEEDS),-seeds $(SEEDS)) $(if $(SEED),-seed $(SEED)) \
		$(if $(WORLDS),-worlds $(WORLDS)) $(if $(JSON),-json $(abspath $(JSON)))

## torture-disk: worlds whose disk loses its power, is full, or fails; needs FUSE; SEEDS=8 as a rule
torture-disk:
	$(GO) test -count 1 -timeout 60m -v -run TestDisks ./core/faulttest -args -torture -seeds $(or $(SEEDS),8) $(if $(SEED),-seed $(SEED))

## story: one story from the alert to the ignore, with Postfix and Dovecot, which it
## installs where they are missing; as root, on Debian and its like
story:
	@test -x /usr/sbin/postfix -a -x /usr/lib/dovecot/imap || \
		{ apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends postfix dovecot-imapd; }
	$(GO) test -count 1 -timeout 20m -v -run TestStory ./core/storytest

clean:
	rm -rf $(BIN) data

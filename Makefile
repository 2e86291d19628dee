# Needs Go, make and git. PostgreSQL and RabbitMQ are installed where they are missing.

PACKAGES ?= ./...
ARGS     ?=
SEED     ?= 1
FUZZTIME ?= 10s

dev      := .local/bin/dev
gofumpt  := go tool -modfile=.ci/tools.mod gofumpt

.DEFAULT_GOAL := help
.PHONY: help run test test-cluster bench torture fuzz lint verify reset $(dev)

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(dev) ## everything on this machine, until Ctrl-C
	@$(dev) run

test: $(dev) ## all tests with -race, against servers of their own (PACKAGES=./store/... ARGS='-run Pay -v')
	@$(dev) exec -data test -fresh -management -tools -- go test -race -timeout 15m $(ARGS) $(PACKAGES)

bench: $(dev) ## settled commands per second, against servers of its own (ARGS=...)
	@go build -trimpath -tags=nomsgpack -ldflags="-s -w" -o .local/bin/ ./cmd/...
	@$(dev) exec -data bench -fresh -- .local/bin/quittance bench $(ARGS)

torture: $(dev) ## kills everything at random while money moves, then checks the books (SEED=1)
	@$(dev) exec -data torture -fresh -- env SEED=$(SEED) go test -count=1 -timeout 30m -v -run Torture ./cmd/dev

test-cluster: $(dev) ## three RabbitMQ nodes, a primary and its standby: whoever leads is killed under load
	@$(dev) exec -data cluster -fresh -- go test -tags=cluster -count=1 -timeout 15m -v -run Cluster $(ARGS) ./cmd/dev

fuzz: ## each fuzz target for a while (FUZZTIME=10s)
	@.ci/fuzz $(FUZZTIME)

lint: verify ## what finds bugs without running anything
	go tool -modfile=.ci/tools.mod staticcheck ./...
	@.ci/vulnerabilities

verify: ## formatting, go.mod, go vet
	@unformatted=$$($(gofumpt) -l .) && test -z "$$unformatted" || { echo "gofumpt would change: $$unformatted"; exit 1; }
	go mod tidy -diff
	go vet ./...
	go vet -tags=cluster ./cmd/dev

reset: $(dev) ## deletes .local, with all data
	@$(dev) reset

$(dev):
	@go build -trimpath -o $@ ./cmd/dev

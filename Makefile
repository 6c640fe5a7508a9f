# `make` lists the targets. Only Go is needed for build, demo, test and fuzz; race wants a C compiler,
# and the lab's targets Debian 12 and root.

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
COMMIT := $(shell git rev-parse HEAD 2>/dev/null)
LINT_VERSION := v2.15.0
GOLANGCI_LINT := $(CURDIR)/.cache/golangci-lint-$(LINT_VERSION)/golangci-lint
FUZZTIME ?= 10s
export FARSHORE_LAB_STATE ?= /var/tmp/farshore-lab
# The suites share one lab and take regions of it away: one package after the other.
LAB_TAGS := integration
LAB_TEST = FARSHORE_LAB_CLOUDS=$(FARSHORE_LAB_STATE)/clouds.yaml go test -tags $(LAB_TAGS) -count=1 -p 1

.PHONY: help build demo test race lint fuzz integration lab-full soak bench lab-up lab-down man deb clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## compile bin/farshore
	go build -trimpath -ldflags '-X main.version=$(VERSION) -X main.commit=$(COMMIT)' -o bin/farshore ./cmd/farshore

demo: build ## emulated regions in one process: replicate, break, audit, repair, in front of your eyes
	bin/farshore demo

test: ## the quick tests
	go test ./...

race: ## the same under the race detector
	go test -race -timeout 18m ./...

lint: $(GOLANGCI_LINT) ## golangci-lint, and the proof that its rules can fail
	$(GOLANGCI_LINT) run ./...
	GOLANGCI_LINT=$(GOLANGCI_LINT) go test -tags lint -count=1 ./integration/lint

$(GOLANGCI_LINT):
	GOBIN=$(@D) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)

# By default an input that reaches new code is made smaller for a minute: some targets would run nothing else.
fuzz: ## every fuzz test for FUZZTIME (10s) each
	@find . -name '*_test.go' -not -path './.*' -exec grep -HoE '^func Fuzz[A-Za-z0-9_]+' {} + | sort | \
	awk -F ':func ' '{sub("/[^/]*$$", "", $$1); print $$1, $$2; n++} END {if (!n) print "(no-fuzz-tests-found)", "-"}' | \
	while read -r pkg name; do \
		echo "fuzz $$pkg $$name"; \
		go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1s "$$pkg" || exit 1; \
	done

# The suite of block storage takes minutes of backups and restores: lab-full has it.
integration: lab-up ## the suites on real OpenStack regions (starts the lab and leaves it up)
	$(LAB_TEST) -timeout 30m ./integration/... ./transport ./transport/region ./transport/swift

# What they measure is in their output: bytes sent twice, seeds, requests, times.
lab-full: SHELL := /bin/bash
# The emulator is held against the real Swift and Cinder as well.
lab-full: LAB_TAGS := integration,lab
lab-full: lab-up ## the same with the full numbers of objects, bytes, kills and scripts: some hours
	set -o pipefail; FARSHORE_CRASH_STEPS=400 go test -count=1 -v -p 1 -timeout 2h -run 'Crash|Killed' ./replicator ./replicator/volumes | grep -v '^=== '
	set -o pipefail; FARSHORE_SCALE=full $(LAB_TEST) -v -timeout 3h ./integration/... ./transport/... | grep -v '^=== '

# Its result is written down where FARSHORE_SOAK_OUT says.
soak: lab-up ## farshore run for half an hour (FARSHORE_SOAK=30m) of kills, outages and writers, with an observer
	FARSHORE_SOAK=$${FARSHORE_SOAK:-30m} FARSHORE_SOAK_OUT=$${FARSHORE_SOAK_OUT-$(CURDIR)/docs} $(LAB_TEST) -v -timeout 3h -run '^TestSoak$$' ./integration

bench: ## the numbers, as ratios to rclone and to the floor
	go run ./integration/bench

lab-up: ## bring the lab up (see integration/lab/README.md)
	integration/lab/up

lab-down: ## stop the lab; its state stays
	integration/lab/down

man: build ## the manual pages, in bin/man
	bin/farshore man bin/man

deb: ## a Debian package, in bin (needs dpkg-deb)
	cmd/farshore/deploy/debian/build bin

clean: ## remove what build and lint made
	rm -rf bin .cache

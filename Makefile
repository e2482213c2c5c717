SHELL := /bin/bash
GO ?= go
TOOL := $(GO) tool -modfile=tools/go.mod
T ?= 30s
FUZZ_BUDGET ?= 300
MUTATIONS ?= 200000
FAULT_ROUNDS ?= 10
BASE ?= bench/baseline.txt
OUT ?= bench/new.txt

.DEFAULT_GOAL := help
.PHONY: help all build setup test unit interop fuzz-short test-long fuzz bench bench-cmp bench-compare lint fmt fix tidy api cover clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

all: lint test ## lint and test

build: ## build bin/sockeye
	$(GO) build -o bin/sockeye ./cmd/sockeye

setup: ## install what the tests need: npm packages, redis-server, chromium, a C compiler
	@scripts/setup.sh

test: setup ## unit tests with the race detector, interop, a few seconds of each fuzz target; at most 12 min on 2 cores
	$(MAKE) --no-print-directory unit
	$(MAKE) --no-print-directory interop
	$(MAKE) --no-print-directory fuzz-short
	@scripts/setup.sh missing

unit: ## unit tests with the race detector, fuzz seeds included
	$(GO) test -race -shuffle=on -timeout 8m $$($(GO) list ./... | grep -v /interop)

interop: setup ## official JavaScript clients, servers and browser against ours
	$(GO) test -count=1 -timeout 8m ./interop/...

fuzz-short: ## every fuzz target for 10 s, less where FUZZ_BUDGET seconds do not suffice
	@scripts/fuzz.sh 10s $(FUZZ_BUDGET)

fuzz: ## every fuzz target for T=30s
	@scripts/fuzz.sh $(T)

test-long: setup ## everything, three times over, campaigns of mutated messages (MUTATIONS) and of faults (FAULT_ROUNDS), long fuzzing
	SOCKEYE_MUTATIONS=$(MUTATIONS) $(GO) test -race -shuffle=on -count=3 -timeout 60m $$($(GO) list ./... | grep -v /interop/faults)
	FAULT_ROUNDS=$(FAULT_ROUNDS) $(GO) test -race -count=1 -timeout 120m ./interop/faults
	@scripts/fuzz.sh 5m

bench: ## Go benchmarks, ten runs, into OUT=bench/new.txt
	$(GO) test -run '^$$' -bench . -benchmem -count=10 -timeout 60m ./... | tee $(OUT)

bench-cmp: ## compare OUT with BASE=bench/baseline.txt, which `make bench OUT=bench/baseline.txt` has written before the change
	$(TOOL) benchstat $(BASE) $(OUT)

bench-compare: setup ## load tests of the server beside a raw loop and official Node, on an idle Linux machine
	$(GO) run ./bench/compare

lint: ## golangci-lint, go vet, formatting, modernizers, go.mod and API listing up to date
	@scripts/lint.sh

fmt: ## format the Go code
	$(TOOL) golangci-lint fmt

fix: ## apply the modernizers of go fix
	$(GO) fix ./...

tidy: ## tidy go.mod and tools/go.mod
	$(GO) mod tidy
	cd tools && $(GO) mod tidy

api: ## write the exported API of the public packages to api/
	@scripts/api.sh api

cover: ## coverage of the unit tests, as coverage.html
	$(GO) test -coverprofile=coverage.out -coverpkg=./... $$($(GO) list ./... | grep -v /interop)
	$(GO) tool cover -html=coverage.out -o coverage.html

clean: ## remove what the other targets made
	rm -rf bin coverage.* bench/new.txt web/node_modules interop/node/node_modules

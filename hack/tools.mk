# External programs in $(BIN), as tools/versions.toml pins them. Included by the Makefile, which may set BIN and PYTHON.

BIN ?= bin
PYTHON ?= python3

TOOLS = $(PYTHON) hack/tools.py --bin $(BIN)
TOOL_FILES = $(addprefix $(BIN)/,etcd kube-apiserver core-manager kubectl manifests clusterctl kind kind-previous)

##@ External programs

.PHONY: tools tools-test tools-list $(TOOL_FILES)

tools: ## Install every external program into bin/ (verified download, or a build with Go)
	@$(TOOLS) all

tools-test: ## Install only what `make test` needs
	@$(TOOLS) test

tools-list: ## List the external programs, and which of them are installed
	@$(TOOLS) --list

# Always run, because file times do not show whether a program has the pinned version.
$(TOOL_FILES): $(BIN)/%:
	@$(TOOLS) $*

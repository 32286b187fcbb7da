# External programs in $(BIN), as tools/versions.toml pins them. Included by the Makefile, which may set BIN and PYTHON.

BIN ?= bin
PYTHON ?= python3

TOOLS = $(PYTHON) hack/tools.py --bin $(BIN)
TOOL_FILES = $(addprefix $(BIN)/,etcd kube-apiserver core-manager kubectl manifests clusterctl kind kind-previous)

.PHONY: tools tools-test tools-list $(TOOL_FILES)

tools: ## Bring every external program into bin/ (downloaded and verified, or built with Go)
	@$(TOOLS) all

tools-test: ## Bring only what `make test` needs into bin/
	@$(TOOLS) test

tools-list: ## Tell which external programs are wanted and which are there
	@$(TOOLS) --list

# Always asked, because the script knows better than file times whether a program is the pinned one.
$(TOOL_FILES): $(BIN)/%:
	@$(TOOLS) $*

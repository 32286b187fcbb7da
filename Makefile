# `make` without a target prints the help.
SHELL := /bin/bash
.DEFAULT_GOAL := help

BIN := bin
VENV := .venv
PYTHON ?= python3
export PATH := $(CURDIR)/$(VENV)/bin:$(CURDIR)/$(BIN):$(PATH)
# Set in many containers. Without bytecode, each start of Python or pytest compiles its modules again.
unexport PYTHONDONTWRITEBYTECODE

-include hack/tools.mk hack/docs.mk hack/release.mk hack/chaos.mk hack/autoscaler.mk hack/oldercore.mk hack/bench.mk

##@ Start here

.PHONY: help
help: ## Show this text
	@if [ -t 1 ]; then bold='\033[1m' cyan='\033[36m' off='\033[0m'; fi; \
	  awk -v bold="$$bold" -v cyan="$$cyan" -v off="$$off" 'BEGIN {FS = ":.*## "} \
	    /^##@/ {printf "\n%s%s%s\n", bold, substr($$0, 5), off} \
	    /^[a-z0-9-]+:.*## / {printf "  %s%-20s%s %s\n", cyan, $$1, off, $$2}' $(MAKEFILE_LIST)

.PHONY: quickstart
quickstart: venv tools-test $(BIN)/clusterctl ## Install everything and create a first workload cluster
	@python -m hack.quickstart up

.PHONY: quickstart-down
quickstart-down: venv ## Remove everything that the quickstart created
	@python -m hack.quickstart down

# For API servers of tests: a seventh less processor time, for 300 MB each.
FEWER_COLLECTIONS = GOGC=400

.PHONY: test
test: venv lint tools ## Run all local tests (six minutes; no container engine needed)
	@$(MAKE) --no-print-directory test-unit
	@# Whatever is left goes to the worker that has nothing to do: one test of the lives is as long as a hundred others.
	pytest -q -n 2 --dist worksteal test/simulation test/provider test/capkdev
	@# Five processes on two cores, because they often wait; in this order, so that no long file comes last.
	$(FEWER_COLLECTIONS) pytest -q -n 5 --dist loadfile --no-loadscope-reorder test/contract test/integration test/packaging test/hack -m "not e2e" --ignore=test/integration/docs

##@ Run the provider against the current kubeconfig

.PHONY: install
install: venv $(BIN)/kubectl ## Install the CRDs
	kubectl apply --server-side -k config/crd

.PHONY: uninstall
uninstall: $(BIN)/kubectl ## Remove the CRDs, and with them every object of these kinds; delete the Clusters first
	kubectl delete --ignore-not-found -k config/crd

.PHONY: run
run: venv ## Run the provider in the foreground; options in ARGS
	@# With leader election: a second provider would undo what the first one does.
	capk run --leader-elect $(ARGS)

##@ Test

.PHONY: test-unit
test-unit: venv ## Run the unit tests (a quarter of a minute)
	@# Two processes with a half each: each process of pytest-xdist loads and collects all tests, and reports to a third one.
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target test-unit-apart test-unit-others

# About half of the time of all unit tests. What is not named here is in the other half.
UNIT_APART := $(addprefix test/unit/,engine kube workload)

.PHONY: test-unit-apart test-unit-others
test-unit-apart:
	pytest -q $(UNIT_APART)
test-unit-others:
	pytest -q test/unit $(addprefix --ignore=,$(UNIT_APART))

.PHONY: test-integration
test-integration: venv tools ## Run the provider against a real API server and Cluster API's core; tests in TESTS
	$(FEWER_COLLECTIONS) pytest -q $(or $(TESTS),test/contract test/integration --ignore=test/integration/docs) -m "not e2e"

.PHONY: test-docs
test-docs: venv tools ## Run the commands of README and docs word for word
	$(FEWER_COLLECTIONS) pytest -q -n 2 --dist loadfile test/integration/docs

.PHONY: test-e2e
test-e2e: venv tools ## Run the end-to-end tests with the real kind on a container engine
	CAPK_E2E=1 pytest -q -m "e2e and not long" test/contract test/e2e

.PHONY: test-e2e-podman
test-e2e-podman: venv tools ## Run creation, repair, power state, workers and deletion of a kind cluster on podman
	CAPK_E2E=1 KIND_EXPERIMENTAL_PROVIDER=podman pytest -q -m e2e test/e2e/test_standalone.py test/e2e/test_repair.py \
	  test/e2e/test_power_state.py \
	  test/e2e/test_workers_at_the_engine.py::test_worker_is_like_one_of_kind_and_goes_without_a_trace \
	  test/e2e/test_workers.py::test_provider_that_is_killed_during_a_join_joins_the_worker_all_the_same

.PHONY: test-e2e-all
test-e2e-all: venv tools ## Run all end-to-end tests, also those of several minutes; tests in TESTS
	CAPK_E2E=1 pytest -q -m e2e $(or $(TESTS),test/contract test/e2e)

##@ Develop

.PHONY: venv
venv: $(VENV)/.installed ## Install the locked dependencies into .venv

$(VENV)/.installed: requirements/dev.txt pyproject.toml capkdev/pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 or later is needed: no '$(PYTHON)' on the PATH."; exit 1; }
	@echo "Installing Python packages into $(VENV), which can take a few minutes ..."
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/dev.txt
	@# A plain path is free when Python starts; the default, a module, costs 30 ms for each of the many starts in the tests.
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --config-settings editable_mode=compat -e .
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation ./capkdev
	@touch $@
	@echo "Installed into $(VENV). To run capk, capkdev or pytest without make: source $(VENV)/bin/activate"

# For ENGINE=kind, the command's own defaults are right.
ENGINE ?= kind
DEV_COMMAND = make dev$(if $(filter-out kind,$(ENGINE)), ENGINE=$(ENGINE))
ENGINE_FLAGS_fake-kind = --kind-command "capkdev-fake-kind" --engine-command "capkdev-fake-kind engine"

.PHONY: dev
dev: venv tools-test ## Run a local management cluster, and the provider again at each saved file; ENGINE=fake-kind without a container engine
	@# A clean stop takes more than the 2 s after which kopf cancels its handlers (K36).
	@export CAPKDEV_CALLER='$(DEV_COMMAND)'; trap 'capkdev down' EXIT; capkdev up --no-provider && \
	  watchfiles --sigint-timeout 10 --filter python 'capk run --kubeconfig .capk/kubeconfig $(ENGINE_FLAGS_$(ENGINE)) $(ARGS)' capk

.PHONY: lint
lint: venv verify ## Check style, types, layers, generated files and the documentation site
	ruff check .
	ruff format --check .
	mypy
	lint-imports

.PHONY: format
format: venv ## Format the code
	ruff check --fix .
	ruff format .

.PHONY: generate
generate: venv ## Write the generated files: CRDs, docs/api.md, docs/cli.md, docs/contract.md, reasons in docs/troubleshooting.md
	python -m hack.crds
	python -m hack.apidocs
	python -m hack.clidocs
	python -m hack.reasons
	python -m hack.rules

.PHONY: verify
verify: venv $(VENV)/.docs ## Check that generated files are up to date, and that the documentation site builds
	python -m hack.crds --check
	python -m hack.apidocs --check
	python -m hack.clidocs --check
	python -m hack.reasons --check
	python -m hack.rules --check
	@$(SITE)

.PHONY: requirements
requirements: venv ## Resolve the dependencies again and lock them with hashes
	$(LOCK) pyproject.toml -o requirements/run.txt
	$(LOCK) pyproject.toml capkdev/pyproject.toml --group test --group lint --group dev -o requirements/dev.txt
	$(LOCK) --group bench --constraints requirements/dev.txt -o requirements/bench.txt
	$(LOCK) --group docs --constraints requirements/dev.txt -o requirements/docs.txt

LOCK = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header

.PHONY: bump
bump: venv ## Show what is newer than the pins of tools, node images and Python packages; ARGS=--all shows all pins
	python -m hack.bump $(ARGS)

.PHONY: clean
clean: ## Remove build results; clusters stay
	rm -rf $(BIN) $(VENV) out .pytest_cache .mypy_cache .ruff_cache .hypothesis

# `make` alone explains itself.
SHELL := /bin/bash
.DEFAULT_GOAL := help

BIN := bin
VENV := .venv
PYTHON ?= python3
export PATH := $(CURDIR)/$(VENV)/bin:$(CURDIR)/$(BIN):$(PATH)
# Set in many containers; without bytecode each of the many starts of Python and pytest compiles what it loads anew.
unexport PYTHONDONTWRITEBYTECODE

-include hack/tools.mk hack/release.mk hack/chaos.mk hack/oldercore.mk hack/bench.mk

##@ Start here

.PHONY: help
help: ## Show this text
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n\033[1m%s\033[0m\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  \033[36m%-20s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: quickstart
quickstart: venv tools-test $(BIN)/clusterctl ## Set up all that is needed and show a first workload cluster
	python -m hack.quickstart up

.PHONY: quickstart-down
quickstart-down: venv ## Remove all that quickstart made
	python -m hack.quickstart down

.PHONY: test
test: venv lint tools ## Run the unit and integration tests (no container engine needed)
	pytest -q -n 2 test/unit
	pytest -q test/simulation
	@# Three on two cores, for they wait a good part of their time; in this order, so that no long file is left for the end.
	pytest -q -n 3 --dist loadfile --no-loadscope-reorder test/contract test/integration test/packaging test/hack -m "not e2e" --ignore=test/integration/docs

.PHONY: test-docs
test-docs: venv tools ## Run what README and docs tell people to do: journeys word for word, make dev, a small bench
	pytest -q -n 2 --dist loadfile test/integration/docs

##@ Run the provider against the current kubeconfig

.PHONY: install
install: venv $(BIN)/kubectl ## Install the CRDs
	kubectl apply --server-side -k config/crd

.PHONY: uninstall
uninstall: $(BIN)/kubectl ## Remove the CRDs, and with them every object of these kinds
	kubectl delete --ignore-not-found -k config/crd

.PHONY: run
run: venv ## Run the provider in the foreground; options in ARGS
	capk run $(ARGS)

##@ Develop

.PHONY: venv
venv: $(VENV)/.installed ## Install the locked dependencies into .venv

$(VENV)/.installed: requirements/dev.txt pyproject.toml capkdev/pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 or later is needed: no '$(PYTHON)' on the PATH."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/dev.txt
	@# A plain path, which costs nothing when Python starts; the default is a module, 30 ms for each of the many starts in the tests.
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --config-settings editable_mode=compat -e .
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation ./capkdev
	@touch $@

.PHONY: test-unit
test-unit: venv ## Run the unit tests alone (seconds)
	pytest -q -n 2 test/unit

.PHONY: test-integration
test-integration: venv tools ## Run the provider against a real API server with Cluster API's core; tests in TESTS
	pytest -q $(or $(TESTS),test/contract test/integration) -m "not e2e"

.PHONY: test-e2e
test-e2e: venv tools ## Run the end-to-end tests on a container engine with the real kind command
	CAPK_E2E=1 pytest -q -m "e2e and not long" test/contract test/e2e

.PHONY: test-e2e-podman
test-e2e-podman: venv tools ## Run the life of a kind cluster on podman: creation, repair, deletion, nothing left
	CAPK_E2E=1 KIND_EXPERIMENTAL_PROVIDER=podman pytest -q -m e2e test/e2e/test_standalone.py test/e2e/test_repair.py

.PHONY: test-e2e-all
test-e2e-all: venv tools ## Run all end-to-end tests, those of several minutes too; some of them in TESTS
	CAPK_E2E=1 pytest -q -m e2e $(or $(TESTS),test/contract test/e2e)

.PHONY: lint
lint: venv ## Check style, types, layers and generated files
	ruff check .
	ruff format --check .
	mypy
	lint-imports
	python -m hack.crds --check
	python -m hack.rules --check
	python -m hack.apidocs --check
	python -m hack.reasons --check

.PHONY: format
format: venv ## Format the code
	ruff check --fix .
	ruff format .

.PHONY: manifests
manifests: venv ## Generate the CRDs
	python -m hack.crds

.PHONY: docs
docs: venv ## Write docs/api.md: every field of the API
	python -m hack.apidocs

.PHONY: reasons
reasons: venv ## Write the reasons of conditions into docs/troubleshooting.md
	python -m hack.reasons

.PHONY: rules
rules: venv ## Write docs/contract.md: which test proves which rule of Cluster API
	python -m hack.rules

.PHONY: requirements
requirements: venv ## Resolve the dependencies again and lock them with hashes
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header pyproject.toml -o requirements/run.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header pyproject.toml capkdev/pyproject.toml --group test --group lint --group dev -o requirements/dev.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --group bench --constraints requirements/dev.txt -o requirements/bench.txt

.PHONY: bump
bump: venv ## Show what is newer than the pins of tools, node images and Python packages; ARGS=--all shows all pins
	python -m hack.bump $(ARGS)

.PHONY: clean
clean: ## Remove what was built; clusters stay
	rm -rf $(BIN) $(VENV) out .pytest_cache .mypy_cache .ruff_cache .hypothesis

# The image and releases. Included by the Makefile, which may set BIN, VERSION, IMAGE and OUT.

BIN ?= bin
OUT ?= out
# The version of these sources, from pyproject.toml.
VERSION ?= v$(shell sed -n 's/^version = "\(.*\)"$$/\1/p' pyproject.toml)
IMAGE ?= localhost/cluster-api-provider-kind:$(VERSION)
BASE_IMAGE ?= python:3.11-slim-bookworm
# For example --network=host if the engine has no bridge.
IMAGE_FLAGS ?=

RELEASE = python hack/release.py --version $(VERSION) --image $(IMAGE) --out $(OUT)

##@ Release and image

.PHONY: manifests-render release local-repository image

manifests-render: $(BIN)/kubectl ## Print what `clusterctl init --infrastructure kind` would install, variables included
	@$(BIN)/kubectl kustomize config/default

release: venv $(BIN)/kubectl ## Write the release VERSION into out/, as a repository of clusterctl holds it
	@$(RELEASE)

local-repository: venv $(BIN)/kubectl ## Write the release VERSION and out/clusterctl.yaml, a configuration for `clusterctl --config`
	@$(RELEASE) --local-repository

image: $(BIN)/kind $(BIN)/docker-cli ## Build the provider's image IMAGE
	docker build $(IMAGE_FLAGS) --build-arg BASE_IMAGE=$(BASE_IMAGE) --build-arg VERSION=$(VERSION) --tag $(IMAGE) .

# Only the client, linked statically. Debian's package contains the daemon, and its API version is too old for current engines.
$(BIN)/docker-cli: tools/docker-cli/go.mod tools/docker-cli/go.sum | $(BIN)/go
	cd tools/docker-cli && CGO_ENABLED=0 go build -trimpath -o $(abspath $@) \
	  -ldflags "-s -w -X github.com/docker/cli/cli/version.Version=$$(sed -n 's|.*github.com/docker/cli v\([0-9.]*\).*|\1|p' go.mod)" \
	  github.com/docker/cli/cmd/docker

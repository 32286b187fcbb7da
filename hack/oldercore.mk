# The last core of Cluster API that supports only the contract v1beta1 (C12). It is out of support, so `make tools` does not build it.
# This target builds it with Go. Its version is in tools/older-core/go.mod.

OLDER_CORE := $(abspath $(BIN))/older-core

##@ Test with an older Cluster API

.PHONY: test-older-core
test-older-core: venv tools-test $(OLDER_CORE)/core-manager ## Run the provider against a core of the contract v1beta1 (builds it: minutes)
	CAPK_OLDER_CORE=$(OLDER_CORE) pytest -q test/integration/provider/test_older_core.py

$(OLDER_CORE)/core-manager: tools/older-core/go.mod tools/older-core/go.sum | $(BIN)/kubectl $(BIN)/go
	mkdir -p $(OLDER_CORE)/manifests
	config=$(call MODULE,older-core,sigs.k8s.io/cluster-api)/config && \
		kubectl kustomize $$config/crd >$(OLDER_CORE)/manifests/cluster-api-crds.yaml && \
		kubectl kustomize $$config/webhook >$(OLDER_CORE)/manifests/cluster-api-webhooks.yaml
	cd tools/older-core && CGO_ENABLED=0 go build -ldflags "-s -w" -o $@ sigs.k8s.io/cluster-api

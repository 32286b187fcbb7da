# The cluster-autoscaler is not a module that Go can install, because its go.mod replaces modules. So build a release from a checkout of
# kubernetes/autoscaler: `cd cluster-autoscaler && go build -tags clusterapi`.

##@ Test with the cluster-autoscaler

.PHONY: test-autoscaler
test-autoscaler: venv tools ## Let the cluster-autoscaler scale workers from zero and back; its command in AUTOSCALER
	@test -x "$(AUTOSCALER)" || { echo "Name a cluster-autoscaler: make test-autoscaler AUTOSCALER=path. hack/autoscaler.mk has the build."; exit 1; }
	CAPK_AUTOSCALER=$(abspath $(AUTOSCALER)) pytest -q test/integration/provider/test_autoscaler.py

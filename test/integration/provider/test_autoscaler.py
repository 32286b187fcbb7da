"""The real cluster-autoscaler scales a MachineDeployment from zero and back; run with `make test-autoscaler`.

The fake kind has neither kubelets nor a scheduler: the test itself reports the capacity of nodes, and that a Pod does
not fit.
"""

import base64
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import yaml

from capk.api.names import KIND_MACHINES, MACHINES, SECRETS, Resource
from capkdev.files import write_private
from test.integration.api import CLUSTERS, Object, eventually
from test.integration.provider.journeys import Place, generated, kubectl

AUTOSCALER = "CAPK_AUTOSCALER"
"""Environment variable: a cluster-autoscaler that has the cloud provider clusterapi."""
TEMPLATES = Path(__file__).parents[3] / "templates"
DEPLOYMENTS = Resource("cluster.x-k8s.io", "v1beta2", "machinedeployments", "MachineDeployment")
NAME = "elastic"
WORKERS = f"{NAME}-workers"
GROUP = "cluster.x-k8s.io/cluster-api-autoscaler-node-group"
CAPACITY = {"cpu": "2", "memory": "4Gi", "pods": "110"}
SELECTED = {"kubernetes.io/os": "linux", "node-role.kubernetes.io/worker": ""}
PROMPT = (
    *("--scan-interval=1s", "--scale-down-delay-after-add=1s", "--scale-down-unneeded-time=5s"),
    *("--scale-down-delay-after-failure=1s", "--unremovable-node-recheck-timeout=2s", "--new-pod-scale-up-delay=0s"),
    *("--leader-elect=false", "--node-delete-delay-after-taint=0s", "--max-graceful-termination-sec=5", "--v=2"),
)
"""Flags that make it act within seconds."""

StartAutoscaler = Callable[[Place], AbstractContextManager[Path]]


@pytest.fixture
def autoscaler(tmp_path: Path) -> StartAutoscaler:
    """Runs the autoscaler for the Cluster of a place; the context is its log."""
    if AUTOSCALER not in os.environ:
        pytest.skip(f"{AUTOSCALER} names no cluster-autoscaler")

    @contextmanager
    def run(place: Place) -> Iterator[Path]:
        workload = tmp_path / "workload.kubeconfig"
        write_private(workload, base64.b64decode(place.get(SECRETS, f"{NAME}-kubeconfig")["data"]["value"]))
        log = tmp_path / "autoscaler.log"
        command = [os.environ[AUTOSCALER], "--cloud-provider=clusterapi", f"--kubeconfig={workload}"]
        command += [f"--cloud-config={place.management.kubeconfig}", "--clusterapi-cloud-config-authoritative"]
        command += [f"--node-group-auto-discovery=clusterapi:namespace={place.namespace},clusterName={NAME}"]
        with log.open("w") as output:
            process = subprocess.Popen([*command, *PROMPT], stdout=output, stderr=subprocess.STDOUT)
            try:
                yield log
            finally:
                process.terminate()
                process.wait(30)

    return run


def pod() -> Object:
    """Return a Pod that fits on no control-plane node; many Pods select the operating system."""
    requests = {"cpu": "1", "memory": "1Gi"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "hungry"},
        "spec": {
            "nodeSelector": SELECTED,
            "containers": [{"name": "pause", "image": "pause", "resources": {"requests": requests}}],
        },
    }


@pytest.mark.timeout(600)
@pytest.mark.rule("C48", "C56")
def test_autoscaler_adds_a_worker_from_zero_and_removes_it(
    place: Place, autoscaler: StartAutoscaler, tmp_path: Path
) -> None:
    place.create(generated(place, NAME, TEMPLATES / "cluster-template.yaml", "--worker-machine-count", "0"))
    place.await_condition(NAME, "Available", resource=CLUSTERS, seconds=180)
    bounds = {f"{GROUP}-min-size": "0", f"{GROUP}-max-size": "2"}
    described = {f"capacity.cluster-autoscaler.kubernetes.io/{what}": CAPACITY[what] for what in ("cpu", "memory")}
    described["capacity.cluster-autoscaler.kubernetes.io/labels"] = ",".join("=".join(one) for one in SELECTED.items())
    place.patch(DEPLOYMENTS, WORKERS, {"metadata": {"annotations": {**bounds, **described}}})
    secret = place.get(SECRETS, f"{NAME}-kubeconfig")

    def workload(*arguments: str) -> str:
        return kubectl(secret, tmp_path, *arguments)

    def node_has(name: str, **status: object) -> None:
        workload("patch", *name.split(), "--subresource=status", f"--patch={json.dumps({'status': status})}")

    (tmp_path / "pod.yaml").write_text(yaml.safe_dump(pod()))
    with autoscaler(place) as log:
        workload("create", f"--filename={tmp_path / 'pod.yaml'}")
        unschedulable = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
        node_has("pod hungry", conditions=[unschedulable])
        [machine] = eventually(lambda: place.api.list(KIND_MACHINES, place.namespace), 120, 0.5)
        name = machine["metadata"]["name"]
        place.await_condition(name, resource=KIND_MACHINES, seconds=120)
        assert "Scale-up: setting group" in log.read_text()

        node_has(f"node {name}", capacity=CAPACITY, allocatable=CAPACITY)
        workload("delete", "pod", "hungry", "--grace-period=0", "--force")
        place.await_gone(name, KIND_MACHINES, seconds=180)
        assert place.get(DEPLOYMENTS, WORKERS)["spec"]["replicas"] == 0
        assert [node.role for node in place.kind_cluster(NAME).nodes] == ["control-plane"]
        eventually(lambda: not place.api.list(MACHINES, place.namespace), 60, 0.5)
    place.delete(CLUSTERS, NAME)
    place.await_gone(NAME, CLUSTERS, seconds=180)

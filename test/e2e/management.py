"""A management cluster of the real kind, with Cluster API's core and the provider installed by clusterctl."""

import os
import re
from dataclasses import dataclass
from typing import Any

from test.e2e.real_kind import RealKind
from test.e2e.terminal import Terminal
from test.integration.api import eventually
from test.integration.repository import MANIFESTS, ROOT

NAMESPACE = "capkind-system"
DEPLOYMENT = "capkind-controller-manager"
LEASE = "capk-leader-election"
NAMESPACES = {"capi-system": "capi-controller-manager", NAMESPACE: DEPLOYMENT}
SOCKET = "/var/run/docker.sock"
TAIL = "60"


@dataclass(frozen=True)
class ManagementCluster:
    """A kind cluster and a terminal for it."""

    kind: RealKind
    name: str
    terminal: Terminal

    def init(self, *arguments: str) -> None:
        """Run `clusterctl init` for core and the provider, and wait until both work."""
        # clusterctl considers cert-manager installed if its kinds are served.
        self.terminal.kubectl("apply", "--server-side", "--filename", str(MANIFESTS / "cert-manager-crds.yaml"))
        self.terminal.clusterctl("init", *arguments, "--wait-providers", "--wait-provider-timeout", "180")

    def scale(self, replicas: int) -> None:
        """Run so many replicas of the provider, and return when they are ready."""
        self._kubectl("scale", "deployment", DEPLOYMENT, f"--replicas={replicas}")
        self.await_rollout()

    def await_rollout(self) -> None:
        """Wait until the provider's replicas are ready and no others remain."""
        self._kubectl("rollout", "status", "deployment", DEPLOYMENT, "--timeout=120s")

    def pods(self) -> dict[str, dict[str, Any]]:
        """Return the provider's pods by name, without terminating ones."""
        listed = self.terminal.get("pods", "--namespace", NAMESPACE)["items"]
        return {pod["metadata"]["name"]: pod for pod in listed if "deletionTimestamp" not in pod["metadata"]}

    def await_leader(self) -> str:
        """Wait until one of the pods leads, and return its name."""

        def leader() -> str:
            lease = self.terminal.get("lease", LEASE, "--namespace", NAMESPACE)
            name = str(lease["spec"].get("holderIdentity") or "").rpartition("_")[0]
            return name if name in self.pods() else ""

        return eventually(leader, 120, 0.5)

    def shell(self, pod: str, script: str) -> str:
        """Run a shell script in a pod of the provider and return its output."""
        return self._kubectl("exec", pod, "--", "sh", "-c", script)

    def kill(self, pod: str) -> None:
        """Kill a pod's container with signal 9, and delete the pod before the kubelet restarts the container."""
        (container,) = self.pods()[pod]["status"]["containerStatuses"]
        identity = container["containerID"].removeprefix("containerd://")
        node = f"{self.name}-control-plane"
        ctr = ("ctr", "--namespace", "k8s.io", "tasks", "kill", "--signal", "SIGKILL", identity)
        self.kind.engine("exec", node, *ctr)
        self._kubectl("delete", "pod", pod, "--force", "--grace-period=0")

    def logs(self) -> str:
        """Return the logs of the provider's pods."""
        return "".join(self._kubectl("logs", pod) for pod in self.pods())

    def explain(self) -> str:
        """Describe the state of the cluster, for a test that failed."""
        words = [self.terminal.kubectl("get", "pods", "--all-namespaces", "--output", "wide")]
        for namespace, deployment in NAMESPACES.items():
            events = ("get", "events", "--namespace", namespace, "--sort-by", "lastTimestamp")
            logs = ("logs", "--namespace", namespace, f"deployment/{deployment}", "--tail", TAIL)
            words += [self._attempt(*events), self._attempt(*logs)]
        return "\n".join(words)

    def _kubectl(self, *arguments: str) -> str:
        return self.terminal.kubectl("--namespace", NAMESPACE, *arguments)

    def _attempt(self, *arguments: str) -> str:
        try:
            return self.terminal.kubectl(*arguments)
        except AssertionError as failure:
            return str(failure)


def documented_configuration() -> str:
    """Return the configuration of a kind management cluster from docs/install.md, for this machine's engine."""
    text = (ROOT / "docs" / "install.md").read_text()
    (config,) = re.findall(r"kind create cluster --name management --config - <<END\n(.*?)END\n", text, re.DOTALL)
    socket = os.environ.get("DOCKER_HOST", "").removeprefix("unix://") or SOCKET
    return str(config).replace(f"hostPath: {SOCKET}", f"hostPath: {socket}")

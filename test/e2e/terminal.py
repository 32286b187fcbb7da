"""kubectl and clusterctl for a management or workload cluster, with the arguments that a person would type."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capkdev.binaries import find_binary
from capkdev.files import write_private
from test.e2e.real_kind import run

OFFLINE = {"CLUSTERCTL_DISABLE_VERSIONCHECK": "true", "GOPROXY": "off"}


@dataclass(frozen=True)
class Terminal:
    """A shell with the kubeconfig of one cluster.

    configuration: clusterctl's, if it needs one.
    """

    kubeconfig: Path
    configuration: Path | None = None

    @classmethod
    def of_secret(cls, secret: Mapping[str, Any], key: str, directory: Path) -> "Terminal":
        """Return a terminal for the kubeconfig in a Secret, which is written into the directory."""
        kubeconfig = directory / f"{secret['metadata']['name']}.kubeconfig"
        write_private(kubeconfig, base64.b64decode(secret["data"][key]))
        return cls(kubeconfig)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl and return its output."""
        return self._run("kubectl", *arguments, stdin=stdin)

    def clusterctl(self, *arguments: str) -> str:
        """Run clusterctl and return its output."""
        config = ["--config", str(self.configuration)] if self.configuration else []
        return self._run("clusterctl", *arguments, *config)

    def get(self, *arguments: str) -> dict[str, Any]:
        """Return the output of `kubectl get` for one object, or for several as a list."""
        return json.loads(self.kubectl("get", "--output", "json", *arguments))

    def apply(self, namespace: str, manifests: str) -> None:
        """Apply manifests into a namespace."""
        self.kubectl("apply", "--namespace", namespace, "--filename", "-", stdin=manifests)

    def generate(self, name: str, namespace: str, template: Path, version: str, **counts: int) -> str:
        """Return the manifests of a Cluster; counts: of machines, as in worker=1."""
        flags = [word for role, count in counts.items() for word in (f"--{role}-machine-count", str(count))]
        return self.clusterctl(
            *("generate", "cluster", name, "--target-namespace", namespace, "--from", str(template)),
            *("--kubernetes-version", version, *flags),
        )

    def assert_green(self, name: str, namespace: str) -> None:
        """Assert that `clusterctl describe cluster` reports no problem."""
        tree = self.clusterctl("describe", "cluster", name, "--namespace", namespace)
        assert "True" in tree
        assert not {"False", "Unknown"} & set(tree.split()), tree

    def workload(self, name: str, namespace: str) -> "Terminal":
        """Return a terminal for a workload cluster, with the kubeconfig from `clusterctl get kubeconfig`."""
        kubeconfig = self.kubeconfig.with_name(f"{namespace}-{name}")
        write_private(kubeconfig, self.clusterctl("get", "kubeconfig", name, "--namespace", namespace).encode())
        return Terminal(kubeconfig)

    def ready_nodes(self) -> list[str]:
        """Return the names of the cluster's Ready nodes, sorted."""
        nodes = json.loads(self.kubectl("get", "nodes", "--output", "json", "--request-timeout", "10s"))["items"]
        return sorted(node["metadata"]["name"] for node in nodes if _is_ready(node))

    def _run(self, command: str, *arguments: str, stdin: str | None = None) -> str:
        words = [str(find_binary(command)), *arguments]
        return run(words, stdin=stdin, KUBECONFIG=str(self.kubeconfig), **OFFLINE)


def _is_ready(node: dict[str, Any]) -> bool:
    return any(one["type"] == "Ready" and one["status"] == "True" for one in node["status"]["conditions"])

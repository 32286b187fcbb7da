"""The real clusterctl with a local management cluster and a repository from hack/release.py. No network.

It has only an API server: no pod runs, and deleted namespaces stay Terminating.
"""

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capkdev.managementcluster.cluster import LocalManagementCluster
from capkdev.managementcluster.options import Options
from test.integration.repository import CORE, Repository

BIN = Path(__file__).parents[2] / "bin"
OFFLINE = {"CLUSTERCTL_DISABLE_VERSIONCHECK": "true", "GOPROXY": "off"}
INIT = ["init", "--core", f"cluster-api:{CORE}", "--bootstrap", "-", "--control-plane", "-"]


@dataclass(frozen=True)
class ManagementCluster:
    """A management cluster and the repository that clusterctl uses with it."""

    kubeconfig: Path
    repository: Repository

    def clusterctl(self, *arguments: str, **variables: str) -> str:
        """Run clusterctl and return its output; variables go into its environment."""
        return self.attempt("clusterctl", "--config", str(self.repository.configuration), *arguments, **variables)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        return self.attempt("kubectl", *arguments, stdin=stdin)

    def get(self, *arguments: str) -> dict[str, Any]:
        return json.loads(self.kubectl("get", "-o", "json", *arguments))

    def attempt(self, command: str, *arguments: str, stdin: str | None = None, **variables: str) -> str:
        environment = {**os.environ, **OFFLINE, "KUBECONFIG": str(self.kubeconfig), **variables}
        return run(BIN / command, *arguments, input=stdin, env=environment)


def run(*command: str | Path, **options: Any) -> str:
    """Run a command and return its standard output; an AssertionError has all its output.

    options: those of subprocess.run; `input` is a text.
    """
    words = [str(word) for word in command]
    result = subprocess.run(words, capture_output=True, text=True, timeout=180, **options)
    assert result.returncode == 0, f"{command[0]} failed:\n{result.stdout}\n{result.stderr}"
    return result.stdout


@contextlib.contextmanager
def empty(folder: Path) -> Iterator[ManagementCluster]:
    """A management cluster without Cluster API, and a repository with two versions of the provider."""
    repository = Repository(folder / "repository")
    repository.folder.mkdir()
    repository.write("v0.1.0", "v0.2.0")
    with LocalManagementCluster(folder / "management", Options(core=False, definitions=False)) as management:
        one = ManagementCluster(management.kubeconfig, repository)
        # clusterctl considers cert-manager installed if its kinds are served.
        one.kubectl("apply", "--server-side", "-f", str(BIN / "manifests" / "cert-manager-crds.yaml"))
        yield one


def initialise(cluster: ManagementCluster) -> None:
    cluster.clusterctl(*INIT, "--infrastructure", "kind:v0.1.0", CLUSTER_TOPOLOGY="true")
    # No process serves core's webhooks here.
    for kind in ("mutatingwebhookconfigurations", "validatingwebhookconfigurations"):
        cluster.kubectl("delete", kind, "--all")


def generate(cluster: ManagementCluster, flavor: str, *arguments: str, name: str = "dev") -> str:
    chosen = ["--flavor", flavor] if flavor else []
    version = ["--kubernetes-version", "v1.37.0"]
    return cluster.clusterctl("generate", "cluster", name, *version, *chosen, *arguments)

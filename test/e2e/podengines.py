"""What the tests of engines in Pods look at: an engine, what its node keeps of it, and what its Service answers."""

import json
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from capk.plan.engineobjects import engine_name
from test.e2e.management import NAMESPACE, ManagementCluster
from test.e2e.terminal import Terminal
from test.integration.api import condition

ENGINES = "capkind-engines"
OBJECTS = "pods,services,secrets,persistentvolumeclaims"
CONFIGURATION = """kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
nodes:
- role: control-plane
- role: worker
- role: worker
"""
_ASK = """import http.client, ssl, sys
context = ssl._create_unverified_context()
connection = http.client.HTTPSConnection(sys.argv[1], int(sys.argv[2]), context=context, timeout=10)
connection.request("GET", "/pods")
print(connection.getresponse().status)
"""


@dataclass(frozen=True)
class PodEngine:
    """The engine of a KINDCluster in the namespace "default"."""

    management: ManagementCluster
    cluster: str

    @property
    def terminal(self) -> Terminal:
        return self.management.terminal

    @property
    def kindcluster(self) -> dict[str, Any]:
        return self.terminal.get("kindcluster", self.cluster)

    @property
    def name(self) -> str:
        return engine_name(self.kindcluster["metadata"]["uid"])

    @property
    def pod(self) -> dict[str, Any]:
        return self.terminal.get("pod", self.name, "--namespace", ENGINES)

    @property
    def node(self) -> str:
        return str(self.pod["spec"]["nodeName"])

    @property
    def restarts(self) -> int:
        (status,) = self.pod["status"]["containerStatuses"]
        return int(status["restartCount"])

    def condition(self, kind: str) -> dict[str, Any]:
        return dict(condition(self.kindcluster, kind))

    def shell(self, script: str) -> str:
        """Run a shell script in the Pod and return its output."""
        return self.terminal.kubectl("exec", self.name, "--namespace", ENGINES, "--", "sh", "-c", script)

    def containers(self) -> list[str]:
        """Return the ids of all node containers, stopped ones included, sorted."""
        return sorted(self.shell("docker ps --all --quiet").split())

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """Run kubectl for the workload cluster in a node of the management cluster, with the address of the Service.

        Such a node resolves no names of Services.
        """
        secret = self.terminal.get("secret", f"{self.cluster}-config")
        kubeconfig = Terminal.of_secret(secret, "config", Path(self.terminal.kubeconfig).parent).kubeconfig
        node, inside = f"{self.management.name}-control-plane", f"/run/{self.name}.kubeconfig"
        service = self.terminal.get("service", self.name, "--namespace", ENGINES)
        server = f"https://{service['spec']['clusterIP']}:6443"
        engine = self.management.kind.engine
        engine("exec", "--interactive", node, "sh", "-c", f"cat >{inside}", stdin=kubeconfig.read_text())
        command = ("kubectl", "--kubeconfig", inside, "--server", server, "--request-timeout", "20s")
        return engine("exec", "--interactive", node, *command, *arguments, stdin=stdin)

    def ready_nodes(self) -> list[str]:
        """Return the names of the workload cluster's Ready nodes, sorted."""
        nodes = json.loads(self.kubectl("get", "nodes", "--output", "json"))["items"]
        states = {
            node["metadata"]["name"]: {one["type"]: one["status"] for one in node["status"]["conditions"]}
            for node in nodes
        }
        return sorted(name for name, state in states.items() if state.get("Ready") == "True")

    def status_of_https(self, port: int) -> int:
        """Ask a port of the Service from the provider's pod, and return the code of the answer."""
        (pod,) = self.management.pods()
        words = ("python3", "-c", _ASK, f"{self.name}.{ENGINES}.svc", str(port))
        return int(self.terminal.kubectl("exec", pod, "--namespace", NAMESPACE, "--", *words))


def seconds_of_steps(engine: PodEngine) -> dict[str, float]:
    """Return how long it took until the Pod was ready, until the node image was there, and until kind had ended."""
    found = engine.kindcluster
    times = [datetime.fromisoformat(found["metadata"]["creationTimestamp"])]
    for reason in ("EngineAnswers", "PreparingNodes", "Created"):
        entry = next(one for one in found["status"]["history"] if one["reason"] == reason)
        times.append(datetime.fromisoformat(entry["time"]))
    return {
        f"{engine.cluster}: {what} [s]": (after - before).total_seconds()
        for what, (before, after) in zip(("Pod", "image", "kind"), pairwise(times), strict=True)
    }


def engine_objects(terminal: Terminal) -> list[str]:
    """Return kind and name of everything in the namespace of the engines."""
    found = terminal.get(OBJECTS, "--namespace", ENGINES)["items"]
    return [f"{one['kind']} {one['metadata']['name']}" for one in found]


def traces(management: ManagementCluster, node: str, pod_uid: str) -> str:
    """Return what a node of the management cluster still has of a Pod: mounts, folders, cgroups."""
    mangled = pod_uid.replace("-", "_")
    script = (
        f"grep -e {pod_uid} -e {mangled} /proc/mounts; ls -d /var/lib/kubelet/pods/{pod_uid}; "
        f"find /sys/fs/cgroup -maxdepth 6 -type d -name '*{pod_uid}*' -o -maxdepth 6 -type d -name '*{mangled}*'; true"
    )
    return management.kind.engine("exec", node, "sh", "-c", f"({script}) 2>/dev/null")


def processes(management: ManagementCluster, node: str) -> list[str]:
    """Return the names of all processes in a node of the management cluster, and in its Pods."""
    return management.kind.engine("exec", node, "sh", "-c", "cat /proc/[0-9]*/comm 2>/dev/null; true").split()


def provider_seconds(management: ManagementCluster) -> float:
    """Return the processor time of the provider and of its ended children, in seconds."""
    (pod,) = management.pods()
    ticks = 0
    for line in management.shell(pod, "cat /proc/[0-9]*/stat; true").splitlines():
        number, fields = line.partition(" ")[0], line.rpartition(")")[2].split()
        if "capk" in line or number == "1":
            ticks += sum(int(field) for field in fields[11:15])
    return ticks / 100

"""This provider beside CAPD, the provider of Cluster API's own tests, on the same management cluster by turns.

Each turn has a management cluster of its own with Cluster API's core manager. One `kubectl create` brings Clusters,
each with an infrastructureRef, and the turn lasts until all infrastructure objects are provisioned. CAPD uses its
in-memory backend. This provider runs twice: with an engine in its own process, which is comparable, and with the
instant engine, whose processes show what starting them costs.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic, sleep

from bench.hostnames import COMMAND
from bench.kubelet import NAMESPACE
from bench.results import Row
from bench.rig import Object, Provider, Rig, is_provisioned, show_cluster_info, wait_until
from bench.usage import Usage, resident_mib
from capk.api.names import KIND_CLUSTERS
from capkdev.binaries import BinaryMissing, find_binary
from capkdev.managementcluster import install, manifests
from capkdev.managementcluster.cluster import LocalManagementCluster
from capkdev.managementcluster.options import Options
from capkdev.ports import free_port

TOOLS = Path(__file__).resolve().parent.parent / "tools" / "capd"
CAPD_VERSION = "infrastructure.cluster.x-k8s.io/v1beta2"
CAPD_MODULE = "sigs.k8s.io/cluster-api/test"
SETTLE_SECONDS = 3.0
"""How long the providers' own last requests count, after the last object is provisioned."""
OTHERS_WRITES = 2
"""Writes of each infrastructure object that are not the provider's: its creation, and core's owner reference."""


@dataclass(frozen=True)
class Peer:
    """A provider and its kind of infrastructure object. start: yields the running provider."""

    name: str
    group_version: str
    kind: str
    plural: str
    spec: Mapping[str, object]
    start: Callable[[Rig], Iterator[Provider]]

    @property
    def path(self) -> str:
        return f"/apis/{self.group_version}/namespaces/default/{self.plural}"


def peers(sizes: list[int], rounds: int, creates: int, report: Callable[[str], None]) -> Iterator[Row]:
    """Yield a row per size, round and provider. creates: concurrent kind calls. report: called if CAPD is missing."""
    flags = ("--max-concurrent-creates", str(creates))
    found = [
        Peer("capd", CAPD_VERSION, "DevCluster", "devclusters", {"backend": {"inMemory": {}}}, _capd),
        _ours("capk", partial(_capk, flags, free=True)),
        _ours("capk, scripts", partial(_capk, flags, free=False)),
    ]
    try:
        find_binary("capd")
    except BinaryMissing:
        report("Skipping CAPD: bin/capd is missing (`make bin/capd` builds it with Go).")
        found = found[1:]
    for size in sizes:
        for number in range(1, rounds + 1):
            for peer in found:
                yield {"objects": size, "round": number, "provider": peer.name, **_turn(peer, size)}


def _ours(name: str, start: Callable[[Rig], Iterator[Provider]]) -> Peer:
    return Peer(name, KIND_CLUSTERS.api_version, KIND_CLUSTERS.kind, KIND_CLUSTERS.plural, {}, start)


def _turn(peer: Peer, size: int) -> Row:
    provisioned: set[str] = set()

    def seen(type: str, obj: Object) -> None:
        if is_provisioned(obj):
            provisioned.add(obj["metadata"]["name"])

    with tempfile.TemporaryDirectory(prefix="bench-") as directory, Rig(Path(directory), core=True) as rig:
        documents = rig.directory / "clusters.json"
        documents.write_text(json.dumps(_pairs(peer, size)))
        with contextmanager(peer.start)(rig) as provider, rig.watching(seen, peer.path):
            with rig.measured(provider, {peer.plural, "secrets"}) as usage:
                began = monotonic()
                created = _create(rig, documents)
                wait_until(lambda: len(provisioned) == size, f"{size} provisioned")
                usage.seconds = monotonic() - began
                sleep(SETTLE_SECONDS)
            return _row(usage, size, created, resident_mib(provider.pid), _events(rig, peer))


def _events(rig: Rig, peer: Peer) -> int:
    """Return the number of Events about infrastructure objects: core's are about Clusters."""
    with rig.management.rest() as rest:
        events = rest.request("GET", "/api/v1/namespaces/default/events")["items"]
    return sum(event["involvedObject"]["kind"] == peer.kind for event in events)


def _row(usage: Usage, size: int, created: float, resident: float, events: int) -> Row:
    each = 1000 / size
    return {
        "seconds": round(usage.seconds, 2),
        "kubectl_s": round(created, 2),
        "cpu_ms_each": round(usage.provider_cpu_s * each, 1),
        "engine_ms_each": round(usage.engine_cpu_s * each, 1),
        "resident_mib": round(resident, 1),
        "writes_each": round((usage.writes.total() + events) / size - OTHERS_WRITES, 2),
        "server_ms_each": round(usage.server_cpu_s * each, 1),
    }


def _pairs(peer: Peer, size: int) -> Object:
    reference = {"apiGroup": peer.group_version.partition("/")[0], "kind": peer.kind}
    items = []
    for name in (f"c{number}" for number in range(size)):
        spec = {"infrastructureRef": {**reference, "name": name}}
        # Without any annotation, CAPD panics.
        metadata = {"name": name, "namespace": "default", "annotations": {"bench": "peers"}}
        items.append({"apiVersion": peer.group_version, "kind": peer.kind, "metadata": metadata, "spec": peer.spec})
        items.append({"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster", "metadata": metadata, "spec": spec})
    return {"apiVersion": "v1", "kind": "List", "items": items}


def _create(rig: Rig, documents: Path) -> float:
    """Create all objects and return the seconds that kubectl took."""
    began = monotonic()
    kubectl = [str(find_binary("kubectl")), "--kubeconfig", str(rig.management.kubeconfig)]
    subprocess.run([*kubectl, "create", "-f", str(documents)], check=True, stdout=subprocess.DEVNULL)
    return monotonic() - began


def _capk(flags: tuple[str, ...], rig: Rig, *, free: bool) -> Iterator[Provider]:
    # Workload clusters have an API server of their own, so that their work is not counted as the management cluster's.
    options = Options(core=False, definitions=False, hosts=[f"*.{NAMESPACE}.svc"])
    with LocalManagementCluster(rig.directory / "workload", options) as workload:
        with workload.rest() as rest:
            show_cluster_info(rest)
            rig.environment["BENCH_ENGINE_PORT"] = rest.server.rpartition(":")[2]
        rig.reset_engine(workload.kubeconfig)
        command = (sys.executable, "-m", "bench.freeengine") if free else COMMAND
        with rig.provider(*flags, command=command) as provider:
            yield provider


def _capd(rig: Rig) -> Iterator[Provider]:
    with rig.management.rest() as rest:
        install.install_definitions(rest, [_without_webhook(one) for one in _capd_definitions()])
    address = f"127.0.0.1:{free_port()}"
    command = [
        str(find_binary("capd")),
        f"--health-addr={address}",
        f"--webhook-port={free_port()}",
        # CAPD does not start without a certificate. Nothing calls its webhooks, which saves it some work.
        f"--webhook-cert-dir={rig.management.directory / 'webhooks'}",
        "--diagnostics-address=127.0.0.1:0",
        "--insecure-diagnostics=true",
    ]
    environment = {"KUBECONFIG": str(rig.management.kubeconfig), "POD_IP": "127.0.0.1"}
    with Provider(command, environment, rig.directory / "capd.log", address) as provider:
        yield provider.await_ready()


def _capd_definitions() -> Iterator[manifests.Manifest]:
    listing = [str(find_binary("go")), "list", "-m", "-f", "{{.Dir}}", CAPD_MODULE]
    folder = subprocess.run(listing, cwd=TOOLS, env={**os.environ, "GOWORK": "off"}, check=True, capture_output=True)
    bases = Path(folder.stdout.decode().strip()) / "infrastructure" / "docker" / "config" / "crd" / "bases"
    for file in sorted(bases.glob("*.yaml")):
        yield from manifests.load(file)


def _without_webhook(definition: manifests.Manifest) -> manifests.Manifest:
    """Return a definition of CAPD with the labels by which core finds the version of its contract."""
    labels = {f"cluster.x-k8s.io/{contract}": contract for contract in ("v1beta1", "v1beta2")}
    return {**definition, "metadata": {**definition["metadata"], "labels": labels}}

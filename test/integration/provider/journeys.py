"""Common parts of the journeys of a kind cluster: objects to apply, states to wait for, values to compare."""

import base64
import os
import stat
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from capk.api.names import KIND_CLUSTER_FINALIZER, KIND_CLUSTERS, KIND_CONTROL_PLANES, RECONCILED, SECRETS, Resource
from capkdev.binaries import find_binary
from capkdev.fakekind.clusters import Cluster
from capkdev.fakekind.listing import HOME_VARIABLE
from capkdev.files import write_private
from capkdev.managementcluster.cluster import LocalManagementCluster
from test.integration.api import CLUSTERS, Api, Object, condition, eventually
from test.integration.provider_process import FAKE_KIND, ProviderProcess

SHORT_PERIODS = ("--sync-period", "4s", "--inventory-period", "2s")
"""Flags of a provider that soon notices changes that no watch reports."""
PATIENCE_SECONDS = 60
"""Time that a busy machine has for a step; no successful test waits that long."""
FINALIZERS = [KIND_CLUSTER_FINALIZER]
WATCHED_KINDS = (*RECONCILED, CLUSTERS, SECRETS)


@dataclass(frozen=True)
class Place:
    """A namespace of a management cluster and the provider that manages it."""

    management: LocalManagementCluster
    api: Api
    namespace: str
    process: ProviderProcess
    kind: "SwitchableKind"

    @property
    def version(self) -> str:
        """The Kubernetes version of the fake kind: that of the management cluster, for any node image."""
        return str(self.api.rest.request("GET", "/version")["gitVersion"])

    def get(self, resource: Resource, name: str) -> Object:
        return self.api.get(resource, self.namespace, name)

    def find(self, resource: Resource, name: str) -> Object | None:
        return self.api.find(resource, self.namespace, name)

    def create(self, *documents: Mapping[str, Any] | str) -> Object:
        return self.api.create(self.namespace, *documents)

    def apply(self, *documents: Mapping[str, Any] | str) -> Object:
        return self.api.apply(self.namespace, *documents)

    def patch(self, resource: Resource, name: str, body: object, subresource: str = "") -> Object:
        return self.api.patch(resource, self.namespace, name, body, subresource)

    def delete(self, resource: Resource, name: str) -> None:
        self.api.delete(resource, self.namespace, name)

    def condition(self, name: str, kind: str, resource: Resource = KIND_CLUSTERS) -> Mapping[str, Any]:
        return condition(self.find(resource, name), kind)

    def await_condition(
        self,
        name: str,
        kind: str = "Ready",
        reason: str = "",
        status: str = "",
        resource: Resource = KIND_CLUSTERS,
        seconds: float = PATIENCE_SECONDS,
    ) -> Mapping[str, Any]:
        """Wait until a condition has that reason or status, and return it. Without both, wait for True."""
        wanted = status or ("" if reason else "True")

        def seen() -> Mapping[str, Any] | None:
            found = self.condition(name, kind, resource)
            assert found.get("reason") == (reason or found.get("reason")), found
            assert found.get("status") == (wanted or found.get("status")), found
            return found or None

        return eventually(seen, seconds, 0.05)

    def await_gone(self, name: str, resource: Resource = KIND_CLUSTERS, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until an object is gone."""
        eventually(lambda: self.find(resource, name) is None, seconds, 0.05)

    def kind_cluster(self, name: str) -> Cluster:
        """Return the kind cluster of that name on the fake kind."""
        found = self.process.home.find(name)
        assert found is not None, self.process.home.names()
        return found

    def stop_node(self, name: str, verb: str = "stop") -> None:
        """Stop a node container, like a reboot or a person; or start or remove it."""
        command = [*FAKE_KIND.split(), "engine", *verb.split(), name]
        environment = {**os.environ, HOME_VARIABLE: str(self.process.home.directory)}
        subprocess.run(command, env=environment, timeout=30, check=True, stdout=subprocess.DEVNULL)

    def resource_versions(self, name: str = "") -> dict[str, str]:
        """Return the resourceVersions of all our and core's objects here whose names have that prefix."""
        return {
            f"{resource.kind} {seen['metadata']['name']}": seen["metadata"]["resourceVersion"]
            for resource in WATCHED_KINDS
            for seen in self.api.list(resource, self.namespace)
            if seen["metadata"]["name"].startswith(name)
        }

    def events(self, name: str) -> dict[str, Object]:
        """Return the Events about an object, by reason."""
        events = self.api.list(EVENTS, self.namespace)
        return {event["reason"]: event for event in events if event["involvedObject"]["name"] == name}


EVENTS = Resource("", "v1", "events", "Event")


def kindcluster(name: str, *, labels: Mapping[str, str] | None = None, **spec: Any) -> Object:
    """Return a KINDCluster."""
    metadata = {"name": name, **({"labels": dict(labels)} if labels else {})}
    return {"apiVersion": KIND_CLUSTERS.api_version, "kind": "KINDCluster", "metadata": metadata, "spec": spec}


def standalone(name: str, **spec: Any) -> Object:
    """Return a KINDCluster that needs no Cluster."""
    return kindcluster(name, standalone=True, **spec)


def control_plane(name: str, version: str | None = None) -> Object:
    """Return a KINDControlPlane."""
    return {
        "apiVersion": KIND_CONTROL_PLANES.api_version,
        "kind": "KINDControlPlane",
        "metadata": {"name": name},
        "spec": {"version": version} if version else {},
    }


def owner(
    name: str, *, with_control_plane: bool = True, labels: Mapping[str, str] | None = None, **spec: Any
) -> Object:
    """Return a Cluster whose references name objects with its own name."""
    references = {"infrastructureRef": {"apiGroup": KIND_CLUSTERS.group, "kind": "KINDCluster", "name": name}}
    if with_control_plane:
        group = KIND_CONTROL_PLANES.group
        references["controlPlaneRef"] = {"apiGroup": group, "kind": "KINDControlPlane", "name": name}
    return {
        "apiVersion": CLUSTERS.api_version,
        "kind": "Cluster",
        "metadata": {"name": name, **({"labels": dict(labels)} if labels else {})},
        "spec": {**references, **spec},
    }


def kubectl(secret: Object, directory: Path, *arguments: str, key: str = "value") -> str:
    """Run kubectl with only the kubeconfig in a Secret, and return its output."""
    kubeconfig = directory / f"{secret['metadata']['name']}.kubeconfig"
    write_private(kubeconfig, base64.b64decode(secret["data"][key]))
    command = [str(find_binary("kubectl")), "--kubeconfig", str(kubeconfig), *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def node_names(secret: Object, directory: Path, key: str = "value") -> list[str]:
    """Return the names of a workload cluster's nodes, read with a Secret's kubeconfig."""
    return sorted(kubectl(secret, directory, "get", "nodes", "-o", "name", key=key).replace("node/", "").split())


def clusterctl(place: Place, *arguments: str) -> str:
    """Run clusterctl for a place's namespace and return its output."""
    return _clusterctl(place, *arguments, "--namespace", place.namespace)


def generated(place: Place, name: str, template: Path, *flags: str) -> str:
    """Return what `clusterctl generate cluster` makes of a template, for the version of the fake kind."""
    what = ["--from", str(template), "--target-namespace", place.namespace, "--kubernetes-version", place.version]
    return _clusterctl(place, "generate", "cluster", name, *what, *flags)


def _clusterctl(place: Place, *arguments: str) -> str:
    where = ["--kubeconfig", str(place.management.kubeconfig)]
    offline = {"CLUSTERCTL_DISABLE_VERSIONCHECK": "true", "GOPROXY": "off", "HOME": str(place.management.directory)}
    command = [str(find_binary("clusterctl")), *arguments, *where]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=offline)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def unchanged(look: Callable[[], Any], seconds: float) -> None:
    """Assert that what `look` returns stays the same for that time."""
    before, deadline = look(), time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(0.25)
        after = look()
        if after != before:
            raise AssertionError(f"it was\n{yaml.safe_dump(before)}\nand became\n{yaml.safe_dump(after)}")


class SwitchableKind:
    """The fake kind with switches; it records command lines, and the configuration of every creation."""

    SCRIPT = """#!/bin/sh
place=${0%/*}
if [ -e "$place/off" ]; then
  echo "ERROR: failed to list clusters: command \\"docker ps\\" failed with error: exit status 1" >&2
  echo "" >&2
  echo "Command Output: Cannot connect to the Docker daemon at unix:///var/run/docker.sock." >&2
  exit 1
fi
echo "$*" >>"$place/calls"
case "$*" in
  "create cluster "*) tee "$place/configuration.$$" | {command} "$@" ;;
  "delete cluster "*|"rm "*) while [ -e "$place/hold" ]; do sleep 0.1; done; exec {command} "$@" ;;
  *) exec {command} "$@" ;;
esac
"""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir()
        for name, command in (("kind", FAKE_KIND), ("engine", f"{FAKE_KIND} engine")):
            script = directory / name
            script.write_text(self.SCRIPT.replace("{command}", command))
            script.chmod(stat.S_IRWXU)
        self.flags = ("--kind-command", str(directory / "kind"), "--engine-command", str(directory / "engine"))

    def answer(self, yes: bool) -> None:
        """Make every call fail like kind's without a container engine, or succeed again."""
        self._switch("off", not yes)

    def hold_deletions(self, yes: bool) -> None:
        """Let deletions begin but not continue, or let them continue."""
        self._switch("hold", yes)

    def calls(self, *words: str) -> list[str]:
        """Return the command lines so far that contain these words."""
        file = self._directory / "calls"
        lines = file.read_text().splitlines() if file.exists() else []
        return [line for line in lines if all(word in line.split() for word in words)]

    def creations(self, name: str) -> int:
        """Return the number of started creations of a kind cluster."""
        return len(self.calls("create", f"--name={name}"))

    def removals(self, cluster: Cluster) -> list[str]:
        """Return the command lines so far that remove a container of a kind cluster."""
        return [line for node in cluster.nodes for line in self.calls("rm", cluster.container_id(node))]

    def configuration(self, name: str) -> Mapping[str, Any]:
        """Return kind's configuration for that name."""
        made = (yaml.safe_load(file.read_text()) for file in self._directory.glob("configuration.*"))
        return next(document for document in made if document["name"] == name)

    def _switch(self, name: str, on: bool) -> None:
        if on:
            (self._directory / name).touch()
        else:
            (self._directory / name).unlink(missing_ok=True)

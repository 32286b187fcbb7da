"""The whole provider in virtual time, between an API server in memory and a container engine in memory.

Only I/O is replaced: the client of the API server, the kind command, the engine's command, and the
requests to workload API servers. Watches behave like the API server's: an object that stops matching is DELETED.
"""

import asyncio
import base64
import copy
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, cast

import yaml

from capk.api import names
from capk.api.conditions import find
from capk.api.names import (
    CLUSTERS,
    KIND_CLUSTERS,
    KIND_CONTROL_PLANES,
    KIND_MACHINES,
    MACHINES,
    SECRETS,
    Resource,
)
from capk.api.objects import KINDMachine
from capk.api.rights import Access, needed
from capk.engine.command import Output
from capk.engine.containers import Node, Sibling
from capk.engine.nodescripts import ETCD_MOUNT, READ_NOTE
from capk.engine.place import Place
from capk.errors import ApiError, CommandError, CommandFailed, Forbidden
from capk.manager.application import Application
from capk.manager.engines import Commands
from capk.manager.operations.completion import COMPLETION_FILE
from capk.runtime.metrics import Metrics
from capk.settings import Endpoint, Settings
from capk.workload.answer import Answer
from capk.workload.pool import DATA_PATH
from capkdev.certificates import Authority
from test.provider.workercalls import files_of_node, requested_node
from test.unit.recording_kube import RecordingKube, merge

WATCHED = {resource.plural: resource for resource in (*names.CLUSTER_WIDE, *names.RECONCILED, SECRETS, CLUSTERS)}
RIGHTS = frozenset(needed())
NO_ANSWER = Answer(0, "connection refused")
KUBE_SYSTEM_UID = "0c1e3c1e-0000-4000-8000-000000000001"
DATA_UID = "0c1e3c1e-0000-4000-8000-000000000002"
OWNER = {"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster", "name": "dev", "uid": "uid-of-owner"}


@cache
def authority(name: str = "ca") -> tuple[str, str]:
    """Return a certificate and its key, in base64 as a kubeconfig holds them; equal names give equal ones."""
    pair = Authority(name).issue_client(name)
    return base64.b64encode(pair.certificate).decode(), base64.b64encode(pair.key).decode()


def kubeconfig(server: str = "https://127.0.0.1:40001", *, ca: str = "ca", **user: Any) -> str:
    """Return a kubeconfig as kind prints it. ca: another name, another kind cluster."""
    certificate, key = authority(ca)
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": server, "certificate-authority-data": certificate}}],
        "users": [{"name": "u", "user": {"client-certificate-data": certificate, "client-key-data": key, **user}}],
    }
    return str(yaml.safe_dump(document))


def trouble(output: str = "ERROR: the engine is busy", *command: str) -> CommandFailed:
    """Return the exception of a failed command."""
    return CommandFailed(list(command) or ["kind", "create", "cluster"], output, 1)


def now() -> float:
    return asyncio.get_running_loop().time()


class Engine:
    """Containers by id, and every call with its time."""

    def __init__(self) -> None:
        self.containers: dict[str, Node] = {}
        self.calls: list[tuple[str, str, float]] = []
        self.files: dict[tuple[str, str], str] = {}
        """What was written into nodes, by container and path."""
        self.down: CommandError | None = None
        self.id = "engine-1"
        self.list_seconds = 0.02
        self.kubernetes_nodes: set[str] = set()
        """Nodes that kubeadm has joined."""
        self.etcd_mount = "/var"
        """Where the folder of etcd is mounted in every control plane."""
        self._ids = itertools.count(1)

    def run_node(
        self, name: str, cluster: str = "dev", *, mark: str | None = None, role: str = "", machine: str = ""
    ) -> str:
        """Create a running container; return its id."""
        roles = ("external-load-balancer", "control-plane", "worker")
        role = role or next(role for role in roles if role in name)
        container_id = f"{next(self._ids):064x}"
        self.containers[container_id] = Node(
            *(name, cluster, role, True, container_id, "172.18.0.2", f"since {container_id}"),
            image="kindest/node:v1.36.1",
            mark=mark,
            machine=machine,
            api_port=("127.0.0.1", 40001) if role == "control-plane" else None,
        )
        return container_id

    def stop_nodes(self, *container_ids: str) -> None:
        """Stop these containers, or all if none is named."""
        for container_id in container_ids or tuple(self.containers):
            self.containers[container_id] = replace(self.containers[container_id], running=False)

    def restart_nodes(self) -> None:
        """Start all containers again, as an engine does that was restarted."""
        for container_id, node in self.containers.items():
            self.containers[container_id] = replace(node, running=True, started_at="2026-01-02T00:00:00Z")

    @contextmanager
    def switched(self) -> Iterator[None]:
        """Let another engine answer, which has no containers."""
        containers, self.containers, self.id = self.containers, {}, "engine-2"
        try:
            yield
        finally:
            self.containers, self.id = containers, "engine-1"

    def of(self, cluster: str = "dev") -> list[Node]:
        return [node for node in self.containers.values() if node.cluster == cluster]

    def called(self, call: str, name: str | None = None) -> list[float]:
        """Return the times of these calls."""
        return [when for what, whom, when in self.calls if what == call and name in (None, whom)]

    def note(self, call: str, name: str) -> None:
        self.calls.append((call, name, now()))


class FakeKind:
    """The kind command. A test makes calls fail, or replaces a method."""

    command = ("kind",)

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.create_seconds = 5.0
        self.creates: list[CommandError | None] = []
        """Exceptions at the end of the next creations."""
        self.kubeconfigs: list[CommandError | None] = []
        self.text = kubeconfig()

    async def version(self) -> str:
        return "v0.33.0"

    async def create_cluster(self, name: str, config: Mapping[str, Any], **_: Any) -> str:
        self.engine.note("create", name)
        number: Counter[str] = Counter()
        for node in config["nodes"]:
            number[node["role"]] += 1
            suffix = "" if number[node["role"]] == 1 else str(number[node["role"]])
            mark = node["extraMounts"][-1]["containerPath"].rpartition("/")[2]
            self.engine.run_node(f"{name}-{node['role']}{suffix}", name, mark=mark)
        if number["control-plane"] > 1:
            self.engine.run_node(f"{name}-external-load-balancer", name)
        await asyncio.sleep(self.create_seconds)
        if self.creates and (error := self.creates.pop(0)) is not None:
            raise error
        return self.text

    async def delete_cluster(self, name: str) -> None:
        self.engine.note("delete", name)
        await asyncio.sleep(0.5)
        for node in self.engine.of(name):
            del self.engine.containers[node.container_id]

    async def clusters(self) -> list[str]:
        await asyncio.sleep(0.05)
        if self.engine.down:
            raise self.engine.down
        return sorted({node.cluster for node in self.engine.containers.values()})

    async def nodes(self, name: str) -> list[str]:
        return sorted(node.name for node in self.engine.of(name))

    async def kubeconfig(self, name: str, *, internal: bool) -> str:
        self.engine.note("kubeconfig", name)
        await asyncio.sleep(0.3)
        if self.kubeconfigs and (error := self.kubeconfigs.pop(0)) is not None:
            raise error
        return self.text


class FakeContainers:
    """The container engine's command; there is none if `command` is None."""

    def __init__(self, engine: Engine, command: tuple[str, ...] | None) -> None:
        self.host, self.command = engine, command
        self.removes: list[CommandError | None] = []
        self.remove_seconds = 0.1
        self.halts: list[CommandError | None] = []
        """Exceptions at the end of the next stops."""
        self.halt_seconds = 3.0
        self.join_seconds = 2.0
        self.joins: list[CommandError | None] = []
        """Exceptions at the end of the next joins."""
        self.runs: list[CommandError | None] = []
        """Exceptions at the end of the next requests for a container, which exists by then."""
        self.unreadable: CommandError | None = None
        """Why nothing can be read in nodes and nothing copied from them; None: it can."""

    engine = "docker"
    gives_lowest_address = True

    async def engine_id(self) -> str | None:
        return self.host.id

    async def release_addresses(self, cluster: str) -> None:
        pass

    async def resolves_names(self) -> bool | None:
        return None

    async def write_file(self, node_name: str, path: str, content: str, *, mode: str = "0644") -> None:
        self.host.files[node_name, path] = content

    async def run(self, node_name: str, command: Sequence[str], **_: Any) -> Output:
        words = " ".join(word for word in command[:3] if not word.startswith("-"))
        self.host.note("exec", node_name)
        self.host.note(words, node_name)
        match list(command):
            case ["sh", "-c", script, *_] if script == READ_NOTE:
                if self.unreadable or not self._container(node_name).running:
                    raise self.unreadable or trouble("container is not running", "docker", "exec")
                held = self.host.files.get((node_name, COMPLETION_FILE))
                return Output("missing\n" if held is None else f"held\n{held}", "")
            case ["cat", *paths]:
                return Output(files_of_node(paths, "v1.36.1"), "")
            case ["sh", "-c", script, *_] if script == ETCD_MOUNT:
                return Output(f"node\n{self.host.etcd_mount}\next2/ext3\n/data\n", "")
            case ["kubeadm", "token", "create", *_]:
                return Output("0a1b2c.0a1b2c3d4e5f6a7b", "")
            case ["kubeadm", "join", *_]:
                await asyncio.sleep(self.join_seconds)
                if self.joins and (error := self.joins.pop(0)) is not None:
                    raise error
                self.host.kubernetes_nodes.add(self.host.containers[node_name].name)
            case ["kubectl", *_, "delete", "node", name, "--ignore-not-found", "--wait=false"]:
                self.host.kubernetes_nodes.discard(name)
        return Output("", "")

    async def read(self, node_name: str, command: Sequence[str], **_: Any) -> Output:
        return await self.run(node_name, command)

    async def copied(self, container_id: str, folder: str, **_: Any) -> dict[str, str]:
        self.host.note("cp", container_id)
        if self._container(container_id) and self.unreadable:
            raise self.unreadable
        files = {path: text for (one, path), text in self.host.files.items() if one == container_id}
        return {"claim": "", **{path.removeprefix(f"{folder}/"): text for path, text in files.items()}}

    def _container(self, container_id: str) -> Node:
        if container_id not in self.host.containers:
            raise trouble(f"No such container: {container_id}", "docker", "exec")
        return self.host.containers[container_id]

    async def sibling(self, container_id: str) -> Sibling:
        node = self.host.containers[container_id]
        return Sibling(node.image, "image-id", "kind", (node.address,))

    async def has_image(self, image: str) -> bool:
        return True

    async def run_node(self, arguments: Sequence[str], variables: Mapping[str, str]) -> str:
        """Create the container of a worker; it is listed while the call still runs, as docker does."""
        asked = requested_node(arguments)
        name = asked.name
        self.host.note("run", name)
        if any(node.name == name for node in self.host.containers.values()):
            raise trouble(f'Conflict. The container name "/{name}" is already in use', "docker", "run")
        container_id = self.host.run_node(name, asked.cluster, role=asked.role, mark=asked.mark, machine=asked.machine)
        self.host.stop_nodes(container_id)
        await asyncio.sleep(0.5)
        if self.runs and (error := self.runs.pop(0)) is not None:
            raise error
        if container_id not in self.host.containers:
            raise trouble("No such container", "docker", "run")
        self.host.containers[container_id] = replace(self.host.containers[container_id], running=True)
        return container_id

    async def printed(self, container_id: str, **_: Any) -> str:
        self.host.note("logs", container_id)
        return "Reached target Multi-User System."

    async def nodes(self, cluster: str | None = None) -> list[Node] | None:
        await asyncio.sleep(self.host.list_seconds)
        if self.host.down:
            raise self.host.down
        found = [node for node in self.host.containers.values() if cluster in (None, node.cluster)]
        return sorted(found, key=lambda node: node.name) if self.command else None

    async def start(self, node_names: tuple[str, ...]) -> None:
        self.host.note("start", ",".join(node_names))
        for node in list(self.host.containers.values()):
            if node.name in node_names or node.container_id in node_names:
                started = replace(node, running=True, started_at=f"at {now()}")
                self.host.containers[node.container_id] = started

    async def stop(self, node_names: tuple[str, ...]) -> None:
        self.host.note("stop", ",".join(node_names))

    async def halt(self, container_ids: list[str]) -> None:
        self.host.note("halt", ",".join(sorted(container_ids)))
        await asyncio.sleep(self.halt_seconds)
        if self.halts and (error := self.halts.pop(0)) is not None:
            raise error
        for container_id in self.host.containers.keys() & set(container_ids):
            self.host.stop_nodes(container_id)

    async def remove(self, container_ids: list[str]) -> None:
        self.host.note("remove", ",".join(sorted(container_ids)))
        await asyncio.sleep(self.remove_seconds)
        if self.removes and (error := self.removes.pop(0)) is not None:
            raise error
        for container_id in container_ids:
            self.host.containers.pop(container_id, None)

    async def occupants(self) -> dict[str, str]:
        return {}


class _Objects(dict[tuple[str, str | None, str], dict[str, Any]]):
    """The stored objects; each change goes to the watches."""

    def __init__(self, changed: Callable[..., None]) -> None:
        super().__init__()
        self._changed = changed

    def __setitem__(self, key: tuple[str, str | None, str], obj: dict[str, Any]) -> None:
        before = self.get(key)
        super().__setitem__(key, obj)
        self._changed(key[0], before, obj)

    def __delitem__(self, key: tuple[str, str | None, str]) -> None:
        before = self[key]
        super().__delitem__(key)
        self._changed(key[0], before, None)


class WatchedKube(RecordingKube):
    """RecordingKube with watches, discovery, admission, and a count of requests.

    capi: the served version of Cluster API; a list: the next answers, of which the last repeats.
    refuse: returns the error for a write to reject. admit: applies a mutating webhook to an object.
    """

    server = "https://management"

    def __init__(self, capi: str | None, watch_filter: str | None) -> None:
        super().__init__()
        self.app: Application | None = None
        self.capi: list[str | None] = [capi]
        self.requests = 0
        self.refuse: Callable[[str, Resource, str, Any], ApiError | None] | None = None
        self.admit: Callable[[Resource, dict[str, Any]], dict[str, Any]] = lambda resource, obj: obj
        self.objects = _Objects(self._changed)
        ours = {names.WATCH_FILTER_LABEL: watch_filter} if watch_filter else {}
        self._selectors = {
            "secrets": {names.SECRET_CLUSTER_LABEL: None},
            **{resource.plural: ours for resource in names.FILTERED},
        }

    def put(self, resource: Resource, obj: Mapping[str, Any]) -> dict[str, Any]:
        metadata = {"creationTimestamp": "2026-01-01T00:00:00Z", "generation": 1, **obj["metadata"]}
        return super().put(resource, self.admit(resource, copy.deepcopy({**obj, "metadata": metadata})))

    async def serves(self, group: str) -> str | None:
        await asyncio.sleep(0.003)
        return self.capi.pop(0) if len(self.capi) > 1 else self.capi[0]

    async def get(self, resource: Resource, namespace: str | None, name: str) -> dict[str, Any]:
        await self._request("get", resource)
        return await super().get(resource, namespace, name)

    async def create(self, resource: Resource, obj: Mapping[str, Any]) -> dict[str, Any]:
        await self._request("create", resource)
        return await super().create(resource, obj)

    async def patch(self, resource: Resource, *args: Any, **options: Any) -> dict[str, Any]:
        await self._request("patch", resource, options.get("subresource") or "")
        return await super().patch(resource, *args, **options)

    async def delete(self, resource: Resource, namespace: str | None, name: str, *, uid: str | None = None) -> None:
        await self._request("delete", resource)
        await super().delete(resource, namespace, name, uid=uid)

    def edit(self, resource: Resource, name: str, patch: Mapping[str, Any], namespace: str = "default") -> None:
        """Change an object as a user does."""
        seen = self.objects[resource.plural, namespace, name]
        self._replace(resource, seen, merge(seen, patch))

    def find(self, resource: Resource, name: str, namespace: str = "default") -> dict[str, Any] | None:
        return self.objects.get((resource.plural, namespace, name))

    def written(self, resource: Resource) -> int:
        """Return the number of requested writes of that kind."""
        return sum(plural == resource.plural for _, plural, *_ in self.writes)

    async def _request(self, verb: str, resource: Resource, subresource: str = "") -> None:
        """Count a request; deny what the ClusterRole does not grant."""
        self.requests += 1
        plural = f"{resource.plural}/{subresource}" if subresource else resource.plural
        if Access(verb, resource.group, plural) not in RIGHTS:
            raise Forbidden(verb, plural, 403, "the provider has no such right")
        await asyncio.sleep(0.003)

    def _record(self, verb: str, resource: Resource, namespace: str | None, name: str, body: Any) -> None:
        super()._record(verb, resource, namespace, name, body)
        if self.refuse and (error := self.refuse(verb, resource, name, body)) is not None:
            raise error

    def _replace(self, resource: Resource, seen: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
        return super()._replace(resource, seen, self.admit(resource, wanted))

    def _matches(self, plural: str, obj: Mapping[str, Any] | None) -> bool:
        labels = (obj["metadata"].get("labels") or {}) if obj else {}
        wanted = self._selectors.get(plural, {})
        return obj is not None and all(key in labels and value in (None, labels[key]) for key, value in wanted.items())

    def _changed(self, plural: str, before: dict[str, Any] | None, after: dict[str, Any] | None) -> None:
        if plural not in WATCHED or self.app is None:
            return
        was, now_matches = self._matches(plural, before), self._matches(plural, after)
        if not (was or now_matches):
            return
        kind = "DELETED" if not now_matches else "MODIFIED" if was else "ADDED"
        # A DELETED event carries the last state that matched, with the version of the change.
        body = copy.deepcopy(after if now_matches else before)
        assert body is not None
        if not now_matches:
            body["metadata"]["resourceVersion"] = (
                after["metadata"]["resourceVersion"] if after else str(next(self._versions))
            )
        asyncio.get_running_loop().call_later(0.01, self.app.cache.on_event, WATCHED[plural], kind, body)


class World:
    """A management cluster, a container engine, and the provider between them.

    capi: the version of Cluster API that the API server serves. engine_lists: whether there is an engine command.
    settings: those that differ from the defaults of the tests.
    """

    def __init__(
        self,
        directory: Path,
        *,
        capi: str | None = None,
        engine_lists: bool = True,
        watch_filter: str | None = None,
        **settings: Any,
    ) -> None:
        self.engine = Engine()
        self.kind = FakeKind(self.engine)
        self.containers = FakeContainers(self.engine, ("docker",) if engine_lists else None)
        self.kube = WatchedKube(capi, watch_filter)
        chosen = {"endpoint": Endpoint.EXTERNAL, "max_concurrent_creates": 4, **settings}
        self.settings = Settings(work_dir=directory, watch_filter=watch_filter, allowed_host_paths=("/",), **chosen)
        self.answer = Answer(200, "HTTP 200")
        """The answers of workload API servers."""
        self.data = Answer(200, "HTTP 200", f'{{"metadata": {{"uid": "{DATA_UID}"}}}}'.encode())
        """Their answers to anonymous users about the data in their etcd."""
        self.to_login: Answer | None = None
        """Their answers to administrators, if these differ."""
        self.kube_system_uid = KUBE_SYSTEM_UID
        self._app: Application | None = None

    def _commands(self, place: Place) -> Commands:
        return Commands(cast(Any, self.kind), cast(Any, self.containers))

    @property
    def app(self) -> Application:
        assert self._app is not None
        return self._app

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Application]:
        """Run the provider beside the body."""
        self._app = self.kube.app = Application(
            self.settings,
            cast(Any, self.kube),
            Metrics(),
            commands=self._commands,
            ask=self._ask,
            ask_health=self._ask_health,
        )
        try:
            async with self._app.running():
                yield self._app
        finally:
            self.kube.app = None

    @asynccontextmanager
    async def killed(self) -> AsyncIterator[Application]:
        """Run the provider beside the body, and end it as SIGKILL does: what it would still do changes nothing."""
        async with self.running() as app:
            yield app
            self.kube.app = None
            objects, engine = copy.deepcopy(dict(self.kube.objects)), self.engine
            containers, nodes = dict(engine.containers), set(engine.kubernetes_nodes)
        self.kube.objects.clear()
        self.kube.objects.update(objects)
        engine.containers, engine.kubernetes_nodes = containers, nodes

    def add(self, name: str = "dev", namespace: str = "default", *, spec: Any = None, **metadata: Any) -> None:
        """Create a KINDCluster as a user does."""
        metadata = {"name": name, "namespace": namespace, **metadata}
        self.kube.put(KIND_CLUSTERS, {"metadata": metadata, "spec": spec or {}})

    def add_owned(self, *, control_plane: bool = True, version: str = "v1.36.1") -> None:
        """Create Cluster, KINDCluster and KINDControlPlane, as from a template."""
        references: dict[str, Any] = {"infrastructureRef": {"kind": "KINDCluster", "name": "dev"}}
        if control_plane:
            references["controlPlaneRef"] = {"kind": "KINDControlPlane", "name": "dev"}
        owner = {"name": "dev", "namespace": "default", "uid": OWNER["uid"]}
        self.kube.put(CLUSTERS, {"metadata": owner, "spec": references})
        self.add(ownerReferences=[OWNER])
        if control_plane:
            self.add_control_plane(version)

    def add_control_plane(self, version: str = "v1.36.1", **metadata: Any) -> None:
        metadata = {"name": "dev", "namespace": "default", "ownerReferences": [OWNER], **metadata}
        self.kube.put(KIND_CONTROL_PLANES, {"metadata": metadata, "spec": {"version": version}})

    def add_machine(self, name: str = "dev-w1", *, version: str = "v1.36.1", spec: Any = None, **metadata: Any) -> None:
        """Create a Machine and its KINDMachine, as core does for a MachineDeployment."""
        labels = {names.CORE_CLUSTER_NAME_LABEL: "dev"}
        machine = self.kube.put(
            MACHINES,
            {"metadata": {"name": name, "namespace": "default", "labels": labels}, "spec": {"version": version}},
        )
        reference = {
            "apiVersion": MACHINES.api_version,
            "kind": "Machine",
            "name": name,
            "uid": machine["metadata"]["uid"],
        }
        own = {"name": name, "namespace": "default", "labels": labels, "ownerReferences": [reference], **metadata}
        self.kube.put(KIND_MACHINES, {"metadata": own, "spec": spec or {}})

    def add_standalone_machine(self, name: str = "dev-w1", *, cluster: str = "dev", **metadata: Any) -> None:
        """Create a KINDMachine that names its KINDCluster itself."""
        own = {"name": name, "namespace": "default", **metadata}
        self.kube.put(KIND_MACHINES, {"metadata": own, "spec": {"clusterName": cluster}})

    def machine(self, name: str = "dev-w1") -> KINDMachine:
        return KINDMachine(self.kube.objects["kindmachines", "default", name])

    def node(self, name: str = "dev-w1") -> Node:
        """Return the container of that name."""
        return next(node for node in self.engine.containers.values() if node.name == name)

    async def joined(self, *machines: str) -> None:
        """Wait until these KINDMachines are Ready."""
        for name in machines or ("dev-w1",):
            await self.until(lambda name=name: self.reason(name, resource=KIND_MACHINES) == "Ready")  # type: ignore[misc]
        await asyncio.sleep(1)

    def annotate(self, name: str = "dev", namespace: str = "default", **annotations: str | None) -> None:
        """Set annotations of a KINDCluster; their names as in `capk.api.names`, without _ANNOTATION."""
        found = {getattr(names, f"{key}_ANNOTATION"): value for key, value in annotations.items()}
        self.kube.edit(KIND_CLUSTERS, name, {"metadata": {"annotations": found}}, namespace)

    def delete(self, name: str = "dev", namespace: str = "default", resource: Resource = KIND_CLUSTERS) -> None:
        """Delete an object as a user does: it stays as long as it has finalizers."""
        seen = self.kube.objects[resource.plural, namespace, name]
        if seen["metadata"].get("finalizers"):
            self.kube.edit(resource, name, {"metadata": {"deletionTimestamp": "2026-01-02T00:00:00Z"}}, namespace)
        else:
            del self.kube.objects[resource.plural, namespace, name]

    def vanish(self, name: str = "dev", namespace: str = "default", resource: Resource = KIND_CLUSTERS) -> None:
        """Remove an object immediately, regardless of its finalizers."""
        del self.kube.objects[resource.plural, namespace, name]

    def get(
        self, name: str = "dev", namespace: str = "default", resource: Resource = KIND_CLUSTERS
    ) -> dict[str, Any] | None:
        return self.kube.find(resource, name, namespace)

    def condition(self, kind: str, name: str = "dev", namespace: str = "default", **of: Any) -> tuple[str, str, str]:
        """Return status, reason and message of a condition; empty if there is none."""
        status = (self.get(name, namespace, **of) or {}).get("status") or {}
        found = [one for one in status.get("conditions") or () if one["type"] == kind]
        return (found[0]["status"], found[0]["reason"], found[0].get("message", "")) if found else ("", "", "")

    def reason(self, name: str = "dev", namespace: str = "default", **of: Any) -> str:
        """Return the reason of Ready, as `kubectl get` shows it."""
        return self.condition("Ready", name, namespace, **of)[1]

    def history(self, name: str = "dev", namespace: str = "default") -> list[str]:
        status = (self.get(name, namespace) or {}).get("status") or {}
        return [entry["reason"] for entry in status.get("history") or ()]

    def read(self, secret: str) -> Any:
        """Return the kubeconfig in a Secret."""
        found = self.kube.find(SECRETS, secret)
        assert found is not None
        return yaml.safe_load(base64.b64decode(next(iter(found["data"].values()))))

    async def gone(self, name: str = "dev", *, resource: Resource = KIND_CLUSTERS) -> float:
        """Wait until an object is gone; return the seconds that it took."""
        return await self.until(lambda: self.get(name, resource=resource) is None)

    async def until(self, said: Callable[[], bool], seconds: float = 600.0, *, every: float = 0.1) -> float:
        """Wait until a condition holds, looking so often; return the seconds that it took, or fail."""
        began = now()
        while not said():
            assert now() - began < seconds, f"not so within {seconds:.0f} s: {self._ready()}"
            await asyncio.sleep(every)
        return now() - began

    def _ready(self) -> dict[str, str]:
        """Return the condition Ready of everything that the provider reconciles."""
        kinds = {resource.plural for resource in names.RECONCILED}
        found = [one for (plural, _, _), one in self.kube.objects.items() if plural in kinds]
        ready = [(one, find((one.get("status") or {}).get("conditions") or (), "Ready") or {}) for one in found]
        return {
            f"{one['kind']} {one['metadata']['name']}": f"{seen.get('reason')} {seen.get('message', '')}"
            for one, seen in ready
        }

    async def creating(self, name: str = "dev") -> None:
        """Wait until kind is in the middle of a creation."""
        await self.until(lambda: self.engine.of(name) != [])
        await asyncio.sleep(1)

    async def ready(self, name: str = "dev", namespace: str = "default") -> None:
        """Wait until a KINDCluster is Ready and everything has settled."""
        await self.until(lambda: self.reason(name, namespace) == "Ready")
        await asyncio.sleep(1)

    async def _ask(self, target: Any, path: str, login: Any) -> Answer:
        await asyncio.sleep(0.01)
        if not self.answer.came:
            return self.answer
        if login is not None and self.to_login is not None:
            return self.to_login
        body = b'{"gitVersion": "v1.36.1"}' if path == "/version" else b'{"metadata": {"uid": "%s"}}'
        return replace(self.answer, body=body.replace(b"%s", self.kube_system_uid.encode()))

    async def _ask_health(self, target: Any, path: str) -> Answer:
        await asyncio.sleep(0.01)
        if path == DATA_PATH and self.answer.is_alive:
            return self.data
        return self.answer


async def quiet(world: World, seconds: float) -> int:
    """Let time pass; return the number of requests to the API server meanwhile."""
    before = world.kube.requests
    await asyncio.sleep(seconds)
    return world.kube.requests - before

"""A container engine in memory with one kind cluster, for the calls that workers need. It records them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from capk.engine import worker
from capk.engine.command import Output
from capk.engine.containers import Containers, Node, Sibling
from capk.engine.nodescripts import JOIN_FILE, READ_REGISTRIES, VERSION_FILE, WRITE_REGISTRIES
from capk.errors import CommandError, CommandFailed

CONTROL_PLANE, NEW = "c" * 64, "d" * 64
TOKEN = "0a1b2c.0a1b2c3d4e5f6a7b"
KUBEADM = (Path(__file__).parents[2] / "fixtures" / "kubeadm" / "v1beta4.yaml").read_text()
MARK = "5d6a6d3e.1"


def node(
    name: str = "rec-control-plane", role: str = "control-plane", identity: str = CONTROL_PLANE, **more: Any
) -> Node:
    fields = {"cluster": "rec", "running": True, "address": "172.18.0.2", "started_at": "", "mark": MARK}
    return Node(**{**fields, "name": name, "role": role, "container_id": identity, **more})


class NodesDouble(Containers):
    """The engine.

    listed: its node containers. steps: what it did, in short words. written: files of the new node.
    failing: step -> the error that it raises. during: step -> called at it.
    """

    def __init__(self, engine: str = "docker") -> None:
        super().__init__([engine])
        self.listed = [node()]
        self.steps: list[str] = []
        self.commands: list[Sequence[str]] = []
        self.asked: list[str] = []
        self.written: dict[str, str] = {}
        self.arguments: list[str] = []
        self.variables: dict[str, str] = {}
        self.kubeadm = KUBEADM
        self.versions = {CONTROL_PLANE: "v1.36.3", NEW: "v1.36.3"}
        self.siblings = {
            identity: Sibling("kindest/node:v1.36.3", "0123", "kind", ("172.18.0.9",))
            for identity in (CONTROL_PLANE, NEW)
        }
        self.failing: dict[str, CommandError] = {}
        self.during: dict[str, Callable[[], Any]] = {}
        self.has_images, self.is_stuck = True, False
        self.output = "Reached target Multi-User System."

    async def _do(self, step: str) -> None:
        self.steps.append(step)
        if step in self.during:
            outcome = self.during[step]()
            if hasattr(outcome, "__await__"):
                await outcome
        if step in self.failing:
            raise self.failing[step]

    async def nodes(self, cluster: str | None = None) -> list[Node] | None:
        return [node for node in self.listed if cluster in (None, node.cluster)]

    async def sibling(self, container_id: str) -> Sibling:
        return self.siblings[container_id]

    async def has_image(self, image: str) -> bool:
        return self.has_images

    async def pull(self, image: str) -> None:
        await self._do(f"pull {image}")

    async def create_volume(self, node: str, machine: str) -> str:
        await self._do(f"create volume {node} {machine}")
        return "a-volume"

    async def remove_volumes(self, machine: str) -> None:
        await self._do(f"remove volumes {machine}")

    async def run_node(self, arguments: Sequence[str], variables: Mapping[str, str]) -> str:
        self.arguments, self.variables = list(arguments), dict(variables)
        name = self.arguments[self.arguments.index("--name") + 1]
        await self._do("run")
        self.listed.append(node(name, "worker", NEW, machine="m-1"))
        return NEW

    async def remove(self, container_ids: Sequence[str]) -> None:
        await self._do("remove")
        if not self.is_stuck:
            self.listed = [one for one in self.listed if one.container_id not in container_ids]

    async def printed(self, container_id: str, *, timeout_seconds: float = 30) -> str:
        await self._do("logs")
        return self.output

    async def write_file(self, node_name: str, path: str, content: str, *, mode: str = "0644") -> None:
        await self._do(f"write {path} {mode}")
        self.written[path] = content

    async def run(
        self, node_name: str, command: Sequence[str], *, stdin: str | None = None, timeout_seconds: float = 30
    ) -> Output:
        self.commands.append(command)
        self.asked.append(node_name)
        where = "new" if node_name == NEW else "control plane"
        await self._do(f"{_short(command)} in {where}")
        return Output(self._answer(node_name, list(command)), "")

    async def read(self, node_name: str, command: Sequence[str], *, timeout_seconds: float = 30) -> Output:
        return await self.run(node_name, command)

    def stop(self, identity: str = CONTROL_PLANE) -> Any:  # type: ignore[override]
        self.listed = [replace(one, running=one.container_id != identity) for one in self.listed]

    def _answer(self, node_name: str, command: list[str]) -> str:
        if command[0] == "cat":
            texts = {JOIN_FILE: self.kubeadm, VERSION_FILE: self.versions[node_name]}
            return "".join(texts[path] for path in command[1:])
        if command == list(worker.TOKEN_COMMAND):
            return f"{TOKEN}\n"
        return "the kubelet's last words" if command[0] == "journalctl" else ""


def _short(command: Sequence[str]) -> str:
    words = [word for word in command if not word.startswith("-")]
    if words[0] == "sh":
        return {READ_REGISTRIES: "read registries", WRITE_REGISTRIES: "write registries"}.get(words[1], "script")
    return " ".join(words[:2] if words[0] in ("kubeadm", "kubectl") else words[:1])


def failed(output: str = "no such thing", status: int = 1) -> CommandFailed:
    return CommandFailed(["docker", "exec"], output, status)

"""The provider with kind and the container engine in its own process: `python -m bench.freeengine run`, as `capk run`.

A kind cluster is one entry in memory, so what remains is the provider's own work: no process, no pipe, no output to
parse. Everything else is real, including the requests to the API server of each workload cluster.

BENCH_ENGINE: directory with `kubeconfig`, whose API server answers for every workload cluster, for each under a name of
its own: the provider keeps one connection for each address.
"""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bench import hostnames
from bench.kubelet import NAMESPACE
from capk.api.names import CLAIM_MOUNT_FOLDER
from capk.engine import progress
from capk.engine.containers import Containers, Node
from capk.engine.kind import Build, Kind
from capk.engine.progress import Step
from capk.engine.workdir import WorkDir
from capk.manager import process
from capk.manager.engines import Commands
from capkdev.fakekind.kindconfig import DEFAULT_IMAGE

STEPS = (
    "Ensuring node image",
    "Preparing nodes",
    "Writing configuration",
    "Starting control-plane",
    "Installing CNI",
    "Installing StorageClass",
)


class FreeEngine(Containers):
    """A container engine with the nodes of kind clusters of one control plane each."""

    def __init__(self) -> None:
        super().__init__(["docker"])
        self.made: dict[str, Node] = {}

    async def nodes(self, cluster: str | None = None) -> list[Node] | None:
        return [node for name, node in self.made.items() if cluster in (None, name)]

    async def remove(self, container_ids: Sequence[str]) -> None:
        self.made = {name: node for name, node in self.made.items() if node.container_id not in container_ids}

    async def write_file(self, node_name: str, path: str, content: str, *, mode: str = "0644") -> None:
        """Write nothing: the file is for a later clean-up, which no bench has."""

    async def engine_id(self) -> str | None:
        return "free"


class FreeKind(Kind):
    """A kind whose clusters exist as soon as they are asked for."""

    def __init__(self, engine: FreeEngine, directory: Path) -> None:
        super().__init__(["kind"], work_dir=WorkDir(directory / "free"))
        self._engine = engine
        self._kubeconfig = (directory / "kubeconfig").read_text()

    async def build(self) -> Build:
        return Build("v0.33.0", "go1.26.8")

    async def create_cluster(
        self,
        name: str,
        config: Mapping[str, Any],
        *,
        image: str | None = None,
        wait_seconds: int = 0,
        retain: bool = False,
        on_step: Callable[[Step], None] = lambda step: None,
    ) -> str:
        for title in STEPS:
            if step := progress.step(f" • {title}  ..."):
                on_step(step)
        self._engine.made[name] = _node(name, config)
        return await self.kubeconfig(name, internal=False)

    async def clusters(self) -> list[str]:
        return sorted(self._engine.made)

    async def kubeconfig(self, name: str, *, internal: bool) -> str:
        return self._kubeconfig.replace(f"//{hostnames.THIS_MACHINE}:", f"//{name}.{NAMESPACE}.svc:")


def _node(name: str, config: Mapping[str, Any]) -> Node:
    mounts = [mount["containerPath"] for mount in config["nodes"][0]["extraMounts"]]
    marks = [path.removeprefix(CLAIM_MOUNT_FOLDER) for path in mounts if path.startswith(CLAIM_MOUNT_FOLDER)]
    return Node(
        name=f"{name}-control-plane",
        cluster=name,
        role="control-plane",
        running=True,
        container_id=hashlib.sha256(name.encode()).hexdigest(),
        address="172.18.0.2",
        started_at="2025-01-01T00:00:00Z",
        image=DEFAULT_IMAGE,
        mark=marks[0],
        addresses=("172.18.0.2",),
    )


def main() -> None:
    """Run the command line of `capk` with this engine."""
    engine = FreeEngine()
    kind = FreeKind(engine, Path(os.environ["BENCH_ENGINE"]))
    process.run_provider = partial(process.run_provider, commands=lambda place: Commands(kind, engine))
    hostnames.main()


if __name__ == "__main__":
    main()

"""Files that a creation writes: into its own nodes before Kubernetes starts there, and again at the end."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from capk.api.names import Reason
from capk.engine.progress import NOT_READY, Step
from capk.errors import CommandFailed
from capk.manager.operations.nodefiles import NO_ENGINE_COMMAND
from capk.plan.facts import CreationFacts
from capk.plan.marks import Mark
from test.unit.manager.test_manager_executor import CREATE, RECORD, Engine, container, executor

pytestmark = pytest.mark.virtual_time

FILES = {"/etc/a/ca.crt": "certificate", "/etc/a/hosts.toml": "mirror"}
WITH_FILES = replace(CREATE, files=FILES)


class Making(Engine):
    """An engine whose kind creates the cluster."""

    def __init__(self, *, last: Step | None = None, slow: bool = False) -> None:
        super().__init__(container("dev-worker", mark=Mark("8f2c", 4)), container("other-worker", cluster="other"))
        self.makes = [
            container("dev-control-plane"),
            container("dev-worker2"),
            container("dev-external-load-balancer", mark=None),
        ]
        self.written: list[tuple[str, str, str]] = []
        self.at_pull: list[tuple[str, str, str]] = []
        self.broken = ""
        self.last, self.slow = last, slow
        self.fails = False

    async def create_cluster(self, name: str, *_: object, on_step: Any, **__: object) -> str:
        on_step(Step(Reason.PREPARING_NODES, ""))
        self.there += self.makes
        for _ in range(2):
            on_step(Step(Reason.WRITING_CONFIGURATION, ""))
        await asyncio.sleep(0.1)
        self.at_pull = list(self.written)
        if self.fails:
            raise CommandFailed(["kind", "create", "cluster"], "ERROR: no", 1)
        if self.last:
            on_step(self.last)
        return "no kubeconfig"

    async def write_file(self, node: str, path: str, content: str) -> None:
        await asyncio.sleep(3600 if self.slow and not self.at_pull else 0)
        if self.broken == node:
            raise CommandFailed(["docker", "exec", node], "sh: read-only file system", 1)
        self.written.append((node, path, content))


async def make(engine: Engine, directory: Path, request: Any = WITH_FILES) -> CreationFacts:
    made = await executor(engine, directory).carry_out(RECORD, request, lambda step: None)
    return made.facts


async def test_files_are_there_before_anything_is_pulled_and_again_at_the_end(tmp_path):
    engine = Making()
    assert await make(engine, tmp_path) == CreationFacts(registries="")
    every = sorted((node, *file) for node in ("dev-control-plane", "dev-worker2") for file in FILES.items())
    assert sorted(engine.at_pull) == every
    assert sorted(engine.written) == sorted(every * 2)


async def test_files_are_written_in_their_order(tmp_path):
    engine = Making()
    await make(engine, tmp_path)
    paths = [path for node, path, _ in engine.at_pull if node == "dev-worker2"]
    assert paths == list(FILES)


async def test_files_go_into_containers_by_their_ids(tmp_path):
    """Another container may get the name of a node meanwhile."""
    engine = Making()
    engine.makes = [container("dev-control-plane", id="id-1")]
    await make(engine, tmp_path)
    assert {node for node, *_ in engine.written} == {"id-1"}


async def test_node_that_refuses_a_file_is_named_and_the_cluster_lives(tmp_path):
    engine = Making()
    engine.broken = "dev-worker2"
    assert await make(engine, tmp_path) == CreationFacts(registries="dev-worker2: sh: read-only file system")
    assert engine.removed == []


async def test_first_writing_that_hangs_is_ended_by_the_second(tmp_path):
    engine = Making(slow=True)
    engine.at_pull = []
    await asyncio.wait_for(executor(engine, tmp_path).carry_out(RECORD, WITH_FILES, lambda step: None), 7300)
    assert len(asyncio.all_tasks()) == 1


async def test_failed_creation_leaves_no_writing_behind(tmp_path):
    engine = Making(slow=True)
    engine.fails = True
    with pytest.raises(CommandFailed):
        await make(engine, tmp_path)
    assert len(asyncio.all_tasks()) == 1


async def test_creation_without_files_writes_none(tmp_path):
    engine = Making()
    assert await make(engine, tmp_path, CREATE) == CreationFacts()
    assert engine.written == []


async def test_without_a_command_of_an_engine_the_cause_is_given(tmp_path):
    engine = Making()
    engine.command = None
    assert await make(engine, tmp_path) == CreationFacts(registries=NO_ENGINE_COMMAND)


async def test_nodes_that_were_not_ready_in_time_are_remembered(tmp_path):
    assert (await make(Making(last=NOT_READY), tmp_path, CREATE)).not_ready == NOT_READY.message

"""The engines of `engines`, as a fixture."""

import asyncio
import os
import sys
from collections.abc import Iterator

import pytest

from capk.engine.containers import Containers
from capk.engine.kind import Kind
from capk.engine.workdir import WorkDir
from test.contract.engines import BIN, FAKE_KIND, KINDS, REAL, RELEASES, USERS_KUBECONFIG, Engine


@pytest.fixture(scope="session", params=[*REAL, FAKE_KIND])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    home = tmp_path_factory.mktemp(f"home-{request.param}")
    folder = tmp_path_factory.mktemp("work")
    work_dir = WorkDir(folder)
    (home / ".kube").mkdir()
    for name in ("config", "other"):
        (home / ".kube" / name).write_text(USERS_KUBECONFIG)
    environment = {"HOME": str(home), "KUBECONFIG": str(home / ".kube" / "other")}
    is_real = request.param != FAKE_KIND
    local = (sys.executable, "-m", "capkdev.fakekind")
    if not is_real:
        environment |= {"CAPK_LOCAL_KIND_HOME": str(home / "clusters"), "CAPK_BIN": str(BIN)}
    engine = Engine(
        is_real,
        RELEASES["kind" if request.param == FAKE_KIND else request.param],
        Kind([str(KINDS[request.param])] if is_real else local, work_dir=work_dir, environment=environment),
        Containers(["docker"] if is_real else [*local, "engine"], environment=environment),
        os.environ.get("KIND_NODE_IMAGE") if is_real else None,
        home,
        folder,
        environment,
    )
    yield engine
    asyncio.run(_delete(engine))
    work_dir.close()


async def _delete(engine: Engine) -> None:
    for name in set(engine.names) & set(await engine.kind.clusters()):
        await engine.kind.delete_cluster(name)

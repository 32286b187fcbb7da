"""Facts of a place where everything is fine, and how to change some of them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from capk.api.definitions import expected
from capk.api.names import CONTROL_PLANE_GROUP, INFRASTRUCTURE_GROUP
from capk.doctor.place import EngineFacts, Facts, ImageFacts, KindFacts, MachineFacts, ManagementFacts, WorkDirFacts
from capk.engine.info import EngineInfo
from capk.engine.kind import Build
from capk.kindconfig.images import default_image, kind_release

GIB = 2**30
INFO = EngineInfo(id="A:B", version="28.2.2", host="here", data_root="/var/lib/docker", memory_bytes=16 * GIB)
MANAGEMENT = ManagementFacts(
    "the kubeconfig /home/me/.kube/config",
    server="https://127.0.0.1:6443",
    definitions=expected(),
    groups=frozenset({INFRASTRUCTURE_GROUP, CONTROL_PLANE_GROUP}),
    core_version="v1beta2",
    core_release="v1.14.1",
)
FINE = Facts(
    kind=KindFacts(("kind",), build=Build(kind_release(), "go1.26.8")),
    engine=EngineFacts(("docker",), info=INFO),
    image=ImageFacts(default_image(), present=True),
    machine=MachineFacts("here", 512, 524288, 8 * GIB, 50 * GIB),
    work_dir=WorkDirFacts(Path("/tmp/capk-1000"), exists=True, explicit=False),
    management=MANAGEMENT,
)


class Place:
    """Builds facts: everything is fine except what a test changes."""

    def __call__(self, **parts: Any) -> Facts:
        return replace(FINE, **parts)

    def kind(self, version: str, toolchain: str = "go1.26.8") -> Facts:
        return self(kind=KindFacts(("kind",), build=Build(version, toolchain)))

    def info(self, **fields: Any) -> Facts:
        return self(engine=EngineFacts(("docker",), info=replace(INFO, **fields)))

    def machine(self, **fields: Any) -> Facts:
        return self(machine=replace(FINE.machine, **fields))

    def management(self, **fields: Any) -> ManagementFacts:
        return replace(MANAGEMENT, **fields)


@pytest.fixture
def place() -> Place:
    return Place()

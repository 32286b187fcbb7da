"""The engines that the suite runs against: two releases of the real kind with its containers, and the fake kind.

The real ones take part if a container engine answers and KIND_NODE_IMAGE names a node image that it has, or if
CAPK_E2E=1 is set.
"""

import os
import secrets
import shutil
import subprocess
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from capk.engine.containers import Containers
from capk.engine.kind import Kind

ROOT = Path(__file__).parents[2]
BIN = ROOT / "bin"
FAKE_KIND = "capkdev-fake-kind"
_PINS = tomllib.loads((ROOT / "tools" / "versions.toml").read_text())["programs"]
RELEASES = {name: str(_PINS[name]["version"]) for name in ("kind", "kind-previous")}
"""Program in bin/ -> its required release of kind."""
_PLACES = os.pathsep.join([str(BIN), os.environ.get("PATH", "")])
KINDS = {name: shutil.which(name, path=_PLACES) for name in RELEASES}
"""Program -> its path; None if it is missing."""
USERS_KUBECONFIG = "# the user's own\napiVersion: v1\nkind: Config\n"


@dataclass
class Engine:
    """One engine, and the clusters that were created with it."""

    is_real: bool
    release: str
    kind: Kind
    containers: Containers
    image: str | None
    home: Path
    work_dir: Path
    environment: dict[str, str]
    prefix: str = field(default_factory=lambda: f"eng-{secrets.token_hex(2)}")
    names: list[str] = field(default_factory=list)

    def name(self, purpose: str) -> str:
        """Return a unique cluster name; the cluster is deleted at the end of the session."""
        name = f"{self.prefix}-{purpose}"
        self.names.append(name)
        return name

    def stop_node(self, name: str) -> None:
        subprocess.run(
            [*(self.containers.command or ()), "stop", name],
            env={**os.environ, **self.environment},
            check=True,
            capture_output=True,
        )


def config(*roles: str, **more: Any) -> dict[str, Any]:
    nodes = [{"role": role} for role in roles or ["control-plane"]]
    return {"kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4", "nodes": nodes, **more}


def _why_no_real_kind(program: str) -> str:
    if not KINDS[program]:
        return f"there is no {program} command in bin/ or on the PATH"
    if not shutil.which("docker") or subprocess.run(["docker", "version"], capture_output=True).returncode:
        return "no container engine answers"
    if not os.environ.get("KIND_NODE_IMAGE") and os.environ.get("CAPK_E2E") != "1":
        return "neither KIND_NODE_IMAGE nor CAPK_E2E=1 is set"
    return ""


def _real(program: str) -> Any:
    why_not = _why_no_real_kind(program)
    return pytest.param(program, marks=[pytest.mark.e2e, pytest.mark.skipif(bool(why_not), reason=why_not)])


REAL = [_real(program) for program in RELEASES]
"""Parameters: both releases of the real kind."""

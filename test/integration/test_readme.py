"""The README's commands, run as they stand there."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from capk.localkind.clusters import HOME_VARIABLE, Home
from capk.localkind.controlplane import free_port
from capk.localplane.plane import LocalPlane

ROOT = Path(__file__).parents[2]
STAND_IN = f"{sys.executable} -m capk.localkind"
BLOCK = re.compile(r"<!-- run: (?P<journey>\w+) -->\n```sh\n(?P<commands>.*?)```", re.DOTALL)


def commands(journey: str) -> list[str]:
    """Return the blocks of a journey."""
    return [
        block["commands"] for block in BLOCK.finditer((ROOT / "README.md").read_text()) if block["journey"] == journey
    ]


def test_ci_runs_the_two_commands_as_the_readme_gives_them():
    ci = (ROOT / ".ci" / "run").read_text()
    assert commands("ci") == ["make quickstart\n", "make test\n"]
    assert all(f"step {command}" in ci for command in commands("ci"))
    assert "step make quickstart-down" in ci


@pytest.mark.rule("C24")
def test_standalone_journey_works_word_for_word(bare_plane: LocalPlane, tmp_path: Path):
    [script] = commands("standalone")
    environment = {
        **os.environ,
        "KUBECONFIG": str(bare_plane.kubeconfig),
        "CAPK_KIND_COMMAND": STAND_IN,
        "CAPK_ENGINE_COMMAND": f"{STAND_IN} engine",
        "CAPK_WORK_DIR": str(tmp_path / "work"),
        # The plane is shared: the namespace of the journey alone is this provider's.
        "ARGS": f"--namespace default --health-addr 127.0.0.1:{free_port()}",
        "PATH": f"{ROOT / 'bin'}{os.pathsep}{os.environ['PATH']}",
        HOME_VARIABLE: str(tmp_path / "kind"),
    }
    log = tmp_path / "log"
    with log.open("wb") as output:
        shell = subprocess.Popen(
            ["bash", "-euxo", "pipefail", "-c", script],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        status = shell.wait(180)
    finally:
        os.killpg(shell.pid, signal.SIGTERM)
        (ROOT / "dev.kubeconfig").unlink(missing_ok=True)
    text = log.read_text(errors="replace")
    assert status == 0, text
    assert "dev-control-plane" in text
    assert not list(Home(tmp_path / "kind").clusters())

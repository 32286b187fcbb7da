"""`make dev`: a management cluster, and a provider that restarts after a file is saved."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from capkdev.fakekind.clusters import Home
from capkdev.fakekind.create import MODE_VARIABLE
from capkdev.fakekind.listing import HOME_VARIABLE
from capkdev.managementcluster.cluster import LocalManagementCluster
from capkdev.ports import free_port
from test.integration.api import eventually
from test.integration.documented import ROOT, commands, link_checkout, run_commands, start_commands

STARTED = "Initial authentication has finished"


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Path]:
    """This checkout as links, with separate sources to save; its environment counts as up to date."""
    folder = tmp_path / "checkout"
    link_checkout(folder, "capk", ".capk")
    shutil.copytree(ROOT / "capk", folder / "capk")
    yield folder
    LocalManagementCluster(folder / ".capk").stop()


def test_saved_file_starts_the_provider_again(checkout: Path, tmp_path: Path) -> None:
    home = Home(tmp_path / "kind")
    [script], [apply] = commands("dev"), commands("dev-apply")
    log = tmp_path / "log"
    variables = {
        "ENGINE": "fake-kind",
        "ARGS": f"--health-addr 127.0.0.1:{free_port()} --work-dir {tmp_path / 'work'}",
        HOME_VARIABLE: str(home.directory),
        MODE_VARIABLE: "instant",
    }
    shell = start_commands(script, log, checkout, **variables)
    try:
        eventually(lambda: starts(log, shell) == 1, 180)
        (checkout / "capk" / "__init__.py").write_text('"""Saved."""\n')
        eventually(lambda: starts(log, shell) == 2, 60)
        run_commands(apply, checkout / "unused", checkout)
        eventually(lambda: home.names() == ["dev"], 60)
    finally:
        os.killpg(shell.pid, signal.SIGINT)
        shell.wait(60)
        for cluster in home.clusters():
            home.remove(cluster)
    assert not LocalManagementCluster(checkout / ".capk").is_running


def starts(log: Path, shell: subprocess.Popen[bytes]) -> int:
    """Return how often a provider has started to watch."""
    text = log.read_text(errors="replace")
    assert shell.poll() is None, text
    return text.count(STARTED)

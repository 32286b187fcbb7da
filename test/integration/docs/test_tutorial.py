"""The tutorial from its first command to its last, as a new user types it."""

import shutil
from pathlib import Path

from capkdev.fakekind.clusters import Home
from capkdev.fakekind.listing import HOME_VARIABLE
from capkdev.managementcluster.cluster import LocalManagementCluster
from test.integration.documented import ROOT, commands, link_checkout, run_commands


def test_tutorial_works_word_for_word(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    link_checkout(checkout, ".capk", "hack")
    # The quickstart works in the checkout that contains its file.
    shutil.copytree(ROOT / "hack", checkout / "hack")
    home = Home(tmp_path / "kind")
    script = "".join(commands("tutorial"))
    # Without a working engine the quickstart uses the fake kind, on any machine.
    variables = {HOME_VARIABLE: str(home.directory), "DOCKER_HOST": "tcp://127.0.0.1:1"}
    try:
        printed = run_commands(script, checkout / "unused", checkout, **variables)
    finally:
        LocalManagementCluster(checkout / ".capk" / "quickstart").stop()
    assert "Refused, as expected." in printed
    assert "namespace/hello created" in printed
    assert "Removed everything that the quickstart created." in printed
    assert home.names() == []
    assert not list(checkout.glob("*.kubeconfig"))

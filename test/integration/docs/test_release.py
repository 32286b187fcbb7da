"""The commands of the docs that build a release and install from a checkout, run exactly as written."""

from pathlib import Path

import pytest

from capkdev.managementcluster.cluster import LocalManagementCluster
from capkdev.managementcluster.options import Options
from test.integration.documented import commands, link_checkout, run_commands


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """This checkout as links, without out/; its environment counts as up to date."""
    folder = tmp_path / "checkout"
    link_checkout(folder, "out")
    return folder


def test_commands_of_the_documentation_work_word_for_word(tmp_path: Path, checkout: Path) -> None:
    script = "".join([*commands("release"), *commands("checkout"), *commands("plain")])
    with LocalManagementCluster(tmp_path / "management", Options(core=False, definitions=False)) as management:
        printed = run_commands(script, management.kubeconfig, checkout, GOPROXY="off")
    files = {path.name for path in (checkout / "out" / "infrastructure-kind" / "v0.1.0").iterdir()}
    assert {"infrastructure-components.yaml", "install.yaml", "sbom.cdx.json", "SHA256SUMS"} <= files
    assert "deployment.apps/capkind-controller-manager serverside-applied" in printed
    assert "kindcluster.infrastructure.cluster.x-k8s.io/dev created" in printed

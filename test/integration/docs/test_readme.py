"""The commands of README and docs that need no clusterctl repository, run exactly as written."""

import os
import re
import signal
from pathlib import Path

import pytest

from capkdev.controlplane import free_port
from capkdev.fakekind.clusters import Home
from capkdev.fakekind.create import MODE_VARIABLE
from capkdev.fakekind.listing import HOME_VARIABLE
from capkdev.managementcluster.cluster import LocalManagementCluster
from test.integration.api import Api, eventually
from test.integration.documented import ROOT, commands, run_commands, start_commands
from test.integration.provider.journeys import standalone
from test.integration.provider_process import FAKE_KIND, StartProvider


def test_ci_runs_the_two_commands_as_the_readme_gives_them():
    ci = (ROOT / ".ci" / "run").read_text()
    assert commands("ci") == ["make quickstart\n", "make test\n"]
    assert all(f"step {command}" in ci for command in commands("ci"))
    assert "step make quickstart-down" in ci


@pytest.mark.rule("C24")
def test_standalone_journey_works_word_for_word(bare_management: LocalManagementCluster, tmp_path: Path):
    [script] = commands("standalone")
    log = tmp_path / "log"
    variables = {
        "KUBECONFIG": str(bare_management.kubeconfig),
        "CAPK_KIND_COMMAND": FAKE_KIND,
        "CAPK_ENGINE_COMMAND": f"{FAKE_KIND} engine",
        "CAPK_WORK_DIR": str(tmp_path / "work"),
        # The management cluster is shared, so this provider manages only the journey's namespace.
        "ARGS": f"--namespace default --health-addr 127.0.0.1:{free_port()}",
        HOME_VARIABLE: str(tmp_path / "kind"),
    }
    shell = start_commands(script, log, **variables)
    try:
        status = shell.wait(180)
    finally:
        os.killpg(shell.pid, signal.SIGTERM)
        (ROOT / "dev.kubeconfig").unlink(missing_ok=True)
    text = log.read_text(errors="replace")
    assert status == 0, text
    assert "dev-control-plane" in text
    assert not list(Home(tmp_path / "kind").clusters())


def test_gitops_journey_works_word_for_word(
    management: LocalManagementCluster, api: Api, provider: StartProvider, tmp_path: Path
) -> None:
    process = provider(management, "default")
    copy_samples(api, tmp_path, "cluster.yaml")
    [script] = commands("gitops")
    printed = run_commands(script, management.kubeconfig, tmp_path)
    assert "cluster.cluster.x-k8s.io/demo condition met" in printed
    assert process.home.names() == []


def test_journey_of_workers_works_word_for_word(
    management: LocalManagementCluster, api: Api, provider: StartProvider, tmp_path: Path
) -> None:
    process = provider(management, "default")
    # The fake kind has only one version, for any node image.
    version = str(api.rest.request("GET", "/version")["gitVersion"])
    script = "".join(commands("workers")).replace("v1.37.0", version)
    printed = run_commands(script, management.kubeconfig, CLUSTERCTL_DISABLE_VERSIONCHECK="true", HOME=str(tmp_path))
    assert "machinedeployment.cluster.x-k8s.io/demo-workers condition met" in printed
    assert re.search(r"KINDControlPlane default/demo, \S+ +3/3 ", printed), printed
    assert re.search(r"MachineDeployment default/demo-workers, \S+ +2/2 ", printed), printed
    assert len(re.findall(r"^demo-workers-\S+ +demo ", printed, re.MULTILINE)) == 3, printed
    assert process.home.names() == []


def test_journey_of_standalone_workers_works_word_for_word(
    bare_management: LocalManagementCluster, provider: StartProvider
) -> None:
    process = provider(bare_management, "default")
    [script] = commands("standalone-workers")
    printed = run_commands(script, bare_management.kubeconfig)
    assert "kindmachine.infrastructure.cluster.x-k8s.io/growing-worker condition met" in printed
    assert process.home.names() == []


def copy_samples(api: Api, directory: Path, *files: str) -> None:
    """Copy samples with the version of the fake kind, which has only one, for any node image."""
    samples = directory / "config" / "samples"
    samples.mkdir(parents=True)
    version = str(api.rest.request("GET", "/version")["gitVersion"])
    for file in files:
        sample = (ROOT / "config" / "samples" / file).read_text()
        (samples / file).write_text(re.sub(r"version: v1\S+", f"version: {version}", sample))


def test_journey_of_many_works_word_for_word(bare_management: LocalManagementCluster, provider: StartProvider) -> None:
    process = provider(bare_management, "default", **{MODE_VARIABLE: "instant"})
    [script] = commands("many")
    printed = run_commands(script, bare_management.kubeconfig)
    assert all(f"ci-{number} condition met" in printed for number in range(1, 5))
    assert process.home.names() == []


def test_trouble_is_shown_by_the_commands_of_the_docs(
    bare_management: LocalManagementCluster, bare_api: Api, provider: StartProvider, tmp_path: Path
) -> None:
    failing = tmp_path / "kind"
    failing.write_text("#!/bin/sh\necho 'no space left on device' >&2\nexit 1\n")
    failing.chmod(0o700)
    provider(bare_management, "default", "--kind-command", str(failing))
    bare_api.create("default", standalone("troubled"))
    [script] = commands("trouble")
    eventually(lambda: "OutOfDisk" in run_commands(script, bare_management.kubeconfig))

"""`capk doctor` with a real API server: as the provider's account, and as one without rights.

kind and the engine are the fake ones, so a machine needs neither.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from capk.api import names
from capkdev.files import write_private
from capkdev.managementcluster.cluster import LocalManagementCluster
from test.integration.api import Api
from test.integration.service_account import NAMESPACE, account_kubeconfig, token

FAKE_KIND = f"{sys.executable} -m capkdev.fakekind"


def doctor(kubeconfig: Path, directory: Path, *flags: str) -> tuple[int, dict[str, Any]]:
    """Run the command; return its exit status and findings by check."""
    command = [sys.executable, "-m", "capk", "doctor", "--output=json", f"--kubeconfig={kubeconfig}"]
    places = [f"--kind-command={FAKE_KIND}", f"--engine-command={FAKE_KIND} engine", f"--work-dir={directory / 'work'}"]
    environment = {**os.environ, "CAPK_LOCAL_KIND_HOME": str(directory / "kind")}
    ended = subprocess.run(
        [*command, *places, *flags], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.stderr == ""
    return ended.returncode, {one["check"]: one for one in json.loads(ended.stdout)["checks"]}


@pytest.fixture
def powerless(bare_management: LocalManagementCluster, bare_api: Api, bare_namespace: str, tmp_path: Path) -> Path:
    """The kubeconfig of an account that may do nothing."""
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "powerless"}}
    bare_api.create(bare_namespace, account)
    config = yaml.safe_load(bare_management.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token(bare_api, bare_namespace, "powerless")}
    path = tmp_path / "powerless.kubeconfig"
    write_private(path, yaml.safe_dump(config).encode())
    return path


@pytest.mark.rule("C39")
def test_account_of_the_provider_passes_every_check(management: LocalManagementCluster, tmp_path: Path) -> None:
    leading = ("--leader-elect", f"--leader-election-namespace={NAMESPACE}")
    status, found = doctor(account_kubeconfig(management), tmp_path, *leading)
    assert status == 0
    assert found["CRDs"]["found"] == "The 9 CRDs of this release are installed."
    assert {found[check]["status"] for check in ("API server", "CRDs", "permissions", "Cluster API")} == {"ok"}
    assert "v1beta2" in found["Cluster API"]["found"]
    assert found["kind command"]["status"] == "warning"
    assert not (tmp_path / "work").exists()


def test_account_without_rights_is_told_which_are_missing(powerless: Path, tmp_path: Path) -> None:
    status, found = doctor(powerless, tmp_path)
    assert status == 1
    assert found["API server"]["status"] == "ok"
    assert found["permissions"]["status"] == "failure"
    assert "list customresourcedefinitions.apiextensions.k8s.io" in found["permissions"]["found"]
    assert "may not read them" in found["CRDs"]["found"]


def test_class_with_engines_in_pods_needs_their_namespace(
    bare_management: LocalManagementCluster, bare_api: Api, tmp_path: Path
) -> None:
    account = account_kubeconfig(bare_management)
    spec = {"pods": {"image": "docker:dind"}}
    resource = names.KIND_ENGINE_CLASSES
    one = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": "doctors"}, "spec": spec}
    bare_api.create("", one)
    try:
        status, found = doctor(account, tmp_path, "--engine-namespace=doctors-engines")
        assert status == 1
        assert found["engines in Pods"]["status"] == "failure"
        assert "create pods" in found["engines in Pods"]["found"]
        status, found = doctor(bare_management.kubeconfig, tmp_path, "--no-shared-engine")
        assert status == 0
        assert found["engines in Pods"]["status"] == "ok"
        assert found["node image"]["status"] == "skipped"
    finally:
        bare_api.delete(resource, "", "doctors")


def test_without_cluster_api_kindclusters_work_alone(bare_management: LocalManagementCluster, tmp_path: Path) -> None:
    status, found = doctor(bare_management.kubeconfig, tmp_path)
    assert status == 0
    assert found["Cluster API"]["found"].startswith("Not installed")


def test_server_that_is_not_there_is_a_failure_and_not_an_error(tmp_path: Path) -> None:
    status, found = doctor(tmp_path / "nothing", tmp_path)
    assert status == 1
    assert found["API server"]["status"] == "failure"
    assert found["permissions"]["status"] == "skipped"

"""Both releases of the real kind command read the manifests of the admission tests, and judge them the same.

A program replaces the container engine: it answers kind's calls before the configuration is read, and fails later ones.
"""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from capk.kindconfig.config import API_VERSION, kind_config
from capk.kindconfig.yamlio import dump
from capkdev.fakekind.kindconfig import InvalidConfig, parse, validate, with_defaults
from test.contract.engines import RELEASES

ROOT = Path(__file__).parents[2]
CASES = yaml.load((ROOT / "test" / "fixtures" / "admission" / "kindcluster.yaml").read_text(), yaml.CSafeLoader)
KIND_FIELDS = {
    "name",
    "nodes",
    "networking",
    "featureGates",
    "runtimeConfig",
    "kubeadmConfigPatches",
    "kubeadmConfigPatchesJSON6902",
    "containerdConfigPatches",
    "containerdConfigPatchesJSON6902",
    "noodles",
}
ENGINE = """#!/bin/sh
case "$1" in
  info) echo '{"CgroupVersion": "2", "MemoryLimit": true, "PidsLimit": true, "CPUShares": true}' ;;
  ps) ;;
  inspect) ;;
  *) exit 1 ;;
esac
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("engine")
    engine = folder / "docker"
    engine.write_text(ENGINE)
    engine.chmod(0o755)
    return {"PATH": f"{folder}:{os.defpath}", "HOME": str(folder), "KIND_EXPERIMENTAL_PROVIDER": "docker"}


def config(case: Mapping[str, Any]) -> dict[str, Any]:
    spec = case.get("spec", {})
    name = spec.get("clusterName", case.get("name", "case"))
    if "refused" not in case:
        return kind_config(spec, cluster_name=name)
    head = {"kind": "Cluster", "apiVersion": API_VERSION, "name": name}
    return head | {field: value for field, value in spec.items() if field in KIND_FIELDS}


ALL_CASES = pytest.mark.parametrize(
    "case", [pytest.param(case, id=case["case"].replace(" ", "_")) for case in CASES if case.get("kind") != "none"]
)


def is_taken_by_kind(case: Mapping[str, Any]) -> bool:
    if case.get("kind") == "accepts":
        assert case["unlike"], "a case where admission is stricter must say why"
        return True
    return "refused" not in case


@pytest.mark.parametrize("program", RELEASES)
@ALL_CASES
def test_kind_judges_as_admission_does(
    case: Mapping[str, Any], program: str, environment: dict[str, str], tmp_path: Path
) -> None:
    run = subprocess.run(
        [ROOT / "bin" / program, "create", "cluster", "--config", "-", "--kubeconfig", tmp_path / "kubeconfig"],
        input=dump(config(case)),
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 1
    assert "ERROR: failed to create cluster:" in run.stderr
    assert ('Creating cluster "' in run.stderr) == is_taken_by_kind(case), run.stderr


@ALL_CASES
def test_fake_kind_judges_as_kind_does(case: Mapping[str, Any]) -> None:
    assert is_taken_by_fake_kind(config(case)) == is_taken_by_kind(case)


def is_taken_by_fake_kind(document: Mapping[str, Any]) -> bool:
    try:
        validate(with_defaults(parse(dump(document)), name="", image=""))
    except InvalidConfig:
        return False
    return True

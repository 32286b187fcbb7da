"""Random KINDClusters: admission accepts exactly what the real kind accepts."""

import os
import random
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from capk.api.names import KIND_CLUSTERS
from capk.errors import ApiError
from capk.kindconfig.config import API_VERSION, kind_config
from capkdev.binaries import find_binary
from capkdev.managementcluster.cluster import LocalManagementCluster
from test.chaos.counters import Counters
from test.chaos.specs import Specs
from test.integration.api import Api, connected, path

OBJECTS = int(os.environ.get("CAPK_CHAOS_OBJECTS", "600"))
AT_ONCE = 2
CASES = Path(__file__).parents[1] / "fixtures" / "admission" / "kindcluster.yaml"
ENGINE = """#!/bin/sh
case "$1" in
  info) echo '{"CgroupVersion": "2", "MemoryLimit": true, "PidsLimit": true, "CPUShares": true}' ;;
  ps | inspect) ;;
  *) exit 1 ;;
esac
"""
WORDS_OF_TYPES = {"must be of type", "some validation rules were not checked"}
"""Type errors, because kind's YAML reader converts types; and causes that only follow from others."""
CAUSE = re.compile(r"(?:^|\[|, )(?:<nil>|spec[^\s:]*): (.*?)(?=, (?:<nil>|spec[^\s:]*): |\]$|$)", re.DOTALL)

pytestmark = pytest.mark.timeout(3600)

Judge = Callable[[Mapping[str, Any]], str | None]
"""Returns why a document is rejected, or None if it is accepted."""


@pytest.fixture
def api(management: LocalManagementCluster) -> Iterator[Api]:
    with connected(management) as api:
        yield api


@pytest.fixture
def admission(api: Api) -> Judge:
    """The API server, which stores nothing."""
    namespace = api.new_namespace()
    address = f"{path(KIND_CLUSTERS, namespace)}?dryRun=All&fieldValidation=Strict"

    def judge(spec: Mapping[str, Any]) -> str | None:
        metadata = {"name": "case"}
        document = {"apiVersion": KIND_CLUSTERS.api_version, "kind": "KINDCluster", "metadata": metadata, "spec": spec}
        try:
            api.rest.request("POST", address, document)
        except ApiError as refusal:
            return refusal.message
        return None

    return judge


@pytest.fixture
def kind(tmp_path: Path) -> Judge:
    """The real kind, whose engine fails as soon as kind has taken the configuration."""
    engine = tmp_path / "docker"
    engine.write_text(ENGINE)
    engine.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.defpath}", "HOME": str(tmp_path), "KIND_EXPERIMENTAL_PROVIDER": "docker"}
    command = [str(find_binary("kind")), "create", "cluster", "--config=-", f"--kubeconfig={tmp_path / 'kubeconfig'}"]

    def judge(document: Mapping[str, Any]) -> str | None:
        text = yaml.safe_dump(dict(document))
        run = subprocess.run(
            command, input=text, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert "ERROR: failed to create cluster:" in run.stderr, run.stderr
        return None if 'Creating cluster "' in run.stderr else run.stderr

    return judge


def stricter_on_purpose() -> set[str]:
    """Return admission's messages for specs that kind would accept and then fail with."""
    cases = yaml.safe_load(CASES.read_text())
    return WORDS_OF_TYPES | {case["says"] for case in cases if case.get("kind") == "accepts" and "says" in case}


def unwanted(refusal: str, allowed: set[str]) -> list[str]:
    """Return the causes of a rejection for which admission is not stricter on purpose."""
    _, _, listed = refusal.partition(" is invalid: ")
    causes = CAUSE.findall(listed) if listed else [refusal]
    return [cause for cause in causes or [refusal] if not any(says in cause for says in allowed)]


def test_admission_and_the_real_kind_judge_random_objects_alike(
    admission: Judge, kind: Judge, chance: random.Random, counters: Counters
) -> None:
    specs = Specs(chance)
    allowed = stricter_on_purpose()
    refusals: dict[int, str | None] = {}
    documents: dict[int, Mapping[str, Any]] = {}
    for number in range(OBJECTS):
        spec = specs.spec()
        refusals[number] = admission(spec)
        if refusals[number] is None:
            documents[number] = kind_config(spec, cluster_name=spec.get("clusterName") or "case")
        else:
            documents[number] = {"kind": "Cluster", "apiVersion": API_VERSION, **_renamed(spec)}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        verdicts = dict(zip(documents, pool.map(kind, documents.values()), strict=True))
    wrong = []
    for number, verdict in verdicts.items():
        refusal = refusals[number]
        if refusal is None and verdict is not None:
            wrong.append(f"admission accepts, kind refuses: {verdict.strip()}\n{documents[number]}")
        if refusal is not None and verdict is None and (causes := unwanted(refusal, allowed)):
            wrong.append(f"kind accepts, admission refuses: {causes}\n{documents[number]}")
    accepted = sum(refusal is None for refusal in refusals.values())
    counters.add("random objects accepted", accepted)
    refused = sum(map(bool, verdicts.values()))
    counters.add("random objects refused by both", refused)
    counters.add("random objects refused by admission on purpose", OBJECTS - accepted - refused)
    assert not wrong, f"{len(wrong)} of {OBJECTS}\n" + "\n\n".join(wrong[:20])
    assert 0.2 < accepted / OBJECTS < 0.9, "the specs are too tame or too wild"


def _renamed(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {"name" if field == "clusterName" else field: value for field, value in spec.items()}

"""Hostile names and values reach no shell, no other argument and no other file."""

import json
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from capk.api.names import CLAIM_MOUNT_FOLDER, KIND_CLUSTERS
from capk.engine.kind import Kind
from capk.engine.workdir import WorkDir
from capk.errors import ApiError, CommandMissing
from capk.kindconfig.config import kind_config
from test.chaos.counters import Counters
from test.chaos.scenario import Stage
from test.integration.api import eventually
from test.integration.provider.journeys import standalone

pytestmark = pytest.mark.timeout(900)

RECORDER = """#!/usr/bin/env python3
import json, pathlib, sys
place = pathlib.Path(sys.argv[0]).parent
(place / "seen.json").write_text(json.dumps([sys.argv[1:], sys.stdin.read()]))
for word in sys.argv[1:]:
    if word.startswith("--kubeconfig="):
        pathlib.Path(word.partition("=")[2]).write_text("made")
"""

FAILURES = {"InvalidConfig", "ImageNotFound", "KubeadmFailed", "CommandFailed", "PortConflict", "NameConflict"}
"""Possible outcomes of a hostile value."""
CREATION = re.compile(r"create cluster --name=[a-z0-9.-]+ --config=- --wait=\d+s( --retain)? --kubeconfig=\S+")
TRICKS = (
    "$(touch {canary})",
    "`touch {canary}`",
    "; touch {canary};",
    "| touch {canary}",
    "a\ntouch {canary}\n",
    "--kubeconfig=/etc/passwd",
    "-n other",
    "../../../{canary}",
    "/etc/shadow",
    "name: other\nkind: Evil",
    "x\u2028nodes: []",
    "\u202egnp.exe",
    "*alias",
    "!!python/object/apply:os.system ['touch {canary}']",
    "%s%n{}",
    "'\"\\",
    "\x1b[2J",
    "yes",
    "0x10",
    "~",
    "\n".join(["x0: &x0 [a]", *(f"x{n}: &x{n} [*x{n - 1}, *x{n - 1}]" for n in range(1, 41)), "kind: *x40"]),
)


@pytest.mark.rule("K36")
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text(min_size=1), patch=st.text(), label=st.text())
@example(name="--config=/etc/passwd", patch="a: b\n---\nname: x", label="\u2028")
async def test_any_text_stays_one_argument_and_one_value(tmp_path: Path, name: str, patch: str, label: str) -> None:
    """Directly to the command, without the API server's admission and our own checks."""
    recorder = tmp_path / "kind"
    recorder.write_text(RECORDER)
    recorder.chmod(stat.S_IRWXU)
    (tmp_path / "seen.json").unlink(missing_ok=True)
    work_dir = WorkDir(tmp_path / "work")
    kind = Kind([str(recorder)], work_dir=work_dir)
    spec = {"kubeadmConfigPatches": [patch], "nodes": [{"role": "worker", "labels": {label: label}}]}
    config = kind_config(spec, cluster_name=name)
    try:
        await kind.create_cluster(name, config)
    except (CommandMissing, UnicodeEncodeError):
        # No argument can contain a zero byte or half a character.
        assert "\0" in name or any("\ud800" <= letter <= "\udfff" for letter in name + patch + label)
        return
    finally:
        work_dir.close()
    arguments, document = json.loads((tmp_path / "seen.json").read_text())
    assert arguments[:2] == ["create", "cluster"]
    assert arguments[2:5] == [f"--name={name}", "--config=-", "--wait=0s"]
    assert arguments[5].startswith(f"--kubeconfig={tmp_path / 'work'}/")
    assert len(arguments) == 6
    read = yaml.safe_load(document)
    assert read["name"] == name
    assert read["kubeadmConfigPatches"] == config["kubeadmConfigPatches"]
    assert read["nodes"] == config["nodes"]


def _variants(trick: str) -> list[dict[str, Any]]:
    return [
        {"clusterName": trick},
        {"image": trick},
        {"kubeadmConfigPatches": [trick]},
        {"containerdConfigPatches": [trick]},
        {"nodes": [{"role": "control-plane", "labels": {"trick": trick}}]},
        {"nodes": [{"role": "control-plane", "extraMounts": [{"hostPath": trick, "containerPath": "/data"}]}]},
        {"nodes": [{"role": "control-plane", "extraMounts": [{"hostPath": "/data", "containerPath": trick}]}]},
        {"nodes": [{"role": "control-plane", "image": trick}]},
        {"featureGates": {trick: True}},
        {"networking": {"podSubnet": trick}},
        {"networking": {"apiServerAddress": trick}},
    ]


def _create(stage: Stage, name: str, spec: dict[str, Any]) -> int:
    """Create an object and return the API server's status."""
    try:
        stage.create(standalone(name, **spec))
    except ApiError as refusal:
        return refusal.status
    return 201


def _settled(stage: Stage, name: str) -> str:
    """Wait until the creation of a kind cluster has succeeded or failed, and return the reason."""

    def ended() -> str | None:
        seen = stage.condition(name, "ClusterCreated")
        failed = stage.condition(name, "Ready").get("reason") in FAILURES
        return seen["reason"] if failed or seen["status"] == "True" else None

    return eventually(ended, 300)


@pytest.mark.rule("C21", "K36")
def test_hostile_objects_end_as_a_refusal_or_as_plain_text(
    stage: Callable[..., Stage], tmp_path: Path, counters: Counters
) -> None:
    stage = stage("--max-concurrent-creates", "4", "--allowed-host-paths", "/")
    stage.process.start()
    canary = tmp_path / "canary"
    admitted: dict[str, dict[str, Any]] = {}
    refused = 0
    for index, trick in enumerate(TRICKS):
        for variant, spec in enumerate(_variants(trick.replace("{canary}", str(canary)))):
            name = f"hostile-{index}-{variant}"
            status = _create(stage, name, spec)
            assert status in (201, 422), (status, spec)
            refused += status == 422
            if status == 201:
                admitted[name] = spec
    assert admitted
    assert refused
    # Each one ends: Ready, or with a specific reason.
    for name in admitted:
        assert _settled(stage, name) != "Unknown", name
    assert not canary.exists()
    for call in stage.kind.calls("create"):
        assert CREATION.fullmatch(call), call
    for name, spec in admitted.items():
        if stage.kind.creations(name):
            made = stage.kind.configuration(name)
            for field in ("kubeadmConfigPatches", "containerdConfigPatches", "featureGates"):
                assert made.get(field) == spec.get(field), name
            mounts = [mount["containerPath"] for mount in made["nodes"][0]["extraMounts"]]
            assert mounts[-1].startswith(CLAIM_MOUNT_FOLDER)
    for name in admitted:
        stage.end(name)
    for name in admitted:
        stage.await_gone(name, KIND_CLUSTERS, 300)
    stage.check_residue()
    assert not canary.exists()
    counters.add("hostile objects refused at admission", refused)
    counters.add("hostile objects let in", len(admitted))


@pytest.mark.rule("C21")
def test_huge_objects_are_refused_or_made_like_any_other(stage: Callable[..., Stage], counters: Counters) -> None:
    """Up to the size limit of the API server; everything reaches kind."""
    stage = stage()
    stage.process.start()
    made = 0
    for kilobytes in (10, 100, 400, 1200, 4000):
        name, comment = f"huge-{kilobytes}", "#" * 1023 + "\n"
        patches = [comment * 10 + "kind: ClusterConfiguration\n" for _ in range(kilobytes // 10)]
        status = _create(stage, name, {"kubeadmConfigPatches": patches})
        assert status in (201, 413, 422, 500), status
        if status != 201:
            continue
        made += 1
        stage.await_ready(name)
        assert stage.kind.configuration(name)["kubeadmConfigPatches"] == patches
        assert len(json.dumps(stage.get(KIND_CLUSTERS, name)["status"])) < 10_000
        stage.end(name)
        stage.await_end(name)
    assert made, "not even a small one"
    stage.check_residue()
    counters.add("huge objects made", made)
    counters.add("huge objects refused", 5 - made)

"""An etcd in memory loses its data when its node stops; kind mounts /tmp and /run of a node as tmpfs."""

from typing import Any

import pytest

from capk.kindconfig import etcdfolder
from capk.kindconfig.etcdfolder import passing_etcd_folder


def patch(folder: str, kind: str = "ClusterConfiguration") -> str:
    return f"kind: {kind}\netcd:\n  local:\n    dataDir: {folder}\n"


def json_patch(path: str, value: str, *, op: str = "add", kind: str = "ClusterConfiguration") -> dict[str, Any]:
    return {"kind": kind, "patch": f'[{{"op": "{op}", "path": "{path}", "value": {value}}}]'}


@pytest.mark.parametrize("folder", ["/tmp", "/tmp/etcd", "/run/etcd", "/var/run/etcd", "/dev/shm/e", "/tmp//a/../etcd"])
def test_folder_in_memory_is_found(folder: str) -> None:
    assert passing_etcd_folder({"kubeadmConfigPatches": [patch(folder)]})


@pytest.mark.parametrize("folder", ["/var/lib/etcd", "/tmpfiles", "/running", "/var/lib/tmp", "/tmp/../var/lib/etcd"])
def test_folder_on_disk_passes(folder: str) -> None:
    assert passing_etcd_folder({"kubeadmConfigPatches": [patch(folder)]}) == ""


@pytest.mark.parametrize(
    "spec",
    [
        {"kubeadmConfigPatchesJSON6902": [json_patch("/etcd/local/dataDir", '"/tmp/etcd"')]},
        {"kubeadmConfigPatchesJSON6902": [json_patch("/etcd/local", '{"dataDir": "/tmp/etcd"}', op="replace")]},
        {"kubeadmConfigPatchesJSON6902": [json_patch("/etcd", '{"local": {"dataDir": "/tmp/etcd"}}')]},
        {"nodes": [{"role": "control-plane", "kubeadmConfigPatches": [patch("/tmp/etcd")]}]},
        {"nodes": [{}, {"kubeadmConfigPatchesJSON6902": [json_patch("/etcd/local/dataDir", "/tmp/etcd")]}]},
        {"kubeadmConfigPatches": [f"{patch('/x', 'InitConfiguration')}---\n{patch('/tmp/etcd')}"]},
    ],
)
def test_every_kind_of_patch_is_read(spec: dict[str, Any]) -> None:
    assert passing_etcd_folder(spec) == "/tmp/etcd"


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"nodes": [{"role": "worker", "kubeadmConfigPatches": [patch("/tmp/etcd")]}]},
        {"kubeadmConfigPatches": [patch("/tmp/etcd", "InitConfiguration")]},
        {"kubeadmConfigPatches": ["kind: ClusterConfiguration\netcd: [", "kind: ClusterConfiguration\netcd: none"]},
        {"kubeadmConfigPatchesJSON6902": [json_patch("/etcd/local/dataDir", '"/tmp/etcd"', op="test")]},
        {"kubeadmConfigPatchesJSON6902": [json_patch("/etcd/local", '"/tmp/etcd"')]},
        {"kubeadmConfigPatchesJSON6902": [{"kind": "ClusterConfiguration", "patch": "{"}]},
        {"kubeadmConfigPatchesJSON6902": [json_patch("/etcd/local/dataDir", '"/tmp/e"', kind="InitConfiguration")]},
    ],
)
def test_what_does_not_move_etcd_passes(spec: dict[str, Any]) -> None:
    assert passing_etcd_folder(spec) == ""


def test_folder_of_the_machine_that_is_mounted_there_passes() -> None:
    mounted = {"extraMounts": [{"hostPath": "/data", "containerPath": "/tmp/etcd/"}]}
    spec = {"kubeadmConfigPatches": [patch("/tmp/etcd")], "nodes": [mounted]}
    assert passing_etcd_folder(spec) == ""
    assert passing_etcd_folder({**spec, "nodes": [mounted, {"role": "control-plane"}]}) == "/tmp/etcd"
    assert passing_etcd_folder({**spec, "nodes": [{"role": "control-plane"}, {**mounted, "role": "worker"}]})


def test_patches_that_are_too_much_are_not_read() -> None:
    assert passing_etcd_folder({"kubeadmConfigPatches": ["dataDir" + "[" * 20_000, patch("/tmp/etcd")]}) == "/tmp/etcd"


def test_patch_is_parsed_once_for_all_who_need_its_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each KINDMachine asks for that of its KINDCluster, whose patches may take long to parse."""
    parsed: list[str] = []
    monkeypatch.setattr(etcdfolder, "kubeadm_documents", lambda text: parsed.append(text) or [])
    spec = {"kubeadmConfigPatches": [patch("/run/only-here")]}
    assert [passing_etcd_folder(spec) for _ in range(3)] == ["", "", ""]
    assert parsed == spec["kubeadmConfigPatches"]

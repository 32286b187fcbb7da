"""What is kept of a failed creation, and what its message names."""

import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest
from capk.manager.requests import Engine

from capk.api.names import CLAIM_MOUNT_FOLDER
from capk.diagnosis.failures import classify
from capk.engine.failurelogs import KIND_CONFIG, FailureLogs
from capk.errors import CommandFailed
from capk.kindcfg import documents
from capk.plan.observed import EndpointMode
from capk.plan.plan import Create

MARK = {"hostPath": "/dev/null", "containerPath": f"{CLAIM_MOUNT_FOLDER}8f2c", "readOnly": True}
CONFIG = {
    "kind": "Cluster",
    "apiVersion": "kind.x-k8s.io/v1alpha4",
    "nodes": [{"role": "control-plane", "extraMounts": [MARK]}],
}
REQUEST = Create(name="dev", config=CONFIG, image="kindest/node:v1", wait_seconds=120, claim_id="8f2c", generation=1)


class BrokenKind:
    async def create_cluster(self, name: str, *_: object, **__: object) -> str:
        raise CommandFailed(
            [
                "kind",
                "create",
                "cluster",
                f"--name={name}",
                "--config=-",
                "--wait=120s",
                "--retain",
                "--kubeconfig=/x/y",
            ],
            "ERROR: failed to create cluster: something new",
            1,
        )


class EmptyInventory:
    async def refresh(self) -> SimpleNamespace:
        return SimpleNamespace(clusters={}, error=None)


async def fail(directory: Path) -> CommandFailed:
    engine = Engine(
        kind=BrokenKind(),
        containers=None,
        inventory=EmptyInventory(),
        logs=FailureLogs(directory),
        endpoint=EndpointMode.EXTERNAL,
        wait_seconds=1,
    )
    with pytest.raises(CommandFailed) as raised:
        await engine.carry_out(REQUEST, lambda step: None)
    return raised.value


def kept_configuration(error: CommandFailed) -> object:
    return documents.load(Path(error.config).read_text())


async def test_command_of_the_message_uses_the_kept_configuration_without_marks(tmp_path):
    error = await fail(tmp_path / "failed")
    _, command, _ = classify(error).message.split("`")
    assert shlex.split(command) == [
        *["kind", "create", "cluster", "--name=dev"],
        f"--config={tmp_path / 'failed' / 'dev' / KIND_CONFIG}",
        *["--wait=120s", "--retain"],
    ]
    assert kept_configuration(error) == {**CONFIG, "nodes": [{"role": "control-plane"}]}
    assert error.logs == str(tmp_path / "failed" / "dev")


@pytest.mark.rule("C18")
async def test_same_failure_has_the_same_message(tmp_path):
    assert classify(await fail(tmp_path)).message == classify(await fail(tmp_path)).message


async def test_logs_that_cannot_be_kept_change_nothing_else(tmp_path):
    (tmp_path / "file").write_text("")
    error = await fail(tmp_path / "file")
    assert (error.logs, error.config) == ("", "")
    assert "something new" in classify(error).message

"""The state of a management cluster without processes, and the output of its commands."""

import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from capkdev.managementcluster import cli
from capkdev.managementcluster.cli import app
from capkdev.managementcluster.cluster import LocalManagementCluster
from capkdev.managementcluster.coremanager import CoreManager
from capkdev.managementcluster.options import CORE_MANAGER, WITHOUT_RATE_LIMIT, Member, Options, State

ROOT = Path(__file__).parents[3]


def test_options_and_state_are_read_as_they_were_written(tmp_path: Path) -> None:
    options = Options(core=False, provider=["--namespace", "x"], attached=True)
    options.save(tmp_path)
    assert Options.load(tmp_path) == options
    state = State("ready", "", [Member("etcd", str(tmp_path), "", 2)])
    state.save(tmp_path)
    assert State.load(tmp_path) == state
    assert all(file.stat().st_mode & 0o077 == 0 for file in tmp_path.iterdir())


def test_feature_gates_of_the_options_reach_the_core_manager(tmp_path: Path) -> None:
    Options(core_feature_gates=WITHOUT_RATE_LIMIT).save(tmp_path)
    (tmp_path / CORE_MANAGER).touch(mode=0o700)
    manager = CoreManager(tmp_path, tmp_path, Options.load(tmp_path).core_feature_gates)
    assert "--feature-gates=ClusterTopology=true,MachinePool=true,ReconcilerRateLimiting=false" in manager.command()
    assert "--feature-gates=ClusterTopology=true,MachinePool=true" in CoreManager(tmp_path, tmp_path).command()


def test_a_plane_that_never_was_is_stopped(tmp_path: Path) -> None:
    management = LocalManagementCluster(tmp_path)
    assert management.state == State("stopped")
    assert not management.is_running
    management.stop()


def test_a_plane_whose_supervisor_was_killed_does_not_claim_to_be_ready(tmp_path: Path) -> None:
    State("ready", "", [Member("etcd", str(tmp_path))]).save(tmp_path)
    assert LocalManagementCluster(tmp_path).state.phase == "stopped"


def test_status_of_a_stopped_plane_exits_with_1(tmp_path: Path) -> None:
    State("stopped", "", [Member("etcd", str(tmp_path))]).save(tmp_path)
    result = CliRunner().invoke(app, ["status", "--directory", str(tmp_path)])
    assert result.exit_code == 1
    assert "stopped" in result.output
    assert "ended" in result.output


def test_down_of_a_stopped_management_cluster_is_fine_and_removes_no_other_data(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "file").touch()
    result = CliRunner().invoke(app, ["down", "--delete-data", "--directory", str(foreign)])
    assert (result.exit_code, (foreign / "file").exists()) == (0, True)
    assert "No management cluster runs" in result.output
    own = tmp_path / "own"
    own.mkdir()
    Options().save(own)
    assert CliRunner().invoke(app, ["down", "--delete-data", "--directory", str(own)]).exit_code == 0
    assert not own.exists()


def test_an_unknown_engine_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["up", "--engine", "nosuch", "--directory", str(tmp_path)])
    assert result.exit_code == 2
    assert "fake-kind" in result.output


def test_status_prints_a_path_in_one_piece_on_a_narrow_terminal(tmp_path: Path) -> None:
    directory = tmp_path / ("long-" * 30)
    directory.mkdir()
    State("stopped", "", [Member("etcd", str(directory), "https://127.0.0.1:1")]).save(tmp_path)
    result = CliRunner().invoke(app, ["status", "--directory", str(tmp_path)], env={"COLUMNS": "40"})
    assert f"{directory.name}/etcd.log" in result.output


@pytest.mark.parametrize(
    ("caller", "end", "again"),
    [
        (None, "Stop it with `capkdev down --directory {0}`.", "run `capkdev up --directory {0}` again."),
        ("make dev", "Ctrl-C ends `make dev` and stops it.", "run `make dev` again."),
    ],
)
def test_messages_name_the_command_that_the_user_ran(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caller: str | None, end: str, again: str
) -> None:
    monkeypatch.setattr(LocalManagementCluster, "start", lambda self, **_: None)
    environment = {"CAPKDEV_CALLER": caller}
    started = CliRunner().invoke(app, ["up", "--no-provider", "--directory", str(tmp_path)], env=environment)
    assert end.format(tmp_path) in started.output
    monkeypatch.setattr(LocalManagementCluster, "is_running", True)
    monkeypatch.setattr(cli, "_kind_clusters", lambda management: ["default/dev"])
    stopped = CliRunner().invoke(app, ["down", "--directory", str(tmp_path)], env=environment)
    assert again.format(tmp_path) in stopped.output


def test_make_dev_is_the_command_that_messages_name() -> None:
    planned = subprocess.run(
        ["make", "--dry-run", "dev", "ENGINE=fake-kind"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    assert "export CAPKDEV_CALLER='make dev ENGINE=fake-kind'; trap 'capkdev down' EXIT; capkdev up" in planned

"""The state of a management cluster without processes, and the output of its commands."""

from pathlib import Path

from typer.testing import CliRunner

from capkdev.managementcluster.cli import app
from capkdev.managementcluster.cluster import LocalManagementCluster
from capkdev.managementcluster.options import Member, Options, State


def test_options_and_state_are_read_as_they_were_written(tmp_path: Path) -> None:
    options = Options(core=False, provider=["--namespace", "x"], attached=True)
    options.save(tmp_path)
    assert Options.load(tmp_path) == options
    state = State("ready", "", [Member("etcd", str(tmp_path), "", 2)])
    state.save(tmp_path)
    assert State.load(tmp_path) == state
    assert all(file.stat().st_mode & 0o077 == 0 for file in tmp_path.iterdir())


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

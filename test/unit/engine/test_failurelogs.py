"""Logs of failed creations stay within their limits and directory, and never block a creation."""

import errno
import logging
import os
import stat
from pathlib import Path

import pytest

from capk.engine.failurelogs import KIND_CONFIG, KIND_OUTPUT, FailureLogs

PLENTY = 1 << 40


def logs_in(directory: Path, free: int = PLENTY, **bounds: int) -> FailureLogs:
    return FailureLogs(directory, free_bytes=lambda directory: free, **bounds)


def kept(directory: Path) -> set[str]:
    return {place.name for place in directory.iterdir()}


def size(directory: Path) -> int:
    return sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())


def fail(logs: FailureLogs, name: str, age: float, **files: str) -> Path:
    """Keep a failure with these files and this age."""
    place = logs.begin(name, "")
    for file, text in files.items():
        (place / file).write_text(text)
    logs.end(place)
    os.utime(place, (1_000_000 - age, 1_000_000 - age))
    return place


def test_kinds_output_and_configuration_are_kept_for_their_user_alone(tmp_path):
    logs = logs_in(tmp_path / "failed")
    place = logs.begin("dev", "ERROR: no", "kind: Cluster\n")
    assert (place / KIND_OUTPUT).read_text() == "ERROR: no"
    assert (place / KIND_CONFIG).read_text() == "kind: Cluster\n"
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert logs.config_file(place) == str(place / KIND_CONFIG)


def test_configuration_that_is_not_kept_is_not_named(tmp_path):
    logs = logs_in(tmp_path, file_bytes=10)
    assert logs.config_file(logs.begin("dev", "")) == ""
    assert logs.config_file(logs.begin("dev", "", "longer than the limit")) == ""
    assert logs.config_file(None) == ""


def test_long_files_keep_their_end(tmp_path):
    logs = logs_in(tmp_path, file_bytes=100, failure_bytes=1000)
    place = logs.begin("dev", "x" * 900 + "y" * 100)
    (place / "long").write_text("a" * 1000 + "b" * 100)
    logs.end(place)
    assert (place / "long").read_text() == "b" * 100
    assert (place / KIND_OUTPUT).read_text() == "y" * 100


def test_of_too_much_the_largest_go_first(tmp_path):
    logs = logs_in(tmp_path, file_bytes=100, failure_bytes=150)
    place = logs.begin("dev", "x")
    (place / "long").write_text("a" * 1000 + "b" * 100)
    (place / "middle").write_text("c" * 90)
    (place / "short").write_text("d" * 10)
    logs.end(place)
    assert {file.name for file in place.iterdir()} == {"middle", "short", KIND_OUTPUT}


def test_only_the_latest_failures_are_kept(tmp_path):
    logs = logs_in(tmp_path, keep=2)
    for number in range(4):
        fail(logs, f"dev-{number}", age=100 - number)
    assert kept(tmp_path) == {"dev-2", "dev-3"}


def test_all_failures_together_have_one_budget(tmp_path):
    logs = logs_in(tmp_path, failure_bytes=100, total_bytes=250)
    for number in range(5):
        fail(logs, f"dev-{number}", age=100 - number, log="x" * 90)
    assert kept(tmp_path) == {"dev-3", "dev-4"}
    # Old logs are removed before new ones are written, not only afterwards.
    logs.begin("next", "")
    assert size(tmp_path) <= 150


def test_no_more_is_kept_than_a_tenth_of_what_the_volume_has_free(tmp_path):
    logs = logs_in(tmp_path, free=2000)
    for number in range(5):
        fail(logs, f"dev-{number}", age=100 - number, log="x" * 90)
    assert size(tmp_path) <= 2000 // 10 + 20
    fail(logs_in(tmp_path, free=0), "late", age=0, log="x" * 1000)
    assert size(tmp_path) <= 100


def test_a_new_failure_replaces_the_last_one_and_success_drops_it(tmp_path):
    logs = logs_in(tmp_path)
    (logs.begin("dev", "first") / "node.log").write_text("old")
    place = logs.begin("dev", "second")
    assert [file.name for file in place.iterdir()] == [KIND_OUTPUT]
    logs.drop("dev")
    assert not place.exists()


def test_kind_clusters_of_one_name_on_two_engines_have_logs_of_their_own(tmp_path):
    logs = logs_in(tmp_path, keep=2)
    other = logs.at("remote")
    fail(logs, "dev", 20)
    elsewhere = fail(other, "dev", 10)
    assert kept(tmp_path) == {"dev", elsewhere.name}
    logs.drop("dev")
    assert kept(tmp_path) == {elsewhere.name}
    fail(logs, "dev", 2)
    fail(other, "next", 1)
    assert len(kept(tmp_path)) == 2


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "dev/../../x", "x/y", "/", "\0", "Dev", "a b", "x" * 300])
def test_name_never_becomes_a_path(tmp_path, name):
    logs = logs_in(tmp_path / "failed")
    mine = tmp_path / "x"
    mine.mkdir()
    (mine / "file").write_text("mine")
    for whatever in (name, str(mine), f"{mine}/"):
        assert logs.begin(whatever, "output", "config") is None
        logs.end(None)
        logs.drop(whatever)
    assert (mine / "file").read_text() == "mine"
    assert {file.name for file in mine.iterdir()} == {"file"}
    assert not (tmp_path / "failed").exists() or not kept(tmp_path / "failed")


def test_directories_that_hold_no_logs_of_a_failure_stay(tmp_path):
    """The work directory may be a home directory, which has a directory of that name."""
    for name in ("dev", *(f"own-{number}" for number in range(20))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "diary").write_text("dear diary")
    logs = logs_in(tmp_path, keep=2)
    assert logs.begin("dev", "ERROR") is None
    logs.drop("dev")
    for name in ("a", "b", "c"):
        logs.end(logs.begin(name, "ERROR"))
    assert len(list(tmp_path.glob("*/diary"))) == 21
    assert {place.parent.name for place in tmp_path.glob(f"*/{KIND_OUTPUT}")} <= {"a", "b", "c"}


def test_link_in_the_place_of_logs_is_not_followed(tmp_path):
    mine, failed = tmp_path / "mine", tmp_path / "failed"
    mine.mkdir()
    (mine / "file").write_text("mine")
    failed.mkdir()
    (failed / "dev").symlink_to(mine)
    logs = logs_in(failed)
    place = logs.begin("dev", "output")
    (place / "more").symlink_to(mine / "file")
    logs.end(place)
    assert {file.name: file.read_text() for file in mine.iterdir()} == {"file": "mine"}
    logs.drop("dev")
    assert (mine / "file").exists()


def test_full_volume_is_logged_once_and_stops_nothing(tmp_path, monkeypatch, caplog):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    logs = logs_in(tmp_path)
    fail(logs, "old", age=10)
    monkeypatch.setattr(Path, "write_bytes", full)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert logs.begin("dev", "output", "config") is None
            logs.end(None)
            logs.drop("dev")
    assert not (tmp_path / "dev").exists()
    assert [record.getMessage().rpartition(": ")[2] for record in caplog.records] == ["No space left on device"]


def test_directory_that_cannot_be_used_stops_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    logs = FailureLogs(tmp_path / "file")
    assert logs.begin("dev", "output") is None
    logs.end(tmp_path / "file" / "dev")
    logs.drop("dev")


def test_node_logs_that_are_too_much_in_sum_end_at_the_limit(tmp_path):
    logs = logs_in(tmp_path, file_bytes=400, failure_bytes=1000)
    place = logs.begin("dev", "")
    more = [logs.add(place, f"node-{number}.log", "a" * 400 + "b" * 300) for number in range(5)]
    assert more == [True, True, True, False, False]
    assert {file.name: file.stat().st_size for file in place.glob("node-*")} == {
        "node-0.log": 400,
        "node-1.log": 400,
        "node-2.log": 200,
    }
    assert (place / "node-0.log").read_text() == "a" * 100 + "b" * 300
    logs.end(place)
    assert size(place) == 1000


def test_node_logs_of_several_failures_share_the_budget(tmp_path):
    logs = logs_in(tmp_path, failure_bytes=1000, total_bytes=1500)
    places = [logs.begin(f"dev-{number}", "") for number in range(3)]
    for number in range(20):
        for place in places:
            logs.add(place, f"node-{number}.log", "x" * 40)
    assert size(tmp_path) == 1500


def test_node_logs_take_no_more_than_a_tenth_of_what_the_volume_has_free(tmp_path):
    logs = logs_in(tmp_path, free=2000)
    place = logs.begin("dev", "")
    logs.add(place, "node.log", "x" * 1000)
    assert size(tmp_path) == 200


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "x/y", "/", "\0", ".hidden", "a b", "a\n", "x" * 300, KIND_OUTPUT, KIND_CONFIG, "link"],
)
def test_name_of_a_node_writes_nothing_but_a_new_file_in_its_place(tmp_path, name):
    mine = tmp_path / "mine"
    mine.write_text("mine")
    logs = logs_in(tmp_path / "failed")
    place = logs.begin("dev", "output", "config")
    (place / "link").symlink_to(mine)
    for bad in (name, f"{place}/{name}", f"../{name}", str(mine)):
        assert logs.add(place, bad, "theirs")
    assert logs.add(place, "dev-control-plane.log", "theirs")
    assert {file.name: file.read_text() for file in place.iterdir()} == {
        KIND_OUTPUT: "output",
        KIND_CONFIG: "config",
        "link": "mine",
        "dev-control-plane.log": "theirs",
    }
    assert kept(tmp_path) == {"failed", "mine"}
    assert kept(tmp_path / "failed") == {"dev"}


def test_volume_that_fills_up_meanwhile_stops_nothing(tmp_path, caplog):
    logs = logs_in(tmp_path)
    place = logs.begin("dev", "output")
    logs.drop("dev")
    with caplog.at_level(logging.WARNING):
        assert [logs.add(place, f"node-{number}.log", "text") for number in range(3)] == [False] * 3
    assert len(caplog.records) == 1
    logs.end(place)

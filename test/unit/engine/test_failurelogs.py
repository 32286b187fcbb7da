"""Logs of failed creations stay within their bounds."""

import stat

from capk.engine.failurelogs import KIND_OUTPUT, FailureLogs


def test_kinds_output_is_kept_for_its_user_alone(tmp_path):
    place = FailureLogs(tmp_path / "failed").begin("dev", "ERROR: no")
    assert (place / KIND_OUTPUT).read_text() == "ERROR: no"
    assert stat.S_IMODE(place.stat().st_mode) == 0o700


def test_long_files_keep_their_end(tmp_path):
    logs = FailureLogs(tmp_path, file_bytes=100, total_bytes=1000)
    place = logs.begin("dev", "x" * 900 + "y" * 100)
    (place / "long").write_text("a" * 1000 + "b" * 100)
    logs.end(place)
    assert (place / "long").read_text() == "b" * 100
    assert (place / KIND_OUTPUT).read_text() == "y" * 100


def test_of_too_much_the_largest_go_first(tmp_path):
    logs = FailureLogs(tmp_path, file_bytes=100, total_bytes=150)
    place = logs.begin("dev", "x")
    (place / "long").write_text("a" * 1000 + "b" * 100)
    (place / "middle").write_text("c" * 90)
    (place / "short").write_text("d" * 10)
    logs.end(place)
    assert not (place / "long").exists()
    assert {file.name for file in place.iterdir()} == {"middle", "short", KIND_OUTPUT}


def test_only_the_latest_failures_are_kept(tmp_path):
    logs = FailureLogs(tmp_path, keep=2)
    for number in range(4):
        logs.end(logs.begin(f"dev-{number}", ""))
    assert len(list(tmp_path.iterdir())) == 2


def test_a_new_failure_replaces_the_last_one_and_success_drops_it(tmp_path):
    logs = FailureLogs(tmp_path)
    (logs.begin("dev", "first") / "node.log").write_text("old")
    place = logs.begin("dev", "second")
    assert [file.name for file in place.iterdir()] == [KIND_OUTPUT]
    logs.drop("dev")
    assert not place.exists()

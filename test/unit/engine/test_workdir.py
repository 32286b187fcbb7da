import logging
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from capk.engine.workdir import WorkDir, private_directory
from capk.errors import CapkError

HOLD = """
import sys
from pathlib import Path
from capk.engine.workdir import WorkDir

with WorkDir(Path(sys.argv[1])).call() as directory:
    (directory / "kubeconfig").write_text("secret")
    print(directory, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other_provider(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    process.stdout.readline()
    yield process
    process.kill()
    process.communicate()


def test_call_has_a_private_directory_that_goes_with_it(tmp_path):
    work_dir = WorkDir(tmp_path / "deep" / "work")
    with work_dir.call() as first, work_dir.call() as second:
        assert first != second
        assert stat.S_IMODE(first.stat().st_mode) == 0o700
        (first / "kubeconfig").write_text("secret")
    assert not first.exists()
    assert not second.exists()


def test_directory_goes_when_the_call_fails(tmp_path):
    with pytest.raises(ValueError, match="broken"), WorkDir(tmp_path).call() as directory:
        raise ValueError("broken")
    assert not directory.exists()


def test_close_leaves_nothing(tmp_path):
    work_dir = WorkDir(tmp_path)
    with work_dir.call():
        pass
    work_dir.close()
    assert list(tmp_path.iterdir()) == []
    with work_dir.call() as directory:
        assert directory.is_dir()


def test_call_works_after_somebody_emptied_the_directory(tmp_path):
    work_dir = WorkDir(tmp_path)
    with work_dir.call() as directory:
        pass
    directory.parent.rmdir()
    with work_dir.call() as directory:
        assert directory.is_dir()


@pytest.mark.rule("K37")
def test_leftovers_of_a_killed_provider_are_removed(tmp_path, other_provider):
    other_provider.kill()
    other_provider.wait()
    assert len(list(tmp_path.rglob("kubeconfig"))) == 1
    assert WorkDir(tmp_path).remove_leftovers() == 1
    assert list(tmp_path.iterdir()) == []


def test_files_of_a_running_provider_and_strangers_stay(tmp_path, other_provider):
    (tmp_path / "notes").mkdir()
    (tmp_path / "calls-file").touch()
    work_dir = WorkDir(tmp_path)
    with work_dir.call() as own:
        assert work_dir.remove_leftovers() == 0
        assert own.is_dir()
    assert len(list(tmp_path.rglob("kubeconfig"))) == 1
    assert (tmp_path / "notes").is_dir()
    assert (tmp_path / "calls-file").exists()


def test_link_in_place_of_a_leftover_is_not_followed(tmp_path):
    target = tmp_path / "precious"
    target.mkdir()
    work = tmp_path / "work"
    work.mkdir(mode=0o700)
    (work / "calls-link").symlink_to(target)
    assert WorkDir(work).remove_leftovers() == 0
    assert target.is_dir()


class TestPrivateDirectory:
    @pytest.fixture(params=["group", "world", "link", "file", "foreign"])
    def unsafe(self, request, tmp_path, monkeypatch):
        path = tmp_path / "capk-1000"
        if request.param == "link":
            (tmp_path / "target").mkdir(mode=0o700)
            path.symlink_to(tmp_path / "target")
        elif request.param == "file":
            path.touch(mode=0o600)
        else:
            path.mkdir(mode=0o700)
            path.chmod({"group": 0o710, "world": 0o702}.get(request.param, 0o700))
        if request.param == "foreign":
            found = path.stat()
            owned = os.stat_result([*found[:4], found.st_uid + 1, *found[5:]])
            seen = Path.lstat
            monkeypatch.setattr(Path, "lstat", lambda other: owned if other == path else seen(other))
        return path

    @pytest.mark.parametrize("explicit", [True, False])
    def test_own_directory_is_made_and_used_again(self, tmp_path, explicit):
        path = tmp_path / "deep" / "work"
        assert private_directory(path, explicit=explicit) == path
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert private_directory(path, explicit=explicit) == path

    def test_unsafe_directory_that_was_named_is_refused_with_what_to_do(self, unsafe):
        with pytest.raises(CapkError, match=r"cannot hold private files: .*chmod 700"):
            private_directory(unsafe, explicit=True)

    def test_fresh_directory_takes_the_place_of_an_unsafe_default_one(self, unsafe, caplog):
        with caplog.at_level(logging.WARNING):
            fresh = private_directory(unsafe, explicit=False)
        assert fresh != unsafe
        assert fresh.parent == unsafe.parent
        assert stat.S_IMODE(fresh.stat().st_mode) == 0o700
        assert str(unsafe) in caplog.text
        assert str(fresh) in caplog.text

    def test_nothing_is_written_to_an_unsafe_directory(self, unsafe):
        work_dir = WorkDir(unsafe)
        with pytest.raises(CapkError), work_dir.call():
            pass
        with pytest.raises(CapkError):
            work_dir.remove_leftovers()
        assert not unsafe.is_dir() or list(unsafe.iterdir()) == []

    def test_calls_share_the_directory_that_took_the_place_of_an_unsafe_one(self, unsafe, caplog):
        work_dir = WorkDir(unsafe, explicit=False)
        with caplog.at_level(logging.WARNING):
            work_dir.remove_leftovers()
            with work_dir.call() as first, work_dir.call() as second:
                assert first.parent == second.parent
                assert unsafe not in first.parents
        assert len(caplog.records) == 1

    def test_directory_that_is_not_there_has_no_leftovers(self, tmp_path):
        assert WorkDir(tmp_path / "absent").remove_leftovers() == 0
        assert not (tmp_path / "absent").exists()

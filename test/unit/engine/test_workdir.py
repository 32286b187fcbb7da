import stat
import subprocess
import sys

import pytest

from capk.engine.workdir import WorkDir

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
    work.mkdir()
    (work / "calls-link").symlink_to(target)
    assert WorkDir(work).remove_leftovers() == 0
    assert target.is_dir()

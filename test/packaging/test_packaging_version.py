"""pyproject.toml has the version; all other mentions of it agree."""

import importlib.metadata
import json
import subprocess
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
MAJOR, MINOR, _ = VERSION.split(".")


def test_installed_package_has_the_version_of_the_sources() -> None:
    assert importlib.metadata.version("cluster-api-provider-kind") == VERSION, "run `make venv`"


def test_newest_release_series_is_that_of_the_version() -> None:
    series = yaml.safe_load((ROOT / "metadata.yaml").read_text())["releaseSeries"]
    assert max((one["major"], one["minor"]) for one in series) == (int(MAJOR), int(MINOR))


def test_clusterctl_builds_the_next_version_of_the_same_series() -> None:
    settings = json.loads((ROOT / "clusterctl-settings.json").read_text())
    assert settings["config"]["nextVersion"] == f"v{MAJOR}.{MINOR}.99"


def test_release_and_image_are_made_of_the_version() -> None:
    made = ["make", "--dry-run", "--always-make", "--no-print-directory", "release", "image"]
    printed = subprocess.run(made, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    image = f"localhost/cluster-api-provider-kind:v{VERSION}"
    assert f"--version v{VERSION} --image {image} " in printed
    assert f"--build-arg VERSION=v{VERSION} --tag {image} " in printed

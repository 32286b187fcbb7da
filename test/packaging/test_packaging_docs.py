"""docs/install.md and docs/development.md: every table is complete, every command block says who runs it."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from packaged import ROOT, Bundle, release

INSTALL = ROOT / "docs" / "install.md"
PERMISSIONS = ROOT / "docs" / "permissions.md"
MARKS = {"run: checkout", "run: plain", "run: dev", "run: release", "needs: engine", "needs: internet"}


def table(heading: str) -> dict[str, str]:
    """First and second column of the first table after a text."""
    rows = INSTALL.read_text().split(heading, 1)[1].split("\n\n|", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    return {cells[1].strip(" `"): cells[2].strip(" `") for cells in (row.split("|") for row in rows)}


@pytest.mark.rule("C34")
def test_every_variable_of_the_bundles_is_documented_with_its_default(bundle: Callable[[str], Bundle]) -> None:
    text = "".join(bundle(overlay).text for overlay in release.OVERLAYS)
    variables = {name: default or "none" for name, default in re.findall(r"\$\{(\w+)(?::=([^}]*))?\}", text)}
    assert table("## Variables") == variables


def test_every_flavor_is_documented() -> None:
    flavors = {path.stem.removeprefix("cluster-template").lstrip("-") or "none" for path in templates()}
    assert set(table("## Templates")) == flavors


def templates() -> list[Path]:
    return list((ROOT / "templates").glob("cluster-template*.yaml"))


def test_every_variable_of_the_class_is_documented_with_its_default() -> None:
    variables = next(yaml.safe_load_all((ROOT / "templates" / "clusterclass-kind.yaml").read_text()))["spec"][
        "variables"
    ]
    defaults = {one["name"]: str(one["schema"]["openAPIV3Schema"]["default"] or "none") for one in variables}
    assert table("The ClusterClass `kind` has these variables") == {**defaults, "workerCount": "0"}


@pytest.mark.parametrize("name", ["install.md", "development.md"])
def test_every_command_block_says_who_runs_it(name: str) -> None:
    text = (ROOT / "docs" / name).read_text()
    marked = re.findall(r"<!-- (.*?) -->\n```sh\n", text)
    assert len(marked) == text.count("```sh\n")
    assert set(marked) <= MARKS


def test_released_files_are_documented() -> None:
    text = INSTALL.read_text()
    assert all(f"`{name}`" in text for name in (*release.OVERLAYS.values(), release.INSTALL))


@pytest.mark.rule("C39")
def test_every_right_of_the_provider_is_explained(default_bundle: Bundle) -> None:
    sections = PERMISSIONS.read_text().split("\n## ")
    for section, kind in ((sections[1], "ClusterRole"), (sections[2], "Role")):
        rows = re.findall(r"^\| `(\S+)`(?: `(\S+)`)? \| ([a-z, ]+) \| (.+) \|$", section, re.MULTILINE)
        roles = [one for one in default_bundle.of_kind(kind) if f"`{one['metadata']['name']}`" in section]
        rules = {
            ("/".join((*filter(None, (group,)), resource)), name, ", ".join(rule["verbs"]))
            for role in roles
            for rule in role["rules"]
            for group in rule["apiGroups"]
            for resource in rule["resources"]
            for name in rule.get("resourceNames") or [""]
        }
        assert {row[:3] for row in rows} == rules

"""The first things that a contributor meets: workflows, hooks, the help of make, and the project's metadata."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

WORKFLOWS = Path(".github/workflows")


def test_workflow_runs_the_steps_of_ci():
    steps = set(re.findall(r"^ *step (make .+)$", Path(".ci/run").read_text(), re.MULTILINE))
    jobs = yaml.safe_load((WORKFLOWS / "ci.yml").read_text())["jobs"]
    assert steps == {step["run"] for job in jobs.values() for step in job["steps"] if "make " in step.get("run", "")}


def test_workflows_name_targets_that_exist():
    targets = set(re.findall(r"^([a-z0-9-]+):", _makefiles(), re.MULTILINE))
    (job,) = yaml.safe_load((WORKFLOWS / "nightly.yml").read_text())["jobs"].values()
    assert set(job["strategy"]["matrix"]["target"]) <= targets


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/development.md", "CHANGELOG.md"])
def test_pages_name_targets_that_exist(page: str):
    targets = set(re.findall(r"^([a-z0-9-]+):", _makefiles(), re.MULTILINE))
    named = set(re.findall(r"`make ([a-z0-9-]+)", Path(page).read_text()))
    assert named - targets == set()


def test_hooks_run_what_lint_runs():
    hooks = {hook["entry"] for hook in yaml.safe_load(Path(".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]}
    recipe = _makefiles().split("\nlint: venv verify", 1)[1].split("\n\n", 1)[0]
    lint = {line.strip().removesuffix(" .") for line in recipe.splitlines()[1:]}
    ours = {entry.removeprefix(".venv/bin/").removesuffix(" --force-exclude") for entry in hooks}
    assert ours == {*lint, "make --silent verify"}


def test_help_groups_every_target_and_has_no_colours_where_nobody_looks():
    text = subprocess.run(["make", "help"], capture_output=True, text=True, check=True).stdout
    assert "\x1b" not in text
    described = re.findall(r"^([a-z0-9-]+):.*## ", _makefiles(), re.MULTILINE)
    assert sorted(re.findall(r"^  ([a-z0-9-]+) +\S", text, re.MULTILINE)) == sorted(described)
    for file in Path("hack").glob("*.mk"):
        assert file.read_text().index("##@ ") < re.search(r":.*## ", file.read_text()).start()


def test_metadata_names_the_places_of_the_project():
    urls = tomllib.loads(Path("pyproject.toml").read_text())["project"]["urls"]
    assert {"Homepage", "Documentation", "Changelog", "Issues"} <= urls.keys()
    assert all(url.startswith(urls["Homepage"]) for url in urls.values())


def test_address_of_the_repository_has_one_source_and_one_copy():
    home = tomllib.loads(Path("pyproject.toml").read_text())["project"]["urls"]["Homepage"]
    files = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True).stdout.split()
    address = re.compile(r"https://github\.com/[\w-]+/cluster-api-provider-kind\b")
    found = {
        file: set(address.findall(Path(file).read_text(errors="ignore"))) for file in files if Path(file).is_file()
    }
    mentioned = {file: addresses for file, addresses in found.items() if addresses and not file.startswith("test/")}
    assert mentioned == {"pyproject.toml": {home}, "docs/install.md": {home}}


def test_changelog_begins_with_what_is_unreleased():
    headings = re.findall(r"^## (.+)$", Path("CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "[Unreleased]"


def _makefiles() -> str:
    return "\n".join(path.read_text() for path in (Path("Makefile"), *sorted(Path("hack").glob("*.mk"))))

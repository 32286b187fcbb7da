"""README and docs: every table is complete and true, and every command block names the test that runs it."""

import re
import tokenize
import tomllib
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import pytest
import yaml

from capk.api.names import Reason
from capk.diagnosis import reasons
from capk.plan import kindcluster
from test.packaging.packaged import ROOT, Bundle, release

INSTALL = ROOT / "docs" / "install.md"
PERMISSIONS = ROOT / "docs" / "permissions.md"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
MARK = re.compile(r"<!-- ([^>]*?) -->\n```sh\n")
SPAN = re.compile(r"`([^`\n]+)`")
HABITS = "stands? in|at once|anew|whoever|somebody|anybody|(?:tells?|told) of|stand-ins?|management plane"
"""The words of docs/style.md that can be found without reading."""
FOLDERS = ("bench", "capk", "capkdev", "config", "docs", "hack", "requirements", "templates", "test", "tools")


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
    defaults = {one["name"]: str(one["schema"]["openAPIV3Schema"].get("default") or "none") for one in variables}
    assert table("The ClusterClass `kind` has these variables") == defaults


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_block_says_who_runs_it(page: Path) -> None:
    """Either a test with that mark, or none, because it needs the internet or its own container engine."""
    text = page.read_text()
    marks = MARK.findall(text)
    assert len(marks) == text.count("```sh\n")
    tests = "".join(path.read_text() for path in (ROOT / "test" / "integration").rglob("test_*.py"))
    for mark in set(marks) - {"needs: engine", "needs: internet"}:
        kind, _, journey = mark.partition(": ")
        assert kind == "run"
        assert f'commands("{journey}")' in tests, f"no test runs {journey}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    text = page.read_text()
    drawn = re.findall(r"capk\w*/[\w/]+\.py", "".join(re.findall(r"```mermaid\n(.*?)```", text, re.DOTALL)))
    assert [file for file in drawn if not (ROOT / file).is_file()] == []
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", SPAN.sub("", text))
    files = [re.split(r"::|[ *]", span)[0] for span in SPAN.findall(text) if "/" in span]
    missing = [name for name in files if name.split("/")[0] in FOLDERS and not (ROOT / name).exists()]
    missing += [link for link in links if "://" not in link and not (page.parent / link).exists()]
    missing += [module for module in re.findall(r"`(capk(?:\.\w+)+)`", text) if not is_module(module)]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_test_that_a_page_names_exists(page: Path) -> None:
    named = {name for name in SPAN.findall(page.read_text()) if re.fullmatch(r"test_\w+", name)}
    known = set(re.findall(r"def (test_\w+)", "".join(path.read_text() for path in (ROOT / "test").rglob("test_*.py"))))
    assert named - known == set()


def test_decisions_are_numbered_without_a_gap() -> None:
    pages = sorted(path.name for path in (ROOT / "docs" / "decisions").glob("[0-9]*"))
    assert [int(name[:4]) for name in pages] == list(range(1, len(pages) + 1))


def test_steps_of_a_decision_are_documented_in_their_order() -> None:
    section = (
        (ROOT / "docs" / "architecture.md").read_text().split("## The order of a decision", 1)[1].split("\n## ")[0]
    )
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == [step.__name__ for step in kindcluster._STEPS]


@pytest.mark.parametrize(("heading", "most"), [("## A watch event", 6), ("## A creation", 8)])
def test_walk_is_short_and_its_stations_are_files(heading: str, most: int) -> None:
    walk = (
        (ROOT / "docs" / "architecture.md")
        .read_text()
        .split(heading, 1)[1]
        .split("```mermaid", 1)[1]
        .split("```", 1)[0]
    )
    numbers = [int(number) for number in re.findall(r"(\d) · ", walk)]
    files = re.findall(r"capk/[\w/]+\.py", walk)
    assert sorted(numbers) == list(range(1, len(numbers) + 1))
    assert 4 < len(numbers) <= most
    assert [file for file in files if not (ROOT / file).is_file()] == []
    assert len(files) >= len(numbers) - 1


def test_every_number_of_a_rule_in_the_code_is_explained() -> None:
    rules = yaml.safe_load((ROOT / "hack" / "rules" / "rules.yaml").read_text())
    known = {*rules["contract"], *re.findall(r"^\| (K\d+) \|", (ROOT / "docs" / "kopf.md").read_text(), re.MULTILINE)}
    sources = [path for folder in ("capk", "capkdev", "hack", "test") for path in (ROOT / folder).rglob("*.py")]
    used = set(re.findall(r"(?<=[( ,;])[CK]\d{1,2}(?=[),:;. ])", "".join(path.read_text() for path in sources)))
    assert used | set(rules["kopf"]) <= known


def test_code_refers_only_to_documents_of_the_repository() -> None:
    """A comment or docstring names an existing page and heading; "Source:" names a file of another public project."""
    wrong = []
    for path in chain.from_iterable((ROOT / folder).rglob("*.py") for folder in ("capk", "capkdev", "hack", "bench")):
        prose = re.sub(r"Sources?: .*?(?:\n\n|\Z|\"{3})", "", "\n".join(prose_of(path)), flags=re.DOTALL)
        wrong += [(path.name, one) for one in re.findall(r"§|\b(?:section|pattern|chapter) \d+|\w+-facts\b", prose)]
        for page, heading in re.findall(r"([\w/.-]+\.md)\b(?:,\s+\"([^\"]+)\")?", prose):
            text = (ROOT / page).read_text() if (ROOT / page).is_file() else ""
            if not text or (heading and f"# {heading}\n" not in text):
                wrong.append((path.name, f"{page} {heading}"))
    assert wrong == []


def prose_of(path: Path) -> list[str]:
    """Return the comments and the docstrings of a module, in their order."""
    with path.open("rb") as file:
        tokens = list(tokenize.tokenize(file.readline))
    return [
        token.string
        for token in tokens
        if token.type == tokenize.COMMENT or (token.type == tokenize.STRING and token.string.startswith('"""'))
    ]


def test_no_number_of_a_rule_reaches_users() -> None:
    for_contributors = {"contract.md", "kopf.md", "style.md"}
    texts = [page for page in PAGES if page.name not in for_contributors and page.parent.name != "decisions"]
    texts += [*(ROOT / "config" / "crd").rglob("*.yaml"), *(ROOT / "config" / "samples").rglob("*.yaml")]
    texts += (ROOT / "templates").glob("*.yaml")
    found = {path.name: re.findall(r"\([CK]\d{1,2}\)", path.read_text()) for path in texts}
    assert {name: numbers for name, numbers in found.items() if numbers and name != "kustomization.yaml"} == {}


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page_avoids_the_habits_that_the_style_names(page: Path) -> None:
    text = SPAN.sub("", page.read_text())
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    assert page.name == "style.md" or re.findall(rf"\b(?:{HABITS})\b", text) == []


@pytest.mark.parametrize("folder", ["bench", "capk", "capkdev", "hack"])
def test_comments_and_docstrings_avoid_the_habits_that_the_style_names(folder: str) -> None:
    habits = re.compile(
        rf"\b(?:{HABITS}|nobody|everybody|tells?|says?|bears?|anyhow|comes? to light|ever less|as it is then)\b"
    )
    files = (ROOT / folder).rglob("*.py")
    found = {path: habits.findall("\n".join(prose_of(path))) for path in files}
    assert {path: words for path, words in found.items() if words} == {}


def is_module(dotted: str) -> bool:
    path = ROOT.joinpath(*dotted.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def test_released_files_are_documented() -> None:
    text = INSTALL.read_text()
    assert all(
        f"`{name}`" in text for name in (*release.OVERLAYS.values(), *release.ENGINE_NAMESPACE[1:], release.INSTALL)
    )


@pytest.mark.rule("C39")
def test_every_right_of_the_provider_is_explained(default_bundle: Bundle, engine_namespace: Bundle) -> None:
    sections = PERMISSIONS.read_text().split("\n## ")
    places = ((sections[1], default_bundle, "ClusterRole"), (sections[2], default_bundle, "Role"))
    for section, bundle, kind in (*places, (sections[3], engine_namespace, "Role")):
        rows = re.findall(r"^\| `(\S+)`(?: `(\S+)`)? \| ([a-z, ]+) \| (.+) \|$", section, re.MULTILINE)
        roles = [one for one in bundle.of_kind(kind) if f"`{one['metadata']['name']}`" in section]
        rules = {
            ("/".join((*filter(None, (group,)), resource)), name, ", ".join(rule["verbs"]))
            for role in roles
            for rule in role["rules"]
            for group in rule["apiGroups"]
            for resource in rule["resources"]
            for name in rule.get("resourceNames") or [""]
        }
        assert {row[:3] for row in rows} == rules


def test_every_reason_is_documented_in_the_section_of_its_group() -> None:
    sections = re.split(r"^## (.+)$", (ROOT / "docs" / "troubleshooting.md").read_text(), flags=re.MULTILINE)
    tables = dict(zip(sections[1::2], sections[2::2], strict=True))
    row = re.compile(r"^\| `(\w+)` \| .+ \| .+ \| .+ \|$", re.MULTILINE)
    documented = {group: row.findall(tables[group]) for group in reasons.PAGES}
    assert documented == {group: [page.reason for page in pages] for group, pages in reasons.PAGES.items()}
    assert sorted(chain.from_iterable(documented.values())) == sorted(Reason)


def test_table_of_versions_says_what_is_pinned() -> None:
    pins = tomllib.loads((ROOT / "tools" / "versions.toml").read_text())["programs"]
    older = re.search(r"cluster-api (v\S+)", (ROOT / "tools" / "older-core" / "go.mod").read_text())
    assert older is not None
    python = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"].removeprefix(">=")
    assert columns("What goes with what", 2) == [
        ("Cluster API core, contract v1beta2", pins["core-manager"]["version"]),
        ("Cluster API core, contract v1beta1", older[1]),
        ("kind", pins["kind"]["version"]),
        ("kind, the release before", pins["kind-previous"]["version"]),
        ("Management cluster's Kubernetes", pins["kube-apiserver"]["version"]),
        ("Python", f"{python} and later"),
    ]
    assert pins["clusterctl"]["version"] == pins["core-manager"]["version"]


def test_table_of_runs_names_the_pinned_versions_and_who_ran_them() -> None:
    pins = {
        name: one["version"]
        for name, one in tomllib.loads((ROOT / "tools" / "versions.toml").read_text())["programs"].items()
    }
    rows = columns("## What was run together", 6)
    assert {pins["kind"], pins["kind-previous"]} <= {row[0] for row in rows}
    assert pins["kube-apiserver"] in {row[2] for row in rows}
    assert pins["core-manager"] in {row[3] for row in rows}
    assert all(re.match(r"`make |`test/|not run", row[5]) for row in rows)
    for file in re.findall(r"`(test/[^`]+)`", " ".join(row[5] for row in rows)):
        assert (ROOT / file).exists()


def test_table_of_node_images_is_the_catalogue() -> None:
    catalogue = yaml.safe_load((ROOT / "capk" / "kindconfig" / "node-images.yaml").read_text())
    images = [(one["image"].partition("@")[0], one["release"]) for one in catalogue["images"]]
    (first, *others) = [(re.sub(r".*:v(1\.\d+)\..*", r"\1", image), f"`{image}`", release) for image, release in images]
    default = (*first[:2], f"{first[2]}, its default")
    assert columns("## Kubernetes versions of workload clusters", 3) == [default, *others]


def columns(heading: str, count: int) -> list[tuple[str, ...]]:
    """The first columns of the first table after a text in docs/compatibility.md."""
    text = (ROOT / "docs" / "compatibility.md").read_text().split(heading, 1)[1]
    rows = re.findall(r"^\|(.*)\|$", text.split("\n\n|", 1)[1].split("\n\n", 1)[0], re.MULTILINE)
    return [tuple(cell.strip() for cell in row.split("|")[:count]) for row in rows[1:] if "---" not in row]

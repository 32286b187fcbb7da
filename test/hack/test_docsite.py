"""The documentation site: links out of docs/, and a navigation that has every page. `make site` builds it."""

from pathlib import Path

import pytest
import yaml

from hack.docsite import published, rewritten

DOCS = Path("docs")


class _Loader(yaml.SafeLoader):
    """Reads mkdocs.yml without the Python objects that it names."""


_Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)


@pytest.mark.parametrize(
    ("page", "link", "changed"),
    [
        ("install.md", "../SECURITY.md", "https://x/y/blob/main/SECURITY.md"),
        ("install.md", "../SECURITY.md#threats", "https://x/y/blob/main/SECURITY.md#threats"),
        ("decisions/0001.md", "../../capk/cli.py", "https://x/y/blob/main/capk/cli.py"),
        ("decisions/0001.md", "../api.md", "../api.md"),
        ("install.md", "api.md#kindcluster", "api.md#kindcluster"),
        ("install.md", "#variables", "#variables"),
        ("install.md", "https://kind.sigs.k8s.io", "https://kind.sigs.k8s.io"),
    ],
)
def test_links_out_of_docs_lead_to_the_repository(page: str, link: str, changed: str):
    assert rewritten(f"See [it]({link}).", page, "https://x/y") == f"See [it]({changed})."


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("See [`capk/cli.py`](../capk/cli.py).", "See `capk/cli.py`."),
        ("[a[0]](../x.py#L1), [b](api.md), [c](https://x)", "a[0], [b](api.md), [c](https://x)"),
    ],
)
def test_links_out_of_docs_are_text_while_the_repository_has_no_address(text: str, shown: str):
    assert rewritten(text, "install.md", None) == shown


def test_repository_has_no_address_while_its_owner_is_a_placeholder():
    project = '[project.urls]\nHomepage = "https://github.com/{}/cluster-api-provider-kind"'
    assert published(project.format("OWNER")) is None
    assert published(project.format("someone")) == "https://github.com/someone/cluster-api-provider-kind"


def test_navigation_has_every_page():
    navigation = yaml.load(Path("mkdocs.yml").read_text(), Loader=_Loader)["nav"]
    assert sorted(_pages(navigation)) == sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))


def test_every_decision_is_in_the_list_of_decisions():
    listed = (DOCS / "decisions" / "README.md").read_text()
    for page in sorted((DOCS / "decisions").glob("0*.md")):
        assert f"[{page.read_text().splitlines()[0].removeprefix('# ')}]({page.name})" in listed


def _pages(entry: object) -> list[str]:
    match entry:
        case str():
            return [entry]
        case list():
            return [page for one in entry for page in _pages(one)]
        case dict():
            return [page for one in entry.values() for page in _pages(one)]
    raise AssertionError(entry)

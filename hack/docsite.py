"""A hook of mkdocs: the address of the repository, and links out of docs/, whose files the site does not contain."""

import posixpath
import re
import tomllib
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[1] / "pyproject.toml"
LINK = re.compile(r"\[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<target>[^)#\s:]+)(?P<anchor>#[^)\s]*)?\)")


def on_config(config: Any) -> Any:
    """Link the repository, if it is published. mkdocs calls this once."""
    if address := published(PROJECT.read_text()):
        config["repo_url"], config["repo_name"], config["edit_uri"] = address, "GitHub", "edit/main/docs/"
    return config


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:
    """Return the text of a page with its links changed. mkdocs calls this for each page."""
    return rewritten(markdown, page.file.src_uri, config["repo_url"])


def published(project: str) -> str | None:
    """Return the address of the repository; None while its owner is a placeholder. project: text of pyproject.toml."""
    address = str(tomllib.loads(project)["project"]["urls"]["Homepage"])
    return None if "/OWNER/" in address else address


def rewritten(markdown: str, page: str, repository: str | None) -> str:
    """Return the text of a page with links out of docs/ as addresses of the repository, or without them.

    page: path below docs/. repository: None if it has no address; then only the text of such a link stays.
    """

    def change(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), link["target"]))
        if path.startswith("docs/"):
            return link[0]
        return f"[{link['text']}]({repository}/blob/main/{path}{link['anchor'] or ''})" if repository else link["text"]

    return LINK.sub(change, markdown)

"""A hook of mkdocs: redirects links out of docs/ to the repository, because the site does not contain those files."""

import posixpath
import re
from typing import Any

LINK = re.compile(r"(?<=\]\()(?P<target>[^)#\s:]+)(?P<anchor>#[^)\s]*)?(?=\))")


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:
    """Return the text of a page with its links changed. mkdocs calls this for each page."""
    return rewritten(markdown, page.file.src_uri, config["repo_url"])


def rewritten(markdown: str, page: str, repository: str) -> str:
    """Return the text of a page with links out of docs/ as addresses of the repository. page: path below docs/."""

    def change(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), link["target"]))
        if path.startswith("docs/"):
            return link[0]
        return f"{repository}/blob/main/{path}{link['anchor'] or ''}"

    return LINK.sub(change, markdown)

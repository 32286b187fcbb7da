"""Downloads the publisher's binary of a program, and accepts it only if its published SHA-256 matches."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import pooch

from hack.externaltools.catalogue import Release
from hack.externaltools.command import ToolError, doing

ANSWER_SECONDS = 4
"""Time that a publisher has to answer the first, small request."""
STALL_SECONDS = 20

pooch.get_logger().setLevel("WARNING")


class Unavailable(Exception):
    """A publisher's binary cannot be downloaded here; building from source may work."""


def published_checksum(text: str, file_name: str) -> str | None:
    """Find the SHA-256 of a file in a publisher's text: a bare sum, or lines of sum and file name."""
    for line in text.splitlines():
        match = re.fullmatch(r"([0-9a-fA-F]{64})(?:\s+\*?(\S+))?", line.strip())
        if match and (match[2] is None or match[2].rsplit("/", 1)[-1] == file_name):
            return match[1].lower()
    return None


def fetch(release: Release, scratch: Path) -> Path:
    """Download and verify a program and return its path in the scratch folder.

    Raises Unavailable if it cannot be downloaded, ToolError if its checksum is wrong.
    """
    file_name = release.url.rsplit("/", 1)[-1]
    # requests' errors are OSErrors, a wrong checksum is pooch's ValueError.
    try:
        asking = pooch.HTTPDownloader(timeout=ANSWER_SECONDS)
        sums = pooch.retrieve(release.checksums, None, fname="checksums", path=scratch, downloader=asking)
        wanted = published_checksum(Path(sums).read_text(errors="replace"), file_name)
        if wanted is None:
            raise Unavailable(f"{release.checksums} has no SHA-256 of {file_name}")
        with doing(f"downloading {release.url}"):
            loading = pooch.HTTPDownloader(timeout=STALL_SECONDS)
            made = pooch.retrieve(release.url, f"sha256:{wanted}", fname=file_name, path=scratch, downloader=loading)
    except OSError as error:
        answer = getattr(error, "response", None)
        cause = type(error).__name__ if answer is None else f"status {answer.status_code}"
        raise Unavailable(f"it cannot be downloaded from {urlsplit(release.url).netloc} ({cause})") from None
    except ValueError as error:
        raise ToolError(
            f"the checksum of {release.url} is wrong: {error}",
            "The file was removed. It was damaged or changed on its way, or the release was replaced. Run this again, "
            "ask the administrator of the proxy, or build from source with TOOL_FLAGS=--build.",
        ) from None
    if not release.member:
        return Path(made)
    (member,) = pooch.Untar(members=[release.member])(made, "download", None)
    return Path(member)

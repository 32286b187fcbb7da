"""The first way to a program: the publisher's binary, taken only when its published SHA-256 matches."""

from __future__ import annotations

import hashlib
import http.client
import queue
import re
import shutil
import sys
import tarfile
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from hack.externaltools.catalogue import Release
from hack.externaltools.errors import ToolError, Unavailable
from hack.externaltools.progress import Progress

T = TypeVar("T")

_CHUNK = 1 << 18
_STALL_SECONDS = 20.0


def published_checksum(text: str, file_name: str) -> str | None:
    """Find the SHA-256 of a file in what a publisher offers: a bare sum, or lines of sum and file name."""
    for line in text.splitlines():
        match = re.fullmatch(r"([0-9a-fA-F]{64})(?:\s+\*?(\S+))?", line.strip())
        if match and (match[2] is None or match[2].rsplit("/", 1)[-1] == file_name):
            return match[1].lower()
    return None


class Publishers:
    """Fetches from release hosts; a host that once kept silent is not asked again.

    patience_seconds: how long a host may take to answer the first, small request.
    """

    def __init__(self, progress: Progress, patience_seconds: float = 4.0) -> None:
        self._progress = progress
        self._patience = patience_seconds
        self._silent: set[str] = set()

    def fetch(self, release: Release, scratch: Path) -> Path:
        """Download and verify the program and return its path in the scratch folder.

        Raises Unavailable when it cannot be had, ToolError when what came is not what the publisher made.
        """
        if sys.platform not in release.systems:
            raise Unavailable(f"its publisher has no binary for {sys.platform}")
        host = urllib.parse.urlsplit(release.url).netloc
        if host in self._silent:
            raise Unavailable(f"{host} does not answer")
        file_name = release.url.rsplit("/", 1)[-1]
        wanted = published_checksum(self._checksums(release.checksums), file_name)
        if wanted is None:
            raise Unavailable(f"no SHA-256 of {file_name} is published at {release.checksums}")
        target = scratch / file_name
        with self._progress.doing(f"downloading {release.url}"):
            found = self._download(release.url, target)
        if found != wanted:
            target.unlink()
            raise ToolError(
                f"the checksum of {release.url} is wrong: published is {wanted}, what arrived has {found}",
                "The file was thrown away. It was damaged or changed on its way, or the release was replaced: try "
                "again, ask who runs the proxy in between, or build from source instead with --from go.",
            )
        return _member(target, release.member, scratch) if release.member else target

    def _checksums(self, url: str) -> str:
        host = urllib.parse.urlsplit(url).netloc
        try:
            answer = _within(self._patience, lambda: _read(url, self._patience))
        except urllib.error.HTTPError as error:
            error.close()
            raise Unavailable(f"{host} answers {error.code} for {url}") from None
        except (OSError, http.client.HTTPException) as error:
            self._silent.add(host)
            raise Unavailable(f"{host} does not answer ({_cause(error)})") from None
        return answer.decode(errors="replace")

    def _download(self, url: str, target: Path) -> str:
        digest, done = hashlib.sha256(), 0
        try:
            with urllib.request.urlopen(url, timeout=_STALL_SECONDS) as answer, target.open("wb") as file:
                expected = int(answer.headers.get("Content-Length") or 0)
                while chunk := answer.read(_CHUNK):
                    file.write(chunk)
                    digest.update(chunk)
                    done += len(chunk)
                    self._progress.tick(f"{done >> 20} of {expected >> 20} MiB")
        except urllib.error.HTTPError as error:
            error.close()
            raise Unavailable(f"{url} answers {error.code}") from None
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(f"the download of {url} broke off ({_cause(error)})") from None
        if done < expected:
            raise Unavailable(f"the download of {url} broke off after {done} of {expected} bytes")
        return digest.hexdigest()


def _read(url: str, timeout: float) -> bytes:
    with urllib.request.urlopen(url, timeout=timeout) as answer:
        content: bytes = answer.read(1 << 20)
        return content


def _within(seconds: float, call: Callable[[], T]) -> T:
    # A thread, because no socket timeout limits how long a name look-up may take.
    answers: queue.SimpleQueue[tuple[T | None, Exception | None]] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put((call(), None))
        except Exception as error:
            answers.put((None, error))

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer, error = answers.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"nothing within {seconds:g} s") from None
    if error is not None:
        raise error
    return answer  # type: ignore[return-value]


def _cause(error: Exception) -> str:
    reason = getattr(error, "reason", None) or error
    return str(getattr(reason, "strerror", None) or reason)


def _member(archive: Path, member: str, scratch: Path) -> Path:
    target = scratch / member.rsplit("/", 1)[-1]
    with tarfile.open(archive) as files:
        source = files.extractfile(member)
        if source is None:
            raise ToolError(f"{archive.name} holds no file {member}", "Correct the member in tools/versions.toml.")
        with source, target.open("wb") as file:
            shutil.copyfileobj(source, file)
    return target

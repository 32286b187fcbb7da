"""Reads the archive in which an engine hands out a folder of a container. Pure."""

import io
import tarfile
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Final

MAX_TEXT: Final = 4096
"""Bytes of a file that are read."""
_END: Final = bytes(2 * tarfile.BLOCKSIZE)
"""What every complete archive ends with."""


def files(archive: bytes, folder: str) -> Mapping[str, str]:
    """Return the content of a folder: the beginning of each file, by path below the folder; empty for all else.

    archive: a whole tar of the folder, named by its last component or by a path that ends with it.
    Raises ValueError if it is not a whole one.
    """
    if not archive.endswith(_END):
        raise ValueError("the archive is cut off")
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as opened:
            return dict(_entry(opened, member, PurePosixPath(folder).name) for member in opened)
    except (tarfile.TarError, OSError, OverflowError, RecursionError) as error:
        raise ValueError(f"it is not an archive: {error}") from error


def _entry(opened: tarfile.TarFile, member: tarfile.TarInfo, folder: str) -> tuple[str, str]:
    parts = PurePosixPath(member.name).parts
    if folder not in parts:
        raise ValueError(f"the archive holds something else than the folder {folder}")
    path = "/".join(parts[parts.index(folder) + 1 :])
    content = opened.extractfile(member) if member.isreg() else None
    return path, content.read(MAX_TEXT).decode(errors="replace") if content else ""

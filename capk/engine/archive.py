"""Reads the archive in which an engine hands out a folder of a container. Pure.

An engine on another machine chooses every byte of it. Python's own reader, before 3.11.14, never ends for some archives
and takes hours for others (CVE-2025-8194, CVE-2024-6232), so this one knows no more than it needs.
Source: POSIX pax, "ustar Interchange Format"; GNU tar, "Basic Tar Format", for large numbers.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Final

MAX_TEXT: Final = 4096
"""Bytes of a file that are read."""
_BLOCK: Final = 512
_END: Final = bytes(2 * _BLOCK)
"""What every complete archive ends with."""
_FILES: Final = b"0\0007"
"""Kinds of entries that are files."""
_WITHOUT_DATA: Final = b"123456"
"""Links, devices and folders: whatever size they have, no data follows."""
_ABOUT_THE_NEXT: Final = b"xgLK"
"""Further facts about another entry: a long name, which none has that is looked for, or a large number."""
_SPARSE: Final = b"S"
_OCTAL: Final = re.compile(rb" *([0-7]+)[ \0]*")
_LARGE: Final = 0x80
"""First byte of a number that is not written in octal digits; another one if it is negative."""


def files(archive: bytes, folder: str) -> Mapping[str, str]:
    """Return the content of a folder: the beginning of each file, by path below the folder; empty for all else.

    archive: a whole tar of the folder, named by its last component or by a path that ends with it.
    Raises ValueError if it is not a whole one.
    """
    if not archive.endswith(_END):
        raise ValueError("the archive is cut off")
    name = PurePosixPath(folder).name
    return {_below(path, name): text for path, text in _entries(archive)}


def _entries(archive: bytes) -> Iterator[tuple[str, str]]:
    """Yield path and text of each entry. Each step goes on in the archive by a block at least."""
    at = 0
    while any(head := archive[at : at + _BLOCK]):
        if len(head) < _BLOCK or _number(head[148:156]) != sum(head[:148]) + sum(head[156:]) + 8 * ord(" "):
            raise ValueError("it is not an archive")
        kind, size = head[156:157], _number(head[124:136])
        if kind in _SPARSE:
            raise ValueError("the archive has a file with holes")
        data = b"" if kind in _WITHOUT_DATA else archive[at + _BLOCK : at + _BLOCK + size]
        if kind not in _WITHOUT_DATA and len(data) < size:
            raise ValueError("the archive is cut off")
        at += _BLOCK + -(-len(data) // _BLOCK) * _BLOCK
        if kind not in _ABOUT_THE_NEXT:
            yield _path(head), data[:MAX_TEXT].decode(errors="replace") if kind in _FILES else ""


def _number(field: bytes) -> int:
    if field[0] == _LARGE:
        return int.from_bytes(field[1:], "big")
    if not (found := _OCTAL.fullmatch(field)):
        raise ValueError("it is not an archive")
    return int(found[1], 8)


def _path(head: bytes) -> str:
    name, prefix = head[:100], head[345:500] if head[257:263] == b"ustar\0" else b""
    return "/".join(part.partition(b"\0")[0].decode(errors="replace") for part in (prefix, name) if part.strip(b"\0"))


def _below(path: str, folder: str) -> str:
    parts = PurePosixPath(path).parts
    if folder not in parts:
        raise ValueError(f"the archive holds something else than the folder {folder}")
    return "/".join(parts[parts.index(folder) + 1 :])

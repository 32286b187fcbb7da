"""The pins of tools/versions.toml as typed records. Reads files, changes nothing."""

import platform
import re
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def parse_version(text: str) -> tuple[int, ...]:
    """Read the first MAJOR.MINOR[.PATCH] in text; empty if there is none."""
    match = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(part or 0) for part in match.groups()) if match else ()


@dataclass(frozen=True)
class Release:
    """Addresses of the program and its SHA-256 sums at its publisher; member: path inside a tar.gz."""

    url: str
    checksums: str
    member: str = ""


@dataclass(frozen=True)
class Program:
    """One external program. tools/versions.toml explains the fields; release: None if this system has none."""

    name: str
    version: str
    package: str
    stamps: tuple[str, ...] = ()
    release: Release | None = None

    def link_flags(self) -> str:
        """Return the -ldflags value that sets the program's version."""
        major, minor = parse_version(self.version)[:2]
        facts = {"gitVersion": self.version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
        stamped = [f"-X {package}.{key}={value}" for package in self.stamps for key, value in facts.items()]
        return " ".join(["-s -w", *stamped])


@dataclass(frozen=True)
class Catalogue:
    """All pins. folder: of versions.toml and the locked modules. go: the oldest usable Go."""

    folder: Path
    go: str
    programs: dict[str, Program]


def load(folder: Path) -> Catalogue:
    """Read versions.toml in the folder."""
    document = tomllib.loads((folder / "versions.toml").read_text())
    return Catalogue(
        folder=folder,
        go=document["go"],
        programs={name: _program(name, **fields) for name, fields in document["programs"].items()},
    )


def _program(name: str, version: str, package: str, release: dict[str, Any] | None = None, **lists: Any) -> Program:
    machine = platform.machine().lower()
    values = {"version": version, "os": sys.platform, "arch": _ARCHITECTURES.get(machine, machine)}
    offered = None
    if release and sys.platform in release["systems"]:
        places = {key: text.format(**values) for key, text in release.items() if key != "systems"}
        offered = Release(**places)
    return Program(name, version, package, release=offered, **{key: tuple(value) for key, value in lists.items()})

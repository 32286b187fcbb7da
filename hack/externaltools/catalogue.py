"""What tools/versions.toml pins, as typed records. Reads files, changes nothing."""

from __future__ import annotations

import hashlib
import json
import platform
import re
import sys
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from hack.externaltools.errors import ToolError

MANIFESTS = "manifests"

_ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
_NEEDS = {MANIFESTS: ("kubectl",)}


def parse_version(text: str) -> tuple[int, ...]:
    """Read the first MAJOR.MINOR[.PATCH] in text; empty when there is none."""
    match = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(part or 0) for part in match.groups()) if match else ()


@dataclass(frozen=True)
class Release:
    """Where the publisher offers the program and its SHA-256 sums; all templates are filled in already."""

    url: str
    checksums: str
    member: str = ""
    systems: tuple[str, ...] = ("linux",)


@dataclass(frozen=True)
class Program:
    """One external program; the fields are explained in tools/versions.toml."""

    name: str
    version: str
    package: str
    stamps: tuple[str, ...] = ()
    check: tuple[str, ...] = ()
    on_path: str = ""
    release: Release | None = None

    def link_flags(self) -> str:
        """Build the -ldflags value that makes the program know its version."""
        major, minor = parse_version(self.version)[:2]
        facts = {"gitVersion": self.version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
        stamped = [f"-X {package}.{key}={value}" for package in self.stamps for key, value in facts.items()]
        return " ".join(["-s -w", *stamped])


@dataclass(frozen=True)
class Module:
    """A Go module of which only files are used; sum is its go.sum hash."""

    name: str
    path: str
    version: str
    sum: str


@dataclass(frozen=True)
class Catalogue:
    """Everything that is pinned."""

    folder: Path
    go: str
    programs: dict[str, Program]
    modules: dict[str, Module]
    groups: dict[str, tuple[str, ...]]

    def expand(self, names: Sequence[str]) -> list[str]:
        """Replace groups by their members and add what a member needs before it; each name once."""

        def each(name: str) -> Iterator[str]:
            if name in self.groups:
                for member in self.groups[name]:
                    yield from each(member)
            elif name in self.programs or name == MANIFESTS:
                yield from _NEEDS.get(name, ())
                yield name
            else:
                known = ", ".join([*self.groups, *self.programs, MANIFESTS])
                raise ToolError(f"there is no tool named {name!r}", f"Use one of: {known}.")

        return list(dict.fromkeys(member for name in names for member in each(name)))

    def version(self, name: str) -> str:
        """Tell the wanted version of a program, or of the modules behind the manifests."""
        if name == MANIFESTS:
            return self.modules["cluster-api"].version
        return self.programs[name].version

    def pin(self, name: str) -> str:
        """Digest of everything that decides what a tool in bin/ looks like."""
        if name == MANIFESTS:
            facts: object = [asdict(module) for module in self.modules.values()]
            files = [Path(__file__).with_name("manifests.py")]
        else:
            facts = asdict(self.programs[name])
            files = [self.folder / name / "go.mod", self.folder / name / "go.sum"]
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
        for file in files:
            digest.update(file.read_bytes())
        return digest.hexdigest()


def load(folder: Path) -> Catalogue:
    """Read versions.toml in the folder."""
    document = tomllib.loads((folder / "versions.toml").read_text())
    return Catalogue(
        folder=folder,
        go=document["go"],
        programs={name: _program(name, fields) for name, fields in document["programs"].items()},
        modules={name: Module(name=name, **fields) for name, fields in document["modules"].items()},
        groups={name: tuple(members) for name, members in document["groups"].items()},
    )


def _program(name: str, fields: dict[str, object]) -> Program:
    release = fields.get("release")
    return Program(
        name=name,
        version=str(fields["version"]),
        package=str(fields["package"]),
        stamps=_strings(fields.get("stamps")),
        check=_strings(fields.get("check")),
        on_path=str(fields.get("on_path", "")),
        release=_release(str(fields["version"]), release) if isinstance(release, dict) else None,
    )


def _release(version: str, fields: dict[str, object]) -> Release:
    machine = platform.machine().lower()
    values = {"version": version, "os": sys.platform, "arch": _ARCHITECTURES.get(machine, machine)}
    url, checksums, member = (str(fields.get(key, "")).format(**values) for key in ("url", "checksums", "member"))
    return Release(url=url, checksums=checksums, member=member, systems=_strings(fields["systems"]))


def _strings(value: object) -> tuple[str, ...]:
    return tuple(str(item) for item in value) if isinstance(value, list) else ()


def locked_version(go_mod: str, package: str) -> str:
    """Tell which version of the package's module a go.mod requires; empty when none."""
    return locked_module(go_mod, package)[1]


def locked_module(go_mod: str, package: str) -> tuple[str, str]:
    """Tell which module a go.mod requires for the package, and in which version; empty when none."""
    required = dict(re.findall(r"^\s*(?:require\s+)?(\S+) (v\S+)(?: // indirect)?$", go_mod, re.MULTILINE))
    owners = [path for path in required if package == path or package.startswith(path + "/")]
    owner = max(owners, key=len, default="")
    return owner, required.get(owner, "")

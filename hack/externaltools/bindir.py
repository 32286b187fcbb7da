"""The folder bin/: what is in it, one writer at a time, and files that appear whole or not at all."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from hack.externaltools.progress import Progress


@dataclass(frozen=True)
class Stamp:
    """What is known about a tool in bin/; pin is the digest that Catalogue.pin made of its recipe."""

    version: str
    how: str
    pin: str


class BinDir:
    """One folder of tools with their stamps in .versions/."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._stamps = self.path / ".versions"
        self.scratch = self.path / ".tmp"

    def stamp(self, name: str) -> Stamp | None:
        """Read the stamp of a tool that is there."""
        try:
            fields = json.loads((self._stamps / name).read_text())
            return Stamp(**fields) if (self.path / name).exists() else None
        except (OSError, ValueError, TypeError):
            return None

    def holds(self, name: str, pin: str) -> bool:
        """Tell whether the tool is there and was made after this very recipe."""
        stamp = self.stamp(name)
        return stamp is not None and stamp.pin == pin

    @contextmanager
    def locked(self, progress: Progress) -> Iterator[None]:
        """Wait until no other installer works in this folder, and start with an empty scratch folder."""
        self._stamps.mkdir(parents=True, exist_ok=True)
        with (self.path / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                progress.say(f"Another run is filling {self.path.name}/; waiting for it to end ...")
                fcntl.flock(lock, fcntl.LOCK_EX)
            shutil.rmtree(self.scratch, ignore_errors=True)
            self.scratch.mkdir()
            try:
                yield
            finally:
                shutil.rmtree(self.scratch, ignore_errors=True)

    def install(self, name: str, made: Path, stamp: Stamp) -> None:
        """Move what was made in the scratch folder, a file or a folder of files, to its place.

        Readers see the old or the new file, never a part of one; a crash in between leaves no stamp.
        """
        target = self.path / name
        (self._stamps / name).unlink(missing_ok=True)
        if made.is_dir():
            target.mkdir(exist_ok=True)
            for file in made.iterdir():
                os.replace(file, target / file.name)
        else:
            os.replace(made, target)
        draft = self.scratch / f"{name}.stamp"
        draft.write_text(json.dumps(asdict(stamp)) + "\n")
        os.replace(draft, self._stamps / name)

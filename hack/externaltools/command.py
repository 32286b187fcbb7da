"""Runs one command to its end and shows its progress. A command never outlives the installer."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.status import Status

console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)

REMEDIES = {
    "dial tcp": "The Go module proxy does not answer: check the network and `go env GOPROXY`, then run this again.",
    "no space left": "The disk is full: building everything takes about 4 GB in `go env GOCACHE GOMODCACHE`.",
    "": "Run this again. Compiled packages are kept.",
}
"""Text in a failed command's output → remedy."""


class ToolError(Exception):
    """A tool could not be installed. remedy: what to do about it."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.remedy = remedy


def doing(task: str) -> Status:
    """Show a task as a line; on a terminal, as a spinner until the block ends."""
    if not console.is_terminal:
        console.print(f"  {task} ...")
    return console.status(f"{task} ...")


def run(argv: list[str], task: str, *, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """Run a command that prints a line per step to standard error, and return its standard output.

    Raises ToolError with the last lines of its output.
    """
    steps: list[str] = []
    with doing(task) as status, tempfile.TemporaryFile("w+") as out:
        with subprocess.Popen(
            argv, cwd=cwd, env=env, stdout=out, stderr=subprocess.PIPE, text=True, start_new_session=True
        ) as child:
            try:
                for line in child.stderr or ():
                    steps.append(line)
                    status.update(f"{task}: {len(steps)} steps")
            except BaseException:
                os.killpg(child.pid, signal.SIGKILL)
                raise
        out.seek(0)
        if child.returncode == 0:
            return out.read()
    printed = "".join(line for line in steps[-20:] if line.strip() and not line.startswith("go: downloading "))
    raise ToolError(f"{task} failed:\n{printed}", next(text for sign, text in REMEDIES.items() if sign in printed))

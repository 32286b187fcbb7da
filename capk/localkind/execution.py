"""Answers `exec` in a node: files can be written and read, below a directory of the node; nothing else is installed."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from capk.engine.containers import WRITE_SCRIPT
from capk.localkind.clusters import Cluster, Node
from capk.localkind.steps import KindError


def execute(cluster: Cluster, node: Node, command: Sequence[str]) -> None:
    """Run one of the known commands, with our standard input and output.

    Raises KindError with what docker, or the command, would print, and with its exit status.
    """
    if not cluster.is_node_running(node):
        raise KindError(f"Error response from daemon: container {cluster.container_id(node)} is not running")
    files = cluster.files(node)
    match list(command):
        case ["true"]:
            return
        case ["cat", *paths]:
            _cat(files, paths)
        case ["sh", "-c", script, name, path, mode, size] if script == WRITE_SCRIPT:
            _write(files, ["-c", script, name, str(_below(files, path)), mode, size])
        case ["sh", "-c", *_]:
            raise KindError("sh: 1: not found", exit_status=127)
        case [unknown, *_]:
            raise KindError(
                "OCI runtime exec failed: exec failed: unable to start container process: "
                f'exec: "{unknown}": executable file not found in $PATH: unknown',
                exit_status=127,
            )
        case _:
            raise KindError('"docker exec" requires at least 2 arguments.')


def _cat(files: Path, paths: Sequence[str]) -> None:
    for path in paths:
        try:
            with _below(files, path).open("rb") as file:
                sys.stdout.flush()
                shutil.copyfileobj(file, sys.stdout.buffer)
        except OSError as error:
            raise KindError(f"cat: {path}: {error.strerror}") from error


def _write(files: Path, arguments: Sequence[str]) -> None:
    files.mkdir(mode=0o700, parents=True, exist_ok=True)
    ended = subprocess.run(["sh", *arguments], stderr=subprocess.PIPE, text=True, check=False)
    if ended.returncode:
        raise KindError(ended.stderr.rstrip(), exit_status=ended.returncode)


def _below(files: Path, path: str) -> Path:
    """Return where a path of the node is kept; no path leads out of its directory."""
    parts = [part for part in PurePosixPath("/", path).parts[1:] if part != ".."]
    return files.joinpath(*parts)

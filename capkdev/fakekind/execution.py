"""Answers `exec` in a node: it can write and read files below a directory of the node, and join or leave the cluster.

It also supports the scripts that read a node's logs. It runs no other program.
"""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from capk.engine.nodescripts import (
    ETCD_MOUNT,
    JOIN_FILE,
    NODE_LOGS,
    PODS_SCRIPT,
    READ_KUBELET,
    READ_NOTE,
    READ_REGISTRIES,
    VERSION_FILE,
    WRITE_FILE,
    WRITE_REGISTRIES,
)
from capkdev.controlplane import API_SERVER, ETCD
from capkdev.fakekind import workers
from capkdev.fakekind.clusters import CONTROL_PLANE, Cluster, Node
from capkdev.fakekind.steps import KindError

LOG_BYTES: Final = 16384
"""Lines of each pod's log, as in the script."""


def execute(cluster: Cluster, node: Node, command: Sequence[str]) -> None:
    """Run one of the known commands, with our standard input and output.

    Raises KindError with the message and the exit status of docker or the command.
    """
    if not cluster.is_node_running(node):
        raise KindError(f"Error response from daemon: container {cluster.container_id(node)} is not running")
    files = cluster.files(node)
    match list(command):
        case ["true"]:
            return
        case ["cat", *paths]:
            _cat(cluster, node, paths)
        case ["kubeadm", *arguments]:
            workers.kubeadm(cluster, node, arguments)
        case ["kubectl", *arguments] if node.role == CONTROL_PLANE:
            workers.kubectl(cluster, arguments)
        case ["journalctl", *_]:
            print("-- No entries --")
        case ["sh", "-c", script, name, path, mode, size] if script == WRITE_FILE:
            _write(files, ["-c", script, name, str(_below(files, path)), mode, size])
        case ["sh", "-c", script, _, folder, file, _] if script == READ_NOTE:
            _show(_below(files, folder) / file)
        case ["sh", "-c", script, *_] if script in (READ_REGISTRIES, WRITE_REGISTRIES):
            return  # containerd's settings, which no node has here
        case ["sh", "-c", script, *_] if script == ETCD_MOUNT:
            print("node", "/var", "ext2/ext3", f"/var/lib/docker/volumes/{node.name}/_data", sep="\n")
        case ["sh", "-c", script] if script == READ_KUBELET:
            return  # there is no kubelet
        case ["sh", "-c", script] if script in NODE_LOGS.values():
            _print_logs(cluster, node, of_pods=script == PODS_SCRIPT)
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


def copy(cluster: Cluster, node: Node, path: str) -> None:
    """Print a folder of a node, running or not, as an archive: what was written there, and its mounts.

    Raises KindError with docker's message if there is none.
    """
    import tarfile  # which takes longer to import than most calls need

    folder, mounts = _below(cluster.files(node), path), [one for one in node.mounts if one.startswith(f"{path}/")]
    if not (folder.is_dir() or mounts):
        raise KindError(f"Error response from daemon: Could not find the file {path} in container {node.name}")
    with tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as archive:
        if folder.is_dir():
            archive.add(folder, folder.name)
        for mount in mounts:
            archive.addfile(tarfile.TarInfo(f"{folder.name}{mount.removeprefix(path)}"))


def _show(file: Path) -> None:
    """Answer READ_NOTE; a folder without anything in it is not known here, because mounts are no files."""
    print("held" if file.exists() else "missing")
    if file.exists():
        print(file.read_text(), end="")


def _cat(cluster: Cluster, node: Node, paths: Sequence[str]) -> None:
    """Print files that were written into a node, or that every node of kind has."""
    for path in paths:
        try:
            with _below(cluster.files(node), path).open("rb") as file:
                sys.stdout.flush()
                shutil.copyfileobj(file, sys.stdout.buffer)
        except OSError as error:
            if path == VERSION_FILE:
                print(workers.kube_version(node))
            elif path == JOIN_FILE:
                print(workers.configuration(cluster, node))
            else:
                raise KindError(f"cat: {path}: {error.strerror}") from error


def _print_logs(cluster: Cluster, node: Node, *, of_pods: bool) -> None:
    """Print the logs of the local processes of a control plane; there is no journal."""
    if not of_pods:
        print("-- No entries --")
        return
    for name in (ETCD, API_SERVER) if node == cluster.first_control_plane else ():
        if (file := cluster.directory / f"{name}.log").exists():
            print(f"--- /var/log/containers/{file.name}")
            print(file.read_bytes()[-LOG_BYTES:].decode(errors="replace"))


def _write(files: Path, arguments: Sequence[str]) -> None:
    files.mkdir(mode=0o700, parents=True, exist_ok=True)
    ended = subprocess.run(["sh", *arguments], stderr=subprocess.PIPE, text=True, check=False)
    if ended.returncode:
        raise KindError(ended.stderr.rstrip(), exit_status=ended.returncode)


def _below(files: Path, path: str) -> Path:
    """Return the local path for a path of the node; it never leaves the node's directory."""
    parts = [part for part in PurePosixPath("/", path).parts[1:] if part != ".."]
    return files.joinpath(*parts)

"""The private files with which kind and docker reach engines on other machines, and the variables that name them."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from capk.api.engineclasses import DockerHost
from capk.engine.remotekeys import BadKeys, ssh_files, tls_files
from capk.engine.workdir import WorkDir

_SSH: Final = "ssh"
_NOT_INHERITED: Final = (
    *("DOCKER_CONTEXT", "DOCKER_TLS", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "SSH_AUTH_SOCK"),
    *("DOCKER_AUTH_CONFIG", "DOCKER_CUSTOM_HEADERS"),
)
"""Variables of the provider's own engine, which must not count for another one. The last two hold logins.

Source: docker/cli cli/config/configfile/file.go, cli/command/cli_options.go.
"""
_CONFIG: Final = """Host *
  BatchMode yes
  IdentitiesOnly yes
  IdentityAgent none
  IdentityFile "{directory}/identity"
  StrictHostKeyChecking yes
  UserKnownHostsFile "{directory}/known_hosts"
  GlobalKnownHostsFile /dev/null
  UpdateHostKeys no
  ServerAliveInterval 15
  ServerAliveCountMax 3
"""
"""Of ssh_config(5). docker runs ssh by itself and passes only host, user and port."""
_WRAPPER: Final = """#!/bin/sh
exec '{ssh}' -F '{directory}/config' "$@"
"""


class RemoteFiles:
    """The files of each remote engine, in a directory that only this user can enter.

    work_dir: removes the directories of a provider that was killed.
    """

    def __init__(self, work_dir: WorkDir) -> None:
        self._work_dir = work_dir
        self._directories: dict[str, tuple[Path, ExitStack]] = {}

    def write(self, name: str, docker: DockerHost, data: Mapping[str, object]) -> dict[str, str]:
        """Write the files of an engine, and return the variables for its commands.

        name: of the class. data: of its Secret, in base64. The directory stays the same, and each file is replaced as a
        whole, so that running commands take new keys. Raises BadKeys, CapkError and OSError.
        """
        files = ssh_files(data) if docker.uses_ssh else tls_files(data)
        ssh = shutil.which(_SSH) if docker.uses_ssh else None
        if docker.uses_ssh and ssh is None:
            raise BadKeys("ssh is not installed where the provider runs; use the image of a release, or TLS")
        directory = self.keep(name, files)
        if ssh is None:
            return tls_variables(docker.url, directory)
        return {
            **_common_variables(docker.url, directory),
            "PATH": f"{self._ssh_command(directory, ssh)}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        }

    def keep(self, name: str, files: Mapping[str, str]) -> Path:
        """Write files by their names, and return the directory that has them: the same one each time.

        Raises CapkError and OSError.
        """
        directory = self._directory(name)
        for file, content in files.items():
            _replace(directory / file, content, 0o600)
        return directory

    def names(self) -> list[str]:
        """Return the names of the classes that have files."""
        return list(self._directories)

    def drop(self, name: str) -> None:
        """Remove the files of an engine; none are fine. Its commands must have ended, or they fail."""
        _, stack = self._directories.pop(name, (None, None))
        if stack:
            stack.close()

    def close(self) -> None:
        """Remove all files."""
        for name in tuple(self._directories):
            self.drop(name)

    def _directory(self, name: str) -> Path:
        if name not in self._directories or not self._directories[name][0].is_dir():
            stack = ExitStack()
            self._directories[name] = stack.enter_context(self._work_dir.call()), stack
        return self._directories[name][0]

    def _ssh_command(self, directory: Path, ssh: str) -> Path:
        """Write the ssh that docker finds on its PATH, and return its directory: docker itself passes no options."""
        folder = directory / "bin"
        folder.mkdir(mode=0o700, exist_ok=True)
        # A percent sign begins a token of ssh.
        _replace(directory / "config", _CONFIG.format(directory=str(directory).replace("%", "%%")), 0o600)
        _replace(folder / _SSH, _WRAPPER.format(ssh=ssh, directory=directory), 0o700)
        return folder


def tls_variables(url: str, directory: Path) -> dict[str, str]:
    """Return the variables for an engine that is reached with TLS; directory: as DOCKER_CERT_PATH has to be."""
    return {**_common_variables(url, directory), "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(directory)}


def _common_variables(url: str, directory: Path) -> dict[str, str]:
    return {
        **dict.fromkeys(_NOT_INHERITED, ""),
        # docker would send logins for registries, and the password of a proxy, from the provider's own one.
        "DOCKER_CONFIG": str(directory),
        "KIND_EXPERIMENTAL_PROVIDER": "docker",
        "DOCKER_HOST": url,
    }


def _replace(file: Path, content: str, mode: int) -> None:
    """Write a file that others see either as it was or complete."""
    if file.is_file() and file.read_text(encoding="utf-8") == content:
        return
    handle, new = tempfile.mkstemp(dir=file.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            os.fchmod(handle, mode)
            stream.write(content)
        os.replace(new, file)
    except OSError:
        # On a full disk, each attempt would leave another part of a key.
        os.unlink(new)
        raise

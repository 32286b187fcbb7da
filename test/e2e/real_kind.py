"""The real kind command and its container engine, used as by a person at a terminal."""

import json
import os
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from capk.kindconfig.images import image_version
from capkdev.fakekind.kindconfig import DEFAULT_IMAGE
from capkdev.managementcluster.engines import EngineChoice

RUN_SECONDS = 300
LABEL = "io.x-k8s.kind.cluster"


class RealKind:
    """kind clusters on the container engine of this machine.

    directory: for the kubeconfigs that kind writes.
    """

    def __init__(self, choice: EngineChoice, directory: Path) -> None:
        self.provider_flags = choice.provider_arguments
        self.command = shlex.split(choice.kind)
        self.image = choice.node_image or DEFAULT_IMAGE
        self.engine_command = shlex.split(choice.engine)
        self.is_docker = Path(self.engine_command[0]).name == "docker"
        self._directory = directory

    @property
    def version(self) -> str:
        """The Kubernetes version of the node image, as in v1.36.3."""
        version = image_version(self.image)
        assert version, f"the tag of node image {self.image} is no version"
        return version

    def names(self) -> list[str]:
        """Return the names of all kind clusters."""
        return run([*self.command, "get", "clusters"]).split()

    def containers(self, name: str) -> dict[str, str]:
        """Return the ids of the node containers of a kind cluster by their names, stopped ones included."""
        listing = self.engine(
            "ps", "-a", "--no-trunc", "--filter", f"label={LABEL}={name}", "--format", "{{.Names}} {{.ID}}"
        )
        return dict(line.split() for line in listing.splitlines())

    def inspect(self, container: str) -> dict[str, Any]:
        """Return the engine's `inspect` of a container."""
        (found,) = json.loads(self.engine("inspect", container))
        return found

    def volumes(self, container: str) -> list[str]:
        """Return the names of a container's volumes."""
        return [mount["Name"] for mount in self.inspect(container)["Mounts"] if mount["Type"] == "volume"]

    def all_volumes(self) -> list[str]:
        """Return the names of all volumes of the engine."""
        return self.engine("volume", "ls", "--quiet").split()

    def create(self, name: str, config: str = "") -> Path:
        """Create a kind cluster by hand from kind's configuration in YAML, and return its kubeconfig."""
        kubeconfig = self._directory / name
        more = ["--config", "-"] if config else []
        create = [*self.command, "create", "cluster", "--name", name, "--image", self.image, *more]
        run([*create, "--kubeconfig", str(kubeconfig)], stdin=config)
        return kubeconfig

    def load(self, name: str, *images: str, nodes: Sequence[str] = ()) -> None:
        """Load images of the engine into the nodes of a kind cluster; without `nodes`, into all."""
        some = ["--nodes", ",".join(nodes)] if nodes else []
        run([*self.command, "load", "docker-image", "--name", name, *some, *images])

    def delete(self, name: str) -> None:
        """Delete a kind cluster by hand."""
        run([*self.command, "delete", "cluster", "--name", name, "--kubeconfig", str(self._directory / name)])

    def kubectl_inside(self, kubeconfig: str, *arguments: str) -> str:
        """Run kubectl in a container on the network of the kind clusters, like a pod of one."""
        return self.engine(
            *("run", "--rm", "--interactive", "--network", "kind", "--entrypoint", "kubectl", self.image),
            *("--kubeconfig", "/dev/stdin", *arguments),
            stdin=kubeconfig,
        )

    def engine(self, *arguments: str, stdin: str | None = None) -> str:
        """Run the container engine's command and return its output."""
        return run([*self.engine_command, *arguments], stdin=stdin)


def run(command: Sequence[str], *, stdin: str | None = None, seconds: float = RUN_SECONDS, **environment: str) -> str:
    """Run a command and return its standard output; an AssertionError has all its output."""
    ended = subprocess.run(
        command,
        input=stdin,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert ended.returncode == 0, f"{shlex.join(command)} failed:\n{ended.stdout}\n{ended.stderr}"
    return ended.stdout


def processes_of(name: str) -> list[str]:
    """Return the command lines of all kind and engine processes that work for a kind cluster."""
    listing = run(["ps", "-eo", "args"]).splitlines()
    return [line for line in listing if f"--name={name} " in line or f"--name {name}-" in line]

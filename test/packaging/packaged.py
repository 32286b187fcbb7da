"""Shared parts of the tests in this folder: paths, and a rendered overlay of config/."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from hack import release

ROOT = Path(__file__).parents[2]
IMAGE = "registry.example/cluster-api-provider-kind:v0.1.0"


@dataclass(frozen=True)
class Bundle:
    """One overlay: its text in a release, and its objects with the defaults of all variables."""

    text: str

    @cached_property
    def objects(self) -> list[dict[str, Any]]:
        filled = release.fill_in_defaults(self.text).replace("${CAPKIND_DOCKER_HOST}", "tcp://engine.example:2376")
        return [one for one in yaml.load_all(filled, yaml.CSafeLoader) if one]

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        return [one for one in self.objects if one["kind"] == kind]

    @property
    def deployment(self) -> dict[str, Any]:
        (deployment,) = self.of_kind("Deployment")
        return deployment

    @property
    def pod(self) -> dict[str, Any]:
        return self.deployment["spec"]["template"]["spec"]

    @property
    def manager(self) -> dict[str, Any]:
        (manager,) = (one for one in self.pod["containers"] if one["name"] == "manager")
        return manager

"""A local clusterctl repository: releases of the provider, one of Cluster API's core, and a configuration."""

import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
MANIFESTS = ROOT / "bin" / "manifests"
CORE = "v1.14.2"
COMPONENTS = "infrastructure-components.yaml"


@dataclass(frozen=True)
class Repository:
    """Releases that hack/release.py writes, and core's own.

    image: of the provider, with `{version}`. core: components of core; empty for those of its release.
    settings: further content of clusterctl's configuration. components: the file of the provider's release to install.
    """

    folder: Path
    image: str = "localhost/cluster-api-provider-kind:{version}"
    core: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    components: str = COMPONENTS

    @property
    def configuration(self) -> Path:
        return self.folder / "clusterctl.yaml"

    def write(self, *versions: str) -> None:
        """Write releases of the provider, oldest first, and one of core."""
        for version in versions:
            self._write_provider(version)
        core = self.folder / "cluster-api" / CORE
        core.mkdir(parents=True, exist_ok=True)
        components = core / "core-components.yaml"
        components.write_text(self.core or (MANIFESTS / "cluster-api-components.yaml").read_text())
        shutil.copy(MANIFESTS / "cluster-api-metadata.yaml", core / "metadata.yaml")
        configuration = yaml.safe_load(self.configuration.read_text()) | self.settings
        for ours in configuration["providers"]:
            ours["url"] = ours["url"].replace(COMPONENTS, self.components)
        provider = {"name": "cluster-api", "type": "CoreProvider", "url": components.as_uri()}
        configuration["providers"].append(provider)
        self.configuration.write_text(yaml.safe_dump(configuration))

    def _write_provider(self, version: str) -> None:
        # A release lists the series up to its own.
        (newest,) = re.findall(r"v0\.(\d+)\.", version)
        metadata = yaml.safe_load((ROOT / "metadata.yaml").read_text())
        metadata["releaseSeries"] = [
            {"major": 0, "minor": minor, "contract": "v1beta2"} for minor in range(1, int(newest) + 1)
        ]
        file = self.folder / "metadata.yaml"
        file.write_text(yaml.safe_dump(metadata))
        command = [
            *(sys.executable, str(ROOT / "hack" / "release.py"), "--version", version, "--out", str(self.folder)),
            *("--image", self.image.format(version=version)),
            *("--metadata", str(file), "--no-sbom", "--local-repository"),
        ]
        written = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert written.returncode == 0, f"hack/release.py failed:\n{written.stdout}\n{written.stderr}"

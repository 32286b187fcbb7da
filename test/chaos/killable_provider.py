"""A provider that can be killed hundreds of times."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from capkdev.managementcluster.cluster import LocalManagementCluster
from test.integration.provider_process import ProviderProcess


class KillableProvider(ProviderProcess):
    """A provider that is started without waiting and killed without warning.

    kills: number of times that it was killed while it ran.
    """

    def __init__(
        self, management: LocalManagementCluster, directory: Path, flags: Sequence[str], environment: Mapping[str, str]
    ) -> None:
        self.work, self.temporary = directory / "work", directory / "tmp"
        self.temporary.mkdir()
        private = {"TMPDIR": str(self.temporary), "NO_PROXY": "127.0.0.1", "PYTHONDONTWRITEBYTECODE": "1"}
        super().__init__(management, directory, flags, {**private, **environment})
        self.kills = 0

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self) -> "KillableProvider":
        self.begin()
        return self

    def kill(self) -> None:
        if self.pid is not None:
            self.kills += 1
            super().kill()

"""The test fills, stops, kills and restarts its own container engine; kind and the engine's command are real.

Needs root, for a file system of its own; the node image holds one large file, so that no node ever starts.
"""

import contextlib
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from capk.api.names import KIND_CLUSTERS
from capkdev.binaries import find_binary
from capkdev.managementcluster.cluster import LocalManagementCluster
from test.integration.api import Api, connected, eventually
from test.integration.provider.journeys import Place, SwitchableKind, standalone
from test.integration.provider_process import ProviderProcess

MIB = 1 << 20
DISK, BALLAST = 96 * MIB, 40 * MIB
"""The image fits on the disk, and a copy of it does not: kind has the engine copy a node's /var to a volume."""
IMAGE = "little/node:v1.36.3"

pytestmark = pytest.mark.timeout(600)


class LittleEngine:
    """A Docker daemon whose data is on a file system of a few megabytes."""

    def __init__(self, directory: Path) -> None:
        self.data, self._directory = directory / "data", directory
        self.address = f"unix://{directory / 'socket'}"
        self._daemon: subprocess.Popen[bytes] | None = None

    def set_up(self) -> None:
        """Create the disk, start the daemon and load the node image. Raises CalledProcessError on failure."""
        self.data.mkdir()
        _run("mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(self.data))
        self.start()
        _run(
            "docker",
            "--host",
            self.address,
            "import",
            "--change",
            'ENTRYPOINT ["/sbin/init"]',
            "-",
            IMAGE,
            content=_image(),
        )

    def start(self) -> None:
        """Start the daemon and return when it answers."""
        options = ["--bridge=none", "--iptables=false", "--ip6tables=false", "--storage-driver=vfs"]
        places = {"data-root": self.data, "exec-root": self._directory / "run", "pidfile": self._directory / "pid"}
        options += [f"--{option}={place}" for option, place in places.items()]
        with (self._directory / "log").open("ab") as log:
            self._daemon = subprocess.Popen(
                ["dockerd", *options, f"--host={self.address}"], stdout=log, stderr=log, start_new_session=True
            )
        eventually(self._answers, 60)

    def signal(self, name: str) -> None:
        """Send the daemon a signal."""
        assert self._daemon
        _run("kill", f"-{name}", str(self._daemon.pid))

    def kill(self) -> None:
        """Kill the daemon, as a power failure would."""
        assert self._daemon
        self._daemon.kill()
        self._daemon.wait()
        # A power failure would end these too.
        with contextlib.suppress(OSError, ValueError):
            containerd = int((self._directory / "run" / "containerd" / "containerd.pid").read_text())
            os.kill(containerd, 9)
        (self._directory / "pid").unlink(missing_ok=True)

    def grow(self) -> None:
        """Enlarge the disk."""
        _run("mount", "-o", f"remount,size={4 * DISK}", str(self.data))

    def containers(self) -> list[str]:
        """Return the names of all containers."""
        return _run("docker", "--host", self.address, "ps", "--all", "--format", "{{.Names}}").split()

    def log_tail(self) -> str:
        """Return the end of the daemon's log."""
        return (self._directory / "log").read_text()[-1000:]

    def tear_down(self) -> None:
        """Remove everything."""
        if self._daemon and self._answers():
            for name in self.containers():
                _run("docker", "--host", self.address, "rm", "--force", "--volumes", name)
            subprocess.run(
                ["docker", "--host", self.address, "network", "rm", "kind"], check=False, capture_output=True
            )
        if self._daemon:
            self._daemon.terminate()
            self._daemon.wait(60)
        if os.path.ismount(self.data):
            _run("umount", "--lazy", str(self.data))

    def _answers(self) -> bool:
        asked = subprocess.run(["docker", "--host", self.address, "info"], check=False, capture_output=True, timeout=30)
        return asked.returncode == 0


def _run(*command: str, content: bytes | None = None) -> str:
    return subprocess.run(command, input=content, check=True, capture_output=True, timeout=120).stdout.decode()


def _image() -> bytes:
    """Return the file system of an image: one file below /var that cannot be compressed."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        entry = tarfile.TarInfo("var/ballast")
        entry.size = BALLAST
        archive.addfile(entry, io.BytesIO(os.urandom(BALLAST)))
    return packed.getvalue()


@pytest.fixture
def engine() -> Iterator[LittleEngine]:
    if os.geteuid() != 0 or not all(map(shutil.which, ("dockerd", "docker", "mount"))):
        pytest.skip("an engine of the test's own needs root, dockerd and docker")
    # Short, because the length of socket paths is limited.
    directory = Path(tempfile.mkdtemp(prefix="capk-engine-"))
    engine = LittleEngine(directory)
    try:
        engine.set_up()
    except (subprocess.CalledProcessError, AssertionError) as failure:
        engine.tear_down()
        pytest.skip(f"no second engine can be run here: {failure}\n{engine.log_tail()}")
    yield engine
    engine.tear_down()
    shutil.rmtree(directory)


@pytest.fixture
def api(management: LocalManagementCluster) -> Iterator[Api]:
    with connected(management) as api:
        yield api


@pytest.fixture
def place(management: LocalManagementCluster, api: Api, engine: LittleEngine, tmp_path: Path) -> Iterator[Place]:
    """A provider for that engine, with the real kind."""
    directory, namespace = tmp_path / "provider", api.new_namespace()
    directory.mkdir()
    commands = ["--kind-command", str(find_binary("kind")), "--engine-command", "docker"]
    periods = ["--inventory-period", "2s", "--sync-period", "5s", "--node-image", IMAGE]
    flags = ["--namespace", namespace, *commands, *periods]
    environment = {"DOCKER_HOST": engine.address, "KIND_EXPERIMENTAL_PROVIDER": "docker"}
    process = ProviderProcess(management, directory, flags, environment).start()
    yield Place(management, api, namespace, process, SwitchableKind(tmp_path / "unused"))
    process.kill()
    print("\n".join(process.log_text().splitlines()[-60:]))


@pytest.mark.rule("C17", "C20")
def test_full_disk_is_told_and_nothing_of_the_failure_stays(place: Place, engine: LittleEngine) -> None:
    place.create(standalone("full"))
    seen = place.await_condition("full", "ClusterCreated", reason="OutOfDisk", seconds=120)
    assert "disk" in seen["message"]
    assert engine.containers() == []
    logs = Path(place.get(KIND_CLUSTERS, "full")["status"]["logs"])
    assert "no space left on device" in (logs / "kind.log").read_text()

    # More space leads to the next failure: the image has no init system.
    engine.grow()
    place.patch(KIND_CLUSTERS, "full", {"spec": {"image": IMAGE}})
    eventually(lambda: place.condition("full", "ClusterCreated")["reason"] not in ("OutOfDisk", "Creating"), 120)
    place.delete(KIND_CLUSTERS, "full")
    place.await_gone("full", seconds=120)
    assert engine.containers() == []


@pytest.mark.rule("C17", "C20")
def test_engine_that_hangs_or_dies_is_told_and_used_again_as_soon_as_it_answers(
    place: Place, engine: LittleEngine
) -> None:
    """An object and a deletion wait all the time."""
    place.create(standalone("leaving"))
    place.await_condition("leaving", "ClusterCreated", reason="OutOfDisk", seconds=120)
    for trouble, recovery, says in (
        (lambda: engine.signal("STOP"), lambda: engine.signal("CONT"), "did not answer within"),
        (engine.kill, engine.start, "does not answer"),
    ):
        trouble()
        seen = place.await_condition("leaving", "EngineAvailable", reason="EngineUnreachable", seconds=200)
        assert says in seen["message"]
        recovery()
        place.await_condition("leaving", "EngineAvailable", seconds=120)
    engine.kill()
    place.await_condition("leaving", "EngineAvailable", reason="EngineUnreachable", seconds=200)
    place.delete(KIND_CLUSTERS, "leaving")
    place.await_condition("leaving", "Deleting", reason="EngineUnreachable", seconds=60)
    time.sleep(5)
    assert place.find(KIND_CLUSTERS, "leaving")
    engine.start()
    place.await_gone("leaving", seconds=120)
    assert engine.containers() == []

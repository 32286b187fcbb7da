"""Searches for keys of workload clusters where they must not be, during a whole life with full logging."""

import base64
import json
import re
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from capk.api.names import KIND_CLUSTERS, KIND_CONTROL_PLANES, SECRETS
from capkdev.files import write_private
from test.chaos.scenario import PATIENCE_SECONDS, Stage
from test.integration.api import CLUSTERS, eventually
from test.integration.provider.journeys import EVENTS

pytestmark = pytest.mark.timeout(900)

PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----|LS0tLS1CRUdJTi[A-Za-z0-9+/=]{20,}")


class Onlooker:
    """Everything that other users of the machine can see: arguments of processes, and readable files."""

    def __init__(self, directories: list[Path]) -> None:
        self.arguments: set[str] = set()
        self.open_files: set[str] = set()
        self.looks = 0
        self._directories, self._ended = directories, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "Onlooker":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(0.01):
            self.looks += 1
            for process in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    self.arguments.add(process.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
                except OSError:
                    continue
            self.open_files |= {str(path) for directory in self._directories for path in _open_to_all(directory)}


def _open_to_all(directory: Path) -> Iterator[Path]:
    """Yield files that other users can read, in directories that they can enter."""
    try:
        if not directory.exists() or not directory.stat().st_mode & stat.S_IXOTH:
            return
        for path in directory.iterdir():
            if path.is_dir():
                yield from _open_to_all(path)
            elif path.stat().st_mode & stat.S_IROTH:
                yield path
    except OSError:
        return


def secrets_of(stage: Stage, name: str) -> set[str]:
    """Return the secrets of a kind cluster: its keys and certificates, in base64 and line by line."""
    found: set[str] = set()
    for secret in stage.secrets(name):
        for value in secret["data"].values():
            (user,) = yaml.safe_load(base64.b64decode(value))["users"]
            for field in ("client-key-data", "client-certificate-data"):
                text = user["user"][field]
                # Begin and end are the same for all keys; the middle is unique.
                found |= {text[100:160], value[200:260]}
                found |= {line for line in base64.b64decode(text).decode().splitlines()[2:4] if len(line) > 40}
    assert len(found) >= 6
    return found


def check(secrets: set[str], places: dict[str, str]) -> None:
    """Assert that none of the secrets, and nothing that looks like a private key, is in a text."""
    for place, text in places.items():
        leaked = [secret for secret in secrets if secret in text]
        assert not leaked, f"{len(leaked)} secrets in {place}"
        shape = PRIVATE_KEY.search(text)
        assert not shape, f"in {place}: {text[max(0, shape.start() - 200) : shape.start()]}"


def texts_of(stage: Stage) -> dict[str, str]:
    """Return everything that users other than the owner of a Secret can see."""
    kinds = (KIND_CLUSTERS, KIND_CONTROL_PLANES, CLUSTERS, EVENTS)
    objects = {kind.kind: json.dumps(stage.api.list(kind, stage.namespace)) for kind in kinds}
    return {"the log": stage.process.log_text(), "metrics": stage.process.metrics(), **objects}


@pytest.mark.rule("C14")
def test_no_key_leaves_the_secrets_in_a_whole_life(stage: Callable[..., Stage]) -> None:
    stage = stage("--log-format", "json", "--log-level", "debug", owned=True, instant=False)
    with Onlooker([stage.process.work, stage.process.temporary]) as onlooker:
        stage.process.start()
        stage.create_cluster("private")
        stage.await_ready("private")
        secrets = secrets_of(stage, "private")
        seen = [texts_of(stage)]
        # Repair, and a restart that reads everything again.
        stage.delete(SECRETS, "private-config")
        stage.delete(SECRETS, "private-kubeconfig")
        stage.process.kill()
        stage.process.start()
        eventually(lambda: len(stage.secrets("private")) == 2, PATIENCE_SECONDS)
        seen.append(texts_of(stage))
        stage.end("private")
        stage.await_end("private")
        seen.append(texts_of(stage))
    for texts in seen:
        check(secrets, texts)
    check(secrets, {"the arguments of a process": "\n".join(onlooker.arguments)})
    assert onlooker.looks > 50
    assert onlooker.open_files == set()
    assert any("create cluster" in line for line in onlooker.arguments)
    stage.check_residue()


@pytest.mark.rule("C14")
def test_key_that_kind_prints_when_it_fails_is_not_passed_on(stage: Callable[..., Stage], tmp_path: Path) -> None:
    """kubeadm prints whole configurations when it fails."""
    planted = base64.b64encode(b"-----BEGIN EC PRIVATE KEY-----\n" + b"planted" * 30).decode()
    kind = tmp_path / "leaking"
    kind.write_text(
        '#!/bin/sh\ncase "$*" in version) echo kind v0.33.0 ;; "create cluster"*)\n'
        f"  echo 'ERROR: failed to create cluster: failed to init node with kubeadm' >&2\n"
        f"  echo '    client-key-data: {planted}' >&2\n"
        "  echo 'kubeadm join --token abcdef.0123456789abcdef --certificate-key 0123456789abcdef0123' >&2\n"
        "  exit 1 ;; esac\n"
    )
    kind.chmod(stat.S_IRWXU)
    stage = stage("--log-level", "debug", "--kind-command", str(kind))
    stage.process.start()
    stage.create_cluster("leaky")
    stage.await_condition("leaky", "ClusterCreated", status="False", seconds=60)
    stage.await_condition("leaky", reason="KubeadmFailed", seconds=60)
    texts = texts_of(stage)
    check({planted[60:120], "abcdef.0123456789abcdef", "0123456789abcdef0123"}, texts)
    assert "KubeadmFailed" in texts["KINDCluster"]


def test_the_search_finds_what_it_looks_for(tmp_path: Path) -> None:
    """A planted key, and a file that others can read."""
    key = base64.b64encode(b"-----BEGIN EC PRIVATE KEY-----\nabc").decode()
    with pytest.raises(AssertionError, match="in the log"):
        check(set(), {"the log": f"client-key-data: {key}"})
    with pytest.raises(AssertionError, match="1 secrets in status"):
        check({"planted"}, {"status": "a planted one"})
    write_private(tmp_path / "private", b"")
    (tmp_path / "public").touch(mode=0o644)
    tmp_path.chmod(0o755)
    assert [path.name for path in _open_to_all(tmp_path)] == ["public"]

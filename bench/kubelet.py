"""A pretended scheduler and kubelet: Pods of engines become Ready and end without a container.

What is in the Pod is a directory of the instant engine, which exists as long as the Pod.
"""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from queue import SimpleQueue

from bench.rig import Object, Rig
from capk.api.names import PODS
from capk.errors import ApiError, Unreachable
from capkdev.rest import JSON, MERGE_PATCH, Rest

NAMESPACE = "capkind-engines"
PATH = f"/api/{PODS.version}/namespaces/{NAMESPACE}/{PODS.plural}"
NODE = "node"
THREADS = 4
_RUNNING = {
    "phase": "Running",
    "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "True"}],
    "containerStatuses": [
        {
            "name": "engine",
            "containerID": "containerd://0",
            "restartCount": 0,
            "image": "docker:29-dind",
            "imageID": "docker:29-dind",
            "ready": True,
            "state": {"running": {}},
        }
    ],
}


class Kubelet:
    """Follows the Pods of engines. writes: how many requests it has sent, which are not the provider's."""

    def __init__(self, rig: Rig) -> None:
        self.writes = 0
        self._rig = rig
        self._engines = rig.engine / "hosts"
        self._due: SimpleQueue[tuple[str, bool] | None] = SimpleQueue()
        self._seen: set[tuple[str, bool]] = set()
        self._lock = threading.Lock()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Follow the Pods during the body of the `with`."""
        threads = [threading.Thread(target=self._work) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        try:
            with self._rig.watching(self._note, PATH):
                yield
        finally:
            for _ in threads:
                self._due.put(None)
            for thread in threads:
                thread.join()

    def _note(self, type: str, pod: Object) -> None:
        """Have a Pod started or ended, but each only once: a watch begins with all Pods, and reports our own writes."""
        if type == "DELETED":
            return
        metadata = pod["metadata"]
        is_ending = "deletionTimestamp" in metadata
        if (metadata["uid"], is_ending) not in self._seen:
            self._seen.add((metadata["uid"], is_ending))
            self._due.put((metadata["name"], is_ending))

    def _work(self) -> None:
        with self._rig.management.rest() as rest:
            while (due := self._due.get()) is not None:
                # A Pod may be deleted before it has started.
                with suppress(ApiError):
                    (self._end if due[1] else self._start)(rest, due[0])

    def _start(self, rest: Rest, name: str) -> None:
        for folder in ("clusters", "names"):
            (self._place(name) / folder).mkdir(parents=True)
        target = {"kind": "Node", "name": NODE}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
        self._write(rest, "POST", f"{name}/binding", binding)
        self._write(rest, "PATCH", f"{name}/status", {"status": _RUNNING})

    def _end(self, rest: Rest, name: str) -> None:
        shutil.rmtree(self._place(name), ignore_errors=True)
        self._write(rest, "DELETE", name, {"gracePeriodSeconds": 0})

    def _write(self, rest: Rest, method: str, path: str, body: Object) -> None:
        with self._lock:
            self.writes += 1
        send = partial(rest.request, method, f"{PATH}/{path}", body, MERGE_PATCH if method == "PATCH" else JSON)
        try:
            send()
        except Unreachable:
            # The API server has closed a connection that was idle for long.
            send()

    def _place(self, name: str) -> Path:
        return self._engines / f"{name}.{NAMESPACE}.svc:2376"

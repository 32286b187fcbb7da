"""A controller that takes the same steps sequentially, one object at a time. It serves only as a comparison."""

import base64
import subprocess
import tempfile
import threading
from datetime import UTC, datetime
from pathlib import Path

from bench.rig import KIND_CLUSTER_PATH, Object, is_ready
from capk.kindconfig.kubeconfig import read_kubeconfig
from capkdev.rest import MERGE_PATCH, Rest

FINALIZER = "bench.example.com/blocking"
SECRET_PATH = "/api/v1/namespaces/default/secrets"
PAUSE_SECONDS = 0.05


class BlockingController:
    """Claims, creates, reads both kubeconfigs, writes Secret, endpoint and status; deletes. Runs until `stop`.

    kind: command. image: of the nodes. environment: of the command.
    """

    def __init__(self, rest: Rest, kind: list[str], image: str, environment: dict[str, str]) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._rest = rest
        self._command = kind
        self._image = image
        self._environment = environment

    def start(self) -> None:
        """Start reconciling."""
        self._thread.start()

    def stop(self) -> None:
        """Stop after the current object."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(PAUSE_SECONDS):
            for obj in self._rest.request("GET", KIND_CLUSTER_PATH)["items"]:
                if obj["metadata"].get("deletionTimestamp"):
                    self._remove(obj)
                elif not is_ready(obj):
                    self._create(obj)

    def _create(self, obj: Object) -> None:
        name = obj["metadata"]["name"]
        path = f"{KIND_CLUSTER_PATH}/{name}"
        self._rest.request("PATCH", path, {"metadata": {"finalizers": [FINALIZER]}}, MERGE_PATCH)
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory) / "kubeconfig"
            config = "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\n"
            arguments = [f"--name={name}", "--config=-", f"--image={self._image}", "--wait=120s"]
            self._kind("create", "cluster", *arguments, f"--kubeconfig={file}", stdin=config)
            external = file.read_text()
        self._kind("get", "kubeconfig", f"--name={name}", "--internal")
        data = {"config": base64.b64encode(external.encode()).decode()}
        self._rest.request("POST", SECRET_PATH, {"metadata": {"name": f"{name}-config"}, "data": data})
        facts = read_kubeconfig(external)
        endpoint = {"host": facts.host, "port": facts.port}
        self._rest.request("PATCH", path, {"spec": {"controlPlaneEndpoint": endpoint}}, MERGE_PATCH)
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        ready = {"type": "Ready", "status": "True", "reason": "Ready", "message": "", "lastTransitionTime": now}
        status = {"initialization": {"provisioned": True}, "conditions": [ready]}
        self._rest.request("PATCH", f"{path}/status", {"status": status}, MERGE_PATCH)

    def _remove(self, obj: Object) -> None:
        name = obj["metadata"]["name"]
        self._kind("delete", "cluster", f"--name={name}")
        self._rest.request("DELETE", f"{SECRET_PATH}/{name}-config")
        self._rest.request("PATCH", f"{KIND_CLUSTER_PATH}/{name}", {"metadata": {"finalizers": []}}, MERGE_PATCH)

    def _kind(self, *arguments: str, stdin: str = "") -> None:
        subprocess.run(
            [*self._command, *arguments], input=stdin, text=True, check=True, capture_output=True, env=self._environment
        )

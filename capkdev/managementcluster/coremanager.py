"""Cluster API's core manager as a local process, with its definitions, webhooks and certificates."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from capk.errors import ApiError
from capkdev.binaries import find_binary, find_manifest
from capkdev.certificates import Authority
from capkdev.controlplane import feature_gates_argument
from capkdev.files import write_private
from capkdev.managementcluster import install, manifests
from capkdev.managementcluster.options import CORE_MANAGER
from capkdev.managementcluster.readiness import POLL_SECONDS, READY_SECONDS, await_ready, failure
from capkdev.ports import free_port
from capkdev.rest import Rest, client_context

_WEBHOOKS = "webhooks"
_FEATURE_GATES = {"ClusterTopology": True, "MachinePool": True}


@dataclass
class CoreManager:
    """One core manager; all paths in its arguments are relative to the management cluster's directory."""

    directory: Path
    binaries: Path | None = None
    feature_gates: Mapping[str, bool] = field(default_factory=dict)
    _webhook_port: int = field(default_factory=free_port)
    _health_port: int = field(default_factory=free_port)

    @property
    def health(self) -> str:
        """Address of /readyz."""
        return f"http://127.0.0.1:{self._health_port}"

    def prepare(self, rest: Rest, others: Iterable[manifests.Manifest] = ()) -> None:
        """Install definitions and webhooks that refer to the core manager, and its serving certificate.

        others: further definitions, which the API server begins to serve meanwhile.
        """
        place = self.directory / _WEBHOOKS
        place.mkdir(mode=0o700, exist_ok=True)
        authority = Authority("capkdev-webhooks")
        pair = authority.issue_server(CORE_MANAGER, ["127.0.0.1"])
        write_private(place / "ca.crt", authority.certificate)
        write_private(place / "tls.crt", pair.certificate)
        write_private(place / "tls.key", pair.key)
        definitions = [
            manifests.with_conversion_at(definition, self._server, authority.certificate)
            for definition in manifests.load(find_manifest("cluster-api-crds.yaml", self.binaries))
        ]
        webhooks = manifests.load(find_manifest("cluster-api-webhooks.yaml", self.binaries))
        install.install_definitions(rest, [*others, *(manifests.labelled(item, "cluster-api") for item in definitions)])
        install.install_webhooks(rest, manifests.with_webhooks_at(webhooks, self._server, authority.certificate))

    def command(self) -> list[str]:
        """Return the command line."""
        return [
            str(find_binary(CORE_MANAGER, self.binaries)),
            "--kubeconfig=kubeconfig",
            f"--webhook-port={self._webhook_port}",
            f"--webhook-cert-dir={_WEBHOOKS}",
            f"--health-addr=127.0.0.1:{self._health_port}",
            "--diagnostics-address=127.0.0.1:0",
            "--insecure-diagnostics=true",
            "--leader-elect=false",
            feature_gates_argument({**_FEATURE_GATES, **self.feature_gates}),
        ]

    def await_ready(self) -> None:
        """Wait until it is ready and its webhooks answer.

        Raises CapkError with the last lines of its output.
        """
        await_ready(self.directory, CORE_MANAGER, self.health)
        deadline = time.monotonic() + READY_SECONDS
        while not self._serves_webhooks():
            if time.monotonic() > deadline:
                raise failure(self.directory, CORE_MANAGER, f"served no webhooks after {READY_SECONDS} s")
            time.sleep(POLL_SECONDS)

    @property
    def _server(self) -> str:
        return f"https://127.0.0.1:{self._webhook_port}"

    def _serves_webhooks(self) -> bool:
        with Rest(self._server, client_context(self.directory / _WEBHOOKS / "ca.crt")) as webhooks:
            try:
                webhooks.request("GET", "/")
            except ApiError as answer:
                return answer.status == 404
        return True

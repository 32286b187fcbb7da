"""Decides where the management cluster's credentials come from; reads no secret."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SERVICE_HOST_VARIABLE: Final = "KUBERNETES_SERVICE_HOST"
TOKEN_FILE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


@dataclass(frozen=True)
class Credentials:
    """Where to find the credentials.

    If no field is set, the order is controller-runtime's: $KUBECONFIG, the pod's service account, ~/.kube/config.
    """

    kubeconfig: str | None = None
    """Path of a kubeconfig, or several as in $KUBECONFIG."""
    context: str | None = None
    """Context of the kubeconfig; default: its current one."""
    in_cluster: bool | None = None
    """True: only the service account. False: never the service account."""

    def use_service_account(self, environment: Mapping[str, str] = os.environ, token_file: Path | None = None) -> bool:
        """Return whether the provider logs in as the service account of its pod.

        This defines "in a pod": a process in a pod that has a kubeconfig, such as a CI runner, behaves as on a machine.
        token_file: by default, where the kubelet mounts the token.
        """
        if self.in_cluster is not None:
            return self.in_cluster
        if self.kubeconfig or self.context or environment.get("KUBECONFIG"):
            return False
        return bool(environment.get(SERVICE_HOST_VARIABLE)) and (token_file or TOKEN_FILE).is_file()

    def kubeconfig_paths(self) -> str:
        """Return the path or paths of the kubeconfig; the loader would use the environment of its import."""
        return self.kubeconfig or os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")

    def has_kubeconfig(self) -> bool:
        """Return whether one of the paths is a file; if none is, the loader's own error is not helpful."""
        return any(Path(path).expanduser().is_file() for path in self.kubeconfig_paths().split(os.pathsep) if path)

    def __str__(self) -> str:
        if self.use_service_account():
            return "the service account of the pod"
        context = f", context {self.context}" if self.context else ""
        return f"the kubeconfig {self.kubeconfig_paths()}{context}"

"""The provider as in a pod: `python -m bench.inpod run`, as `capk run`.

It logs in as a service account, as the release does, and so does not load the official client of Kubernetes.

BENCH_POD: directory with the files that the kubelet mounts, see `pod_files`.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from capk import cli
from capk.kube import credentials, serviceaccount
from capkdev.controlplane import ControlPlane
from capkdev.files import write_private

ACCOUNT = "capkind-manager"
_DAY_SECONDS = 86400
_BINDING = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRoleBinding",
    "metadata": {"name": ACCOUNT},
    "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": "default"}],
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
}


def pod_files(control_plane: ControlPlane, directory: Path) -> Mapping[str, str]:
    """Write the files of a new service account that may do everything; return the environment of its pod."""
    accounts = "/api/v1/namespaces/default/serviceaccounts"
    asked = {"apiVersion": "authentication.k8s.io/v1", "spec": {"expirationSeconds": _DAY_SECONDS}}
    with control_plane.rest() as rest:
        rest.request("POST", accounts, {"metadata": {"name": ACCOUNT}})
        rest.request("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", _BINDING)
        token = rest.request("POST", f"{accounts}/{ACCOUNT}/token", asked)["status"]["token"]
    directory.mkdir(mode=0o700)
    write_private(directory / credentials.TOKEN_FILE.name, token.encode())
    write_private(directory / serviceaccount.AUTHORITY_FILE, control_plane.credentials()[0])
    server = urlsplit(control_plane.server)
    return {
        "BENCH_POD": str(directory),
        "KUBECONFIG": "",
        credentials.SERVICE_HOST_VARIABLE: str(server.hostname),
        serviceaccount.SERVICE_PORT_VARIABLE: str(server.port),
    }


def main() -> None:
    """Run the command line of `capk` with these files."""
    vars(credentials)["TOKEN_FILE"] = Path(os.environ["BENCH_POD"]) / credentials.TOKEN_FILE.name
    cli.main()


if __name__ == "__main__":
    main()

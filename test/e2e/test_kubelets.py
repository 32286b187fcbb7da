"""A kind cluster that was switched off until the certificates of its kubelets had expired."""

from pathlib import Path

import pytest

from capk.api.names import SECRETS
from test.e2e.conftest import NewName
from test.e2e.real_kind import RealKind
from test.e2e.terminal import Terminal
from test.integration.api import eventually
from test.integration.provider.journeys import Place, standalone

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
CREATE_SECONDS = 300
EXPIRING = (
    "kubeadm kubeconfig user --config=/kind/kubeadm.conf --validity-period=1s "
    '--client-name="system:node:$1" --org=system:nodes | sed -nE "s/^ *client-(certificate|key)-data: //p" '
    '| while read -r data; do echo "$data" | base64 -d; done'
)
INSTALL = (
    "cd /var/lib/kubelet/pki && cat >old.pem && chmod 600 old.pem && ln -sfn old.pem kubelet-client-current.pem "
    "&& grep -q 'PRIVATE KEY' old.pem"
)


def test_kubelets_with_expired_certificates_start_again(
    place: Place, kind: RealKind, new_name: NewName, tmp_path: Path
) -> None:
    name = new_name("off")
    nodes = [f"{name}-control-plane", f"{name}-worker"]

    def ready_nodes() -> list[str]:
        secret = place.get(SECRETS, f"{name}-config")
        return Terminal.of_secret(secret, "config", tmp_path).ready_nodes()

    place.create(standalone(name, nodes=[{"role": "control-plane"}, {"role": "worker"}]))
    place.await_condition(name, "Ready", seconds=CREATE_SECONDS)
    eventually(lambda: ready_nodes() == nodes, 120, 1)
    for node in nodes:
        pem = kind.engine("exec", nodes[0], "sh", "-c", EXPIRING, "issue", node)
        kind.engine("exec", "--interactive", node, "sh", "-c", INSTALL, stdin=pem)
    kind.engine("stop", "--time", "5", *nodes)
    place.await_condition(name, "Ready", status="False", seconds=60)
    place.await_condition(name, "Ready", seconds=420)
    eventually(lambda: ready_nodes() == nodes, 180, 1)
    for node in nodes:
        held = kind.engine("exec", node, "readlink", "/var/lib/kubelet/pki/kubelet-client-current.pem")
        assert "old.pem" not in held

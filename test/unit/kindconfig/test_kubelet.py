"""The client certificates of kubelets: when they have expired, and what kubeadm issues instead."""

import base64
import re
from datetime import UTC, datetime, timedelta

import pytest
import trustme

from capk.engine.nodescripts import INSTALL_KUBELET, KUBELET_FILE, READ_KUBELET
from capk.kindconfig.kubeconfig import BadKubeconfig
from capk.kindconfig.kubelet import client_pem, has_expired, issue_command
from test.provider.world import kubeconfig

NOW = datetime(2031, 5, 6, tzinfo=UTC)


def certificate(ends: datetime) -> str:
    pair = trustme.CA().issue_cert("node", not_before=ends - timedelta(days=365), not_after=ends)
    return pair.cert_chain_pems[0].bytes().decode()


@pytest.mark.parametrize(("days", "expired"), [(300, False), (1, False), (-1, True), (-400, True)])
def test_certificate_has_expired_when_its_time_is_over(days: float, expired: bool) -> None:
    assert has_expired(certificate(NOW + timedelta(days=days)), NOW) is expired


@pytest.mark.parametrize(
    "printed", ["", "no such file", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "x" * 100_000]
)
def test_what_is_not_a_certificate_counts_as_none(printed: str) -> None:
    assert not has_expired(printed, NOW)


def test_certificate_of_a_year_that_does_not_exist_counts_as_none() -> None:
    """The node chooses it."""
    lines = certificate(datetime(2051, 5, 6, tzinfo=UTC)).splitlines()
    body = base64.b64decode("".join(lines[1:-1])).replace(b"20510506", b"00000506")
    printed = "\n".join([lines[0], base64.b64encode(body).decode(), lines[-1]])
    assert not has_expired(printed, NOW)


def test_new_file_holds_the_certificate_and_its_key() -> None:
    pem = client_pem(kubeconfig())
    assert re.findall("-----BEGIN (.*)-----", pem) == ["CERTIFICATE", "EC PRIVATE KEY"]


@pytest.mark.parametrize("text", ["", "kind: Config", "x" * 1_000_000])
def test_what_is_not_a_kubeconfig_is_refused(text: str) -> None:
    with pytest.raises(BadKubeconfig):
        client_pem(text)


def test_token_is_no_certificate() -> None:
    text = re.sub("client-(certificate|key)-data: .*", "token: abc", kubeconfig(), count=1)
    with pytest.raises(BadKubeconfig, match="no client certificate"):
        client_pem(re.sub("client-key-data: .*\n", "", text))


def test_certificate_names_the_node() -> None:
    assert issue_command("dev-worker")[-2:] == ("--client-name=system:node:dev-worker", "--org=system:nodes")


def test_commands_name_nothing_that_the_cluster_chooses() -> None:
    assert not [word for word in (READ_KUBELET, INSTALL_KUBELET) if re.search(r"[{}%`]|\$\(", word)]
    assert KUBELET_FILE.rpartition("/")[2] in INSTALL_KUBELET

"""The client certificate of a kubelet: when it ends, and how to give a kubelet another one. Pure.

A running kubelet renews it by itself, long before it ends. One that was switched off for so long that it has ended does
not start any more, and without a kubelet nothing starts kube-apiserver. `kubeadm certs renew` leaves it alone.
Tested with kind 0.33 and Kubernetes 1.36, in a control plane and a worker: both are Ready again within half a minute.
Source: Kubernetes pkg/kubelet/certificate/bootstrap/bootstrap.go (what an expired one leads to),
client-go util/certificate/certificate_store.go (the file and the link), kubeadm app/cmd/kubeconfig.go.
"""

from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from capk.kindconfig.kubeconfig import BadKubeconfig, parse

_MOST_CHARACTERS: Final = 64 * 1024


def issue_command(node: str) -> tuple[str, ...]:
    """Return the command for a control-plane node that prints a kubeconfig for the kubelet of a node.

    Its certificate authority signs it, so it needs no API server. node: name of the container and of the Node.
    """
    user = (f"--client-name=system:node:{node}", "--org=system:nodes")
    return ("kubeadm", "kubeconfig", "user", "--config=/kind/kubeadm.conf", *user)


def has_expired(printed: str, now: datetime) -> bool:
    """Return whether the certificate in the output of READ_KUBELET has expired; False if there is none.

    printed: untrusted. now: with a time zone.
    """
    if "-----BEGIN" not in printed or len(printed) > _MOST_CHARACTERS:
        return False
    try:
        return x509.load_pem_x509_certificates(printed.encode())[0].not_valid_after_utc <= now
    except (ValueError, UnsupportedAlgorithm):
        return False


def client_pem(text: str) -> str:
    """Return the client certificate and the key of a kubeconfig, as PEM for KUBELET_FILE.

    text: output of `issue_command`, untrusted. Raises BadKubeconfig.
    """
    login = parse(text)
    if not login.client_key:
        raise BadKubeconfig("kubeadm has issued no client certificate for the kubelet")
    return login.client_certificate + login.client_key

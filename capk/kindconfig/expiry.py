"""When to renew the client certificate of a kubeconfig, and how kubeadm does it. Pure."""

from datetime import datetime, timedelta
from typing import Final

CLIENT_CERTIFICATE_LIFETIME: Final = timedelta(days=365)
"""kubeadm's default.

Source: kubeadm app/constants/constants.go (CertificateValidityPeriod). Its configuration can set another one.
"""

RENEWAL_SHARE: Final = 0.1
"""Renew when this share of the lifetime is left: 36 days of a year, 2.4 hours of a day."""

RENEW_COMMAND: Final = ("kubeadm", "certs", "renew", "all", "--config=/kind/kubeadm.conf")
"""For each control-plane node: renews the client certificate in /etc/kubernetes/admin.conf and all others.

All certificates of a kind cluster are as old as the cluster, so they expire together. The configuration is the file
that kind left in the node: with it kubeadm needs no API server, so the command works even if that is down or its
certificate has expired. The authorities in /etc/kubernetes/pki, which do not change, sign the new certificates.
Tested with kind 0.33 and Kubernetes 1.36, in the first and in a joined control plane: it takes a second, the names and
addresses in the certificates stay, and kube-apiserver and etcd serve the new ones within 5 s without a restart.
Source: kubeadm app/cmd/certs.go, app/phases/certs/renewal/{manager,readwriter}.go; kind
pkg/cluster/internal/create/actions/config/config.go.
"""

RESTART_COMMAND: Final = (
    "sh",
    "-c",
    "crictl ps --quiet --name '^(kube-controller-manager|kube-scheduler)$' | xargs -r crictl stop",
)
"""To run after RENEW_COMMAND: these two read their certificate only when they start. The kubelet restarts them."""


def expires_soon(
    not_after: datetime | None,
    now: datetime,
    share: float = RENEWAL_SHARE,
    lifetime: timedelta | None = CLIENT_CERTIFICATE_LIFETIME,
) -> bool:
    """Return whether a client certificate has expired or has at most a share of its lifetime left.

    not_after, now: with time zones. not_after is None for a token, whose expiry is unknown.
    lifetime: the certificate's total lifetime, as in `Kubeconfig.lifetime`; None means kubeadm's default.
    """
    if not_after is None:
        return False
    whole = CLIENT_CERTIFICATE_LIFETIME if lifetime is None else lifetime
    return not_after - now <= max(whole, timedelta()) * share

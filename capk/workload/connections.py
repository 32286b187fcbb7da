"""Connections to many API servers, kept between questions."""

import resource
import sys
from typing import Final

from capk.workload.answer import Answer
from capk.workload.ask import ask_on
from capk.workload.connection import Connection, Target

HEALTH_PATH: Final = "/readyz?exclude=etcd-readiness"
"""What each API server is asked.

It fails when etcd does not answer, and anonymous users may ask it by default. Source: Kubernetes
plugin/pkg/auth/authorizer/rbac/bootstrappolicy/policy.go (system:public-info-viewer), staging apiserver
pkg/server/healthz/healthz.go (a failed check: status 500, and its name after `[-]`).

Tried with Kubernetes 1.36 in kind 0.33: 200 when all is well; with a dead etcd 500 and `[-]etcd failed`; with a broken
manifest of kube-apiserver nothing listens. Without etcd each of its two checks takes 2 s, one after the other, which is
longer than we wait; one of them is enough.
"""

DATA_PATH: Final = "/api/v1/namespaces/kube-public/configmaps/cluster-info"
"""What shows whether the etcd is still the one that kubeadm has filled.

kubeadm makes this ConfigMap once, and lets anonymous users read it, because nodes join by it. An etcd that came back
empty has neither the ConfigMap nor the permission: 403 or 404. Health does not show that.
Source: Kubernetes cmd/kubeadm/app/phases/bootstraptoken/clusterinfo/clusterinfo.go.

Tried with Kubernetes 1.36 in kind 0.33: when etcd is emptied in a container that runs on, kube-apiserver goes on too,
/readyz says 200 all the time, connections stay open, and this says 404.
"""


class Connections:
    """Keeps one connection to each API server that answered; about 54 KiB each.

    kube-apiserver closes a connection that is idle for 90 s, a load balancer perhaps sooner. Such a one is replaced.
    """

    def __init__(self, most: int | None = None) -> None:
        """Take how many connections to keep; None for half of what the process may have open."""
        self._most = _half_of_open_files() if most is None else most
        self._idle: dict[Target, Connection] = {}

    async def ask(self, target: Target, path: str) -> Answer:
        """Return what an API server answers to anonymous users, on the connection that was kept or a new one."""
        connection = self._idle.pop(target, None) or Connection(target)
        try:
            answer = await ask_on(connection, path)
        except BaseException:
            connection.close()
            raise
        self._keep(target, connection)
        return answer

    def _keep(self, target: Target, connection: Connection) -> None:
        if connection.is_open and target not in self._idle and len(self._idle) < self._most:
            self._idle[target] = connection
        else:
            connection.close()

    def drop(self, target: Target) -> None:
        """Close the connection to an API server that is kept; fine when there is none."""
        if connection := self._idle.pop(target, None):
            connection.close()

    def close(self) -> None:
        """Close all connections that are kept."""
        for target in list(self._idle):
            self.drop(target)


def _half_of_open_files() -> int:
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft // 2

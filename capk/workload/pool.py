"""A pool of connections to API servers: keeps one for each between requests."""

import resource
import sys
from typing import Final

from capk.workload.answer import Answer
from capk.workload.ask import ask_on
from capk.workload.connection import Connection, Target

HEALTH_PATH: Final = "/readyz?exclude=etcd-readiness"
"""The path that is requested from each API server.

It fails if etcd does not answer, and anonymous users may request it by default. Source: Kubernetes
plugin/pkg/auth/authorizer/rbac/bootstrappolicy/policy.go (system:public-info-viewer), staging apiserver
pkg/server/healthz/healthz.go (a failed check: status 500, and its name after `[-]`).

Tested with Kubernetes 1.36 in kind 0.33: status 200 if all is well; with a dead etcd 500 and `[-]etcd failed`; with a
broken manifest of kube-apiserver nothing listens. Without etcd each of its two checks takes 2 s, one after the other,
which is longer than we wait; one of them is enough.
"""

DATA_PATH: Final = "/api/v1/namespaces/kube-public/configmaps/cluster-info"
"""The path that shows whether the etcd is still the one that kubeadm filled.

kubeadm creates this ConfigMap once, and lets anonymous users read it, because nodes join by it. An etcd that came back
empty has neither the ConfigMap nor the permission: 403 or 404. Health does not show that.
Source: Kubernetes cmd/kubeadm/app/phases/bootstraptoken/clusterinfo/clusterinfo.go.

Tested with Kubernetes 1.36 in kind 0.33: if etcd is emptied in a container that keeps running, kube-apiserver keeps
running too, /readyz returns 200 all the time, connections stay open, and this path returns 404.
"""


class ConnectionPool:
    """Keeps one connection to each API server that answered; about 54 KiB each.

    kube-apiserver closes a connection that is idle for 90 s, a load balancer perhaps sooner. It is then replaced.
    """

    def __init__(self, most: int | None = None) -> None:
        """most: maximum number of kept connections; None for half of the files that the process may have open."""
        self._most = _half_of_open_files() if most is None else most
        self._idle: dict[Target, Connection] = {}

    async def ask(self, target: Target, path: str) -> Answer:
        """Return an API server's answer to an anonymous user, on the kept connection or a new one."""
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
        """Close the kept connection to an API server, if there is one."""
        if connection := self._idle.pop(target, None):
            connection.close()

    def close(self) -> None:
        """Close all kept connections."""
        for target in list(self._idle):
            self.drop(target)


def _half_of_open_files() -> int:
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft // 2

"""A pool of connections to API servers: keeps one for each between requests."""

import asyncio
import resource
import sys
from functools import partial
from typing import Final

from capk.kindconfig.kubeconfig import Kubeconfig
from capk.workload.answer import Answer
from capk.workload.ask import ask_on
from capk.workload.connection import Connection, Target
from capk.workload.lookups import Lookups
from capk.workload.recognition import Known

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


FIRST_SECONDS: Final = 1.0
"""How long the first connection to an API server is kept: for the second request of the same health check.

Connections that recognise must not be opened between those that verify: then the memory of the latter stays in use,
because neither OpenSSL's pieces nor the holes between them fit together (40 instead of 25 KiB for each API server).
"""

_Key = tuple[Target, Kubeconfig | None]


class ConnectionPool:
    """Keeps one connection to each API server that answered, for each login; about 26 KiB each.

    The first connection to an API server takes 18 KiB more, because it verifies the certificate. A pool that keeps
    connections for long soon closes it, and the next one only recognises the certificate. If the API server then shows
    another certificate, as several behind a load balancer do, the connection that verified that one is kept.

    kube-apiserver closes a connection that is idle for 90 s, a load balancer perhaps sooner. It is then replaced.
    """

    def __init__(self, most: int | None = None, keep_seconds: float | None = None) -> None:
        """Keep no connection yet.

        most: maximum number of kept connections; None for half of the files that the process may have open.
        keep_seconds: how long a connection is kept after its first request; None for until the server closes it.
        """
        self._most = _half_of_open_files() if most is None else most
        self._keep_seconds = keep_seconds
        self._idle: dict[_Key, Connection] = {}
        self._certificates: dict[Target, Known] = {}
        self._lookups = Lookups()

    async def ask(self, target: Target, path: str, login: Kubeconfig | None = None) -> Answer:
        """Return an API server's answer, on the connection that was kept for this login or on a new one.

        login: adds a client certificate or a token; None asks as an anonymous user.
        """
        connection = self._idle.pop((target, login), None) or self._connection(target, login)
        try:
            answer = await ask_on(connection, path)
        except BaseException:
            connection.close()
            raise
        self._keep((target, login), connection)
        return answer

    def _connection(self, target: Target, login: Kubeconfig | None) -> Connection:
        return Connection(target, login, self._lookups, self._certificates.get(target))

    def _keep(self, key: _Key, connection: Connection) -> None:
        if not connection.is_open or key in self._idle or len(self._idle) >= self._most:
            connection.close()
            return
        self._idle[key] = connection
        seconds, (target, login) = self._keep_seconds, key
        if seconds is None and not login and connection.certificate:
            self._certificates[target] = connection.certificate
            seconds = FIRST_SECONDS if connection.is_first else None
        if seconds is not None:
            asyncio.get_running_loop().call_later(seconds, partial(self._expire, key, connection))

    def _expire(self, key: _Key, connection: Connection) -> None:
        if self._idle.get(key) is connection:
            del self._idle[key]
            connection.close()

    def drop(self, target: Target, login: Kubeconfig | None = None) -> None:
        """Close the connection to an API server that was kept for this login, and forget its certificate."""
        self._certificates.pop(target, None)
        if connection := self._idle.pop((target, login), None):
            connection.close()

    def close(self) -> None:
        """Close all kept connections."""
        for key in list(self._idle):
            self.drop(*key)


def _half_of_open_files() -> int:
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft // 2

"""The uid of the namespace kube-system: if it changes, the etcd of the workload cluster has lost its data."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final

from capk.engine.containers import Containers
from capk.errors import CommandError
from capk.kindconfig.config import CONTROL_PLANE
from capk.kindconfig.kubeconfig import Kubeconfig
from capk.workload.answer import Answer, as_uid, uid_in
from capk.workload.ask import KUBE_SYSTEM
from capk.workload.connection import Target

KUBE_SYSTEM_COMMAND: Final = (
    "kubectl",
    "--kubeconfig=/etc/kubernetes/super-admin.conf",
    "--request-timeout=5s",
    "get",
    "namespace",
    "kube-system",
    "--output=jsonpath={.metadata.uid}",
)
"""Run in the first control-plane node, which has a kubeconfig whose permissions do not depend on etcd."""

NO_KUBE_SYSTEM: Final = 'namespaces "kube-system" not found'
"""The message of kube-apiserver and kubectl if that namespace does not exist."""

Ask = Callable[[Target, str, Kubeconfig | None], Awaitable[Answer]]
"""Requests a path from a workload API server, with a login or anonymously; see `capk.workload.ask`."""


async def kube_system_uid(ask: Ask, containers: Containers, name: str, target: Target, login: Kubeconfig) -> str | None:
    """Return the uid of the namespace kube-system; empty if it does not exist, None if there was no answer.

    After a loss of etcd's data the kubeconfig has no permissions: since Kubernetes 1.29 they come from a
    ClusterRoleBinding, which kubeadm creates once. The node's own kubeconfig still works.
    kube-apiserver creates the namespace when it starts. If it keeps running while its etcd is emptied, it does not
    notice, and keeps the permissions too. Both verified with kind 0.33 and a removed etcd directory.
    """
    answer = await ask(target, KUBE_SYSTEM, login)
    if answer.status == HTTPStatus.NOT_FOUND and NO_KUBE_SYSTEM in answer.said:
        return ""
    if answer.status != HTTPStatus.FORBIDDEN or containers.command is None:
        return uid_in(answer.body)
    try:
        output = await containers.run(f"{name}-{CONTROL_PLANE}", KUBE_SYSTEM_COMMAND)
    except CommandError as error:
        return "" if NO_KUBE_SYSTEM in error.output else None
    return as_uid(output.stdout.strip())

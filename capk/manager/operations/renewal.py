"""The operation `RenewCertificates`: renew what would expire, then read the new kubeconfigs."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from capk.engine.containers import Containers
from capk.engine.inventory import Inventory
from capk.kindconfig.expiry import RENEW_COMMAND, RESTART_COMMAND
from capk.kindconfig.kubeconfig import BadKubeconfig
from capk.manager.operations.listing import check_containers, naming
from capk.manager.record import Record
from capk.plan.facts import Access
from capk.plan.plan import ReadAccess, RenewCertificates

RENEW_SECONDS: Final = 120.0
"""Time limit for kubeadm to renew the keys of one node, on a busy machine."""
Read = Callable[[Record, ReadAccess], Awaitable[Access]]
"""Reads the kubeconfigs; see `capk.manager.operations.access`."""


class Renewal:
    """Renews the certificates of kind clusters."""

    def __init__(self, containers: Containers, inventory: Inventory, read: Read) -> None:
        self._containers = containers
        self._inventory = inventory
        self._read = read

    async def run(self, record: Record, request: RenewCertificates) -> Access:
        """Renew the certificates in all nodes, then restart the components: a failure before that changes nothing.

        Raises CommandError, BadKubeconfig; Withdrawn if one of the containers is gone.
        """
        ids = await check_containers(self._inventory, request)
        for node in request.nodes:
            await self._run(node, ids, RENEW_COMMAND)
        record.external = None
        access = await self._read(record, ReadAccess(request.name))
        if access.not_after and access.not_after <= request.not_after:
            raise BadKubeconfig("the certificates were renewed, but kind still returns a kubeconfig with the old one")
        for node in request.nodes:
            await self._run(node, ids, RESTART_COMMAND)
        return access

    async def _run(self, node: str, ids: Mapping[str, str], command: Sequence[str]) -> None:
        """Run a command in a node by its id: all nodes take minutes, and another container may get the name."""
        with naming(ids):
            await self._containers.run(ids.get(node, node), command, timeout_seconds=RENEW_SECONDS)

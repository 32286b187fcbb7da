"""The operation `RenewKubelets`: give kubelets that cannot start another client certificate."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from capk.engine.containers import Containers
from capk.engine.inventory import Inventory
from capk.engine.nodescripts import INSTALL_KUBELET, KUBELET_FILE, READ_KUBELET
from capk.errors import CapkError
from capk.kindconfig.kubelet import client_pem, has_expired, issue_command
from capk.manager.facts import now
from capk.manager.operations.listing import check_containers, naming
from capk.plan.plan import RenewKubelets

CALL_SECONDS: Final = 60.0
"""Time limit of a command in a node, on a busy machine."""

MOST_SECONDS: Final = 300.0
"""After that long, no further node is tried if one has failed: dozens of nodes may hang."""


class Kubelets:
    """Renews the client certificates of kubelets."""

    def __init__(self, containers: Containers, inventory: Inventory, clock: Callable[[], datetime] = now) -> None:
        self._containers = containers
        self._inventory = inventory
        self._clock = clock

    async def run(self, request: RenewKubelets) -> None:
        """Renew the certificates that have expired, node by node; one that fails does not keep the others from theirs.

        Raises CommandError, BadKubeconfig; Withdrawn if one of the containers is gone.
        """
        ids = await check_containers(self._inventory, request)
        failures: list[CapkError] = []
        until = asyncio.get_running_loop().time() + MOST_SECONDS
        for node in request.nodes:
            if failures and asyncio.get_running_loop().time() > until:
                # The nodes that are left wait for the next attempt: meanwhile, nothing else is done for the object.
                break
            try:
                with naming(ids):
                    await self._renew_if_expired(request, node, ids)
            except CapkError as error:
                failures.append(error)
        if failures:
            raise failures[0]

    async def _renew_if_expired(self, request: RenewKubelets, node: str, ids: Mapping[str, str]) -> None:
        container, authority = ids.get(node, node), ids.get(request.authority, request.authority)
        read = await self._containers.run(container, ["sh", "-c", READ_KUBELET], timeout_seconds=CALL_SECONDS)
        if not has_expired(read.stdout, self._clock()):
            return
        issued = await self._containers.read(authority, issue_command(node), timeout_seconds=CALL_SECONDS)
        await self._containers.write_file(container, KUBELET_FILE, client_pem(issued.stdout), mode="0600")
        await self._containers.run(container, ["sh", "-c", INSTALL_KUBELET], timeout_seconds=CALL_SECONDS)

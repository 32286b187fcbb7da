"""The operation `ReadAccess`: read the kubeconfigs of a kind cluster and ask its API server what only it knows."""

import asyncio
from http import HTTPStatus
from typing import Final

from capk.api.endpoint import EndpointMode
from capk.engine.containers import Containers
from capk.engine.inventory import Inventory
from capk.engine.kind import Kind
from capk.kindconfig.config import API_PORT, CONTROL_PLANE, LOAD_BALANCER
from capk.kindconfig.images import image_version
from capk.kindconfig.kubeconfig import Kubeconfig, parse, render, server_url
from capk.manager.operations.completion import note_completion
from capk.manager.operations.kubesystem import Ask, kube_system_uid
from capk.manager.operations.listing import listed_nodes
from capk.manager.record import Record
from capk.plan.facts import Access
from capk.plan.marks import Mark
from capk.plan.plan import ReadAccess
from capk.workload.answer import Answer, version_in
from capk.workload.connection import Target

VERSION: Final = "/version"
ANSWER_SECONDS: Final = 1.0
"""Interval between two requests to an API server that is starting."""
LOGIN_TRIES: Final = 3
"""Requests with a login before it counts as refused: an API server that has just started may not know it yet."""


class AccessReader:
    """Reads how to reach workload clusters."""

    def __init__(
        self,
        kind: Kind,
        containers: Containers,
        inventory: Inventory,
        ask: Ask,
        *,
        endpoint: EndpointMode,
        endpoint_host: str = "",
        wait_seconds: float,
    ) -> None:
        """Take the parts that do input and output.

        endpoint_host: see `Place`. wait_seconds: time limit for a kind cluster to answer after a restart.
        """
        self._kind = kind
        self._containers = containers
        self._inventory = inventory
        self._ask = ask
        self._endpoint = endpoint
        self._endpoint_host = endpoint_host
        self._wait_seconds = wait_seconds

    async def run(self, record: Record, request: ReadAccess) -> Access:
        """Read the kubeconfigs and return what they and the API server hold.

        Raises CommandError, BadKubeconfig.
        """
        is_new = record.external is not None
        text, endpoint, nodes = await asyncio.gather(
            self._external(record, request.name),
            self._internal_host(request.name),
            self._node_names(request.name),
        )
        if not is_new:
            # It was read by a name. What is done with it is decided by a listing that begins after it was read.
            await self._inventory.refresh()
        kubeconfig = parse(text)
        # For an API server that listens on all addresses, kind names none of them.
        host = self._endpoint_host or kubeconfig.host
        external = server_url(host, kubeconfig.port)
        # kind's name of the container, not the address in the node's kubeconfig, which is untrusted.
        internal = server_url(endpoint, API_PORT)
        server = internal if self._endpoint is EndpointMode.INTERNAL else external
        target = Target(server, kubeconfig.authority)
        wait = self._wait_seconds if request.await_answer else 0.0
        (answer, refused), _ = await asyncio.gather(
            self._await_answer(target, kubeconfig, wait), self._note_completion(record, request.name, is_new=is_new)
        )
        if request.await_answer:
            # If the provider never reached it, waiting longer would not help.
            self._inventory.answered(request.name)
        return Access(
            external=render(kubeconfig, server=external, name=request.name),
            internal=render(kubeconfig, server=internal, name=request.name),
            fingerprint=kubeconfig.fingerprint,
            external_endpoint=(host, kubeconfig.port),
            internal_endpoint=(endpoint, API_PORT),
            authority=kubeconfig.authority,
            not_after=kubeconfig.not_after,
            lifetime=kubeconfig.lifetime,
            version=version_in(answer.body) or self._version_of_image(request.name),
            answered=answer.came,
            said=answer.said,
            refused=refused,
            kube_system_uid=await kube_system_uid(self._ask, self._containers, request.name, target, kubeconfig)
            if answer.came
            else None,
            nodes=nodes,
            container_ids=frozenset(node.container_id for node in listed_nodes(self._inventory, request.name)),
        )

    async def _note_completion(self, record: Record, name: str, *, is_new: bool) -> None:
        """Note in the nodes that this process has just completed their creation."""
        if is_new and record.completed is not None:
            mark = Mark(record.uid, record.completed)
            await note_completion(self._containers, listed_nodes(self._inventory, name), mark)

    async def _external(self, record: Record, name: str) -> str:
        """Return the kubeconfig that kind wrote during the creation, but only once; otherwise ask kind for it."""
        written, record.external = record.external, None
        return written or await self._kind.kubeconfig(name, internal=False)

    async def _node_names(self, name: str) -> tuple[str, ...]:
        """Return the node names as kind lists them, if the engine cannot list containers."""
        return () if self._containers.command else tuple(await self._kind.nodes(name))

    async def _internal_host(self, name: str) -> str:
        """Return the host name of the API server on the engine's network."""
        if self._containers.command is None:
            names = await self._kind.nodes(name)
        else:
            # Refreshed here so that the first status of a new cluster lists its nodes.
            latest = self._inventory.latest
            entry = latest.clusters.get(name) if latest else None
            if entry is None or entry.nodes is None:
                entry = (await self._inventory.refresh()).clusters.get(name)
            names = [node.name for node in (entry.nodes if entry else None) or ()]
        balancer = f"{name}-{LOAD_BALANCER}"
        return balancer if balancer in names else f"{name}-{CONTROL_PLANE}"

    async def _await_answer(self, target: Target, login: Kubeconfig, wait_seconds: float) -> tuple[Answer, str]:
        clock = asyncio.get_running_loop().time
        deadline = clock() + wait_seconds
        while True:
            answer, refused = await self._ask_version(target, login)
            if answer.came or clock() >= deadline:
                return answer, refused
            await asyncio.sleep(ANSWER_SECONDS)

    async def _ask_version(self, target: Target, login: Kubeconfig) -> tuple[Answer, str]:
        """Ask with the login, because the next question needs it too and can then use the same connection.

        Anonymous users may read the version too. They are not affected by a login that the API server refuses, for
        example because its certificate has expired. Also return its words if it does; empty if not.
        """
        answer = await self._ask(target, VERSION, login)
        for _ in range(LOGIN_TRIES - 1):
            if answer.status != HTTPStatus.UNAUTHORIZED:
                break
            await asyncio.sleep(ANSWER_SECONDS)
            answer = await self._ask(target, VERSION, login)
        refused = answer.said if answer.status == HTTPStatus.UNAUTHORIZED else ""
        is_of_no_use = answer.is_tls_failure or (answer.came and answer.status != HTTPStatus.OK)
        return await self._ask(target, VERSION, None) if is_of_no_use else answer, refused

    def _version_of_image(self, name: str) -> str | None:
        """Return the version in the tag of the control plane's image, for when the API server does not answer."""
        images = [node.image for node in listed_nodes(self._inventory, name) if node.role == "control-plane"]
        return image_version(min(images)) if images else None

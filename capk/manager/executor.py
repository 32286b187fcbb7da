"""Carries out requests with kind and the engine; each is one operation, run outside the reconcile workers.

The decision may be minutes old. So every removal lists the containers again first, and removes by id only what the new
listing proves to be its own.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import Final

from capk.api.names import UNREAD
from capk.diagnosis.byhand import unmarked
from capk.engine.containers import Containers, Node
from capk.engine.failurelogs import FailureLogs
from capk.engine.inventory import Inventory
from capk.engine.kind import Kind
from capk.engine.nodelogs import last_words, node_logs
from capk.engine.progress import Step
from capk.errors import AddressTaken, CommandError, CommandFailed, CommandTimedOut, NamesNotResolved
from capk.kindconfig import yamlio
from capk.kindconfig.config import API_PORT, CONTROL_PLANE, LOAD_BALANCER
from capk.kindconfig.expiry import RENEW_COMMAND, RESTART_COMMAND
from capk.kindconfig.images import image_version
from capk.kindconfig.kubeconfig import BadKubeconfig, Kubeconfig, parse, render, server_url
from capk.manager.addresses import (
    in_the_way_of_others,
    is_any_free,
    movable_in_the_way,
    restore_addresses,
    start_elsewhere,
)
from capk.manager.nodefiles import NodeFiles
from capk.manager.records import Made, Record, Withdrawn
from capk.plan.marks import Mark
from capk.plan.observed import Access, CreationFacts, EndpointMode
from capk.plan.plan import Create, Delete, ReadAccess, RenewCertificates, Request, StartNodes
from capk.workload.answer import Answer, as_uid, uid_in, version_in
from capk.workload.ask import KUBE_SYSTEM
from capk.workload.connection import Target

FAILED_SETTLE_SECONDS: Final = 3.0
"""How long no container may appear after kind has failed.

kind ends at the first container that fails, while the engine still creates the others: up to 2 s later, measured with
docker and a missing load balancer image. The next inventory finds anything later.
"""
ALONE_SECONDS: Final = 10.0
"""How long a load balancer must be alone before it is removed: only its nodes would show whose it is.

The load balancer of a stranger's new kind cluster appears seconds before the nodes, whose volumes the engine still
copies.
"""
LISTING_SECONDS: Final = 1.0
"""Interval between two listings of containers that are being removed or may still appear."""

LOGS_SECONDS: Final = 60.0
"""Time limit for the logs of all nodes of a failed creation; logs that were read by then are kept."""

RENEW_SECONDS: Final = 120.0
"""Time limit for kubeadm to renew the keys of one node, on a busy machine."""

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
StillWanted = Callable[[Record, Request], bool]
"""Returns whether the object still wants the request that was queued for it."""
NeededByOthers = Callable[[str], frozenset[str]]
"""Returns the addresses that control planes of other kind clusters need."""

log = logging.getLogger(__name__)


class Executor:
    """Carries out requests with the kind command and the container engine behind it."""

    def __init__(
        self,
        kind: Kind,
        containers: Containers,
        inventory: Inventory,
        logs: FailureLogs,
        ask: Ask,
        *,
        endpoint: EndpointMode,
        wait_seconds: float,
        delete_seconds: float,
        still_wanted: StillWanted,
        needed_by_others: NeededByOthers = lambda name: frozenset(),
    ) -> None:
        """Take the parts that do input and output.

        wait_seconds: time limit for a kind cluster to answer after a restart.
        delete_seconds: time limit for the removal of a kind cluster.
        """
        self._kind = kind
        self._containers = containers
        self._inventory = inventory
        self._logs = logs
        self._ask = ask
        self._endpoint = endpoint
        self._wait_seconds = wait_seconds
        self._delete_seconds = delete_seconds
        self._still_wanted = still_wanted
        self._needed_by_others = needed_by_others
        self._addresses = asyncio.Lock()
        """Held while nodes get their addresses: two kind clusters would take each other's."""

    async def carry_out(
        self, record: Record, request: Request, on_step: Callable[[Step], None]
    ) -> Made | Access | None:
        """Carry out the request; return what a creation has made, or how to reach the workload cluster.

        Raises CommandError, AddressTaken, NamesNotResolved, BadKubeconfig; Withdrawn if the object no longer wants it.
        """
        if not self._still_wanted(record, request):
            raise Withdrawn
        match request:
            case Create():
                return await self._create(request, on_step)
            case Delete():
                await self._delete(record, request)
            case StartNodes():
                await self._check_containers(request)
                await self._start_nodes(request)
            case ReadAccess():
                return await self._read(record, request)
            case RenewCertificates():
                await self._check_containers(request)
                return await self._renew(record, request)
        return None

    async def _check_containers(self, request: StartNodes | RenewCertificates) -> None:
        """Raise Withdrawn where one of the containers is not there any more: its name may be someone else's by now.

        The next decision then rests on the listing that has shown it.
        """
        if not request.container_ids:
            return
        snapshot = await self._inventory.refresh()
        if snapshot.error:
            raise snapshot.error
        entry = snapshot.clusters.get(request.name)
        if not request.container_ids <= {node.container_id for node in (entry.nodes if entry else None) or ()}:
            raise Withdrawn

    async def _create(self, request: Create, on_step: Callable[[Step], None]) -> Made:
        await self._check_names(request)
        files, warnings = NodeFiles(self._containers, request), [""]

        def report(step: Step) -> None:
            if step.warning:
                warnings.append(step.message)
            files.on_step(step)
            on_step(step)

        try:
            external = await self._make(request, report)
        finally:
            await files.end_early()
        facts = CreationFacts(await files.finish(), not_ready=warnings[-1])
        self._inventory.created(request.name)
        self._logs.drop(request.name)
        return Made(_fingerprint(external), external, facts)

    async def _check_names(self, request: Create) -> None:
        """Raise NamesNotResolved now if kind would fail minutes later, when the second node joins."""
        if len(request.config.get("nodes") or ()) > 1 and await self._containers.resolves_names() is False:
            raise NamesNotResolved(self._containers.network)

    async def _make(self, request: Create, on_step: Callable[[Step], None]) -> str:
        """Run `kind create cluster` and return the kubeconfig that it wrote; clean up after a failure."""
        try:
            return await self._kind.create_cluster(
                request.name,
                request.config,
                wait_seconds=request.wait_seconds,
                retain=True,
                on_step=on_step,
            )
        except CommandError as error:
            await self._keep_logs(request, error)
            with suppress(CommandError):
                await self._remove(
                    request.name,
                    lambda nodes: _of_attempt(nodes, request.mark),
                    settle_seconds=FAILED_SETTLE_SECONDS,
                )
            raise

    async def _keep_logs(self, request: Create, error: CommandError) -> None:
        """Keep the logs of a failed creation; an error here never stops the cleanup."""
        place = self._logs.begin(request.name, error.output, yamlio.dump(unmarked(request.config)))
        error.logs, error.config = str(place or ""), self._logs.config_file(place)
        if place is None:
            return
        try:
            async with asyncio.timeout(LOGS_SECONDS):
                await self._keep_node_logs(place, request)
        except (CommandError, TimeoutError) as late:
            log.info("The logs in %s are incomplete: %s", place, str(late) or f"time limit of {LOGS_SECONDS:.0f} s")
        except Exception:
            # The user has to learn of the failed creation, whatever is wrong with the logs.
            log.exception("Cannot keep the logs of the nodes in %s", place)
        self._logs.end(place)

    async def _keep_node_logs(self, place: Path, request: Create) -> None:
        for node in _of_attempt(await self._list(request.name), request.mark):
            if node.running and node.role == LOAD_BALANCER:
                continue
            read = node_logs if node.running else last_words
            # By id, because another container may get the same name.
            text = await read(self._containers, node.container_id)
            if not self._logs.add(place, f"{node.name}.log", text):
                break

    async def _delete(self, record: Record, request: Delete) -> None:
        if self._containers.command is None:
            # Without the engine there is no proof by containers; the decision has compared the fingerprint if it could.
            await self._kind.delete_cluster(request.name)
            if request.settle_seconds:
                await asyncio.sleep(request.settle_seconds)
                if await self._kind.nodes(request.name) and self._still_wanted(record, request):
                    await self._kind.delete_cluster(request.name)
            self._inventory.deleted(request.name)
        else:
            others = await self._remove(
                request.name,
                lambda nodes: removable(nodes, request),
                settle_seconds=request.settle_seconds,
                still_wanted=lambda: self._still_wanted(record, request),
            )
            # Another engine, which has none of these containers, may have answered: the inventory finds out.
            await self._inventory.refresh()
            _check_later_attempts(others, request)
        self._logs.drop(request.name)

    async def _remove(
        self,
        name: str,
        choose: Callable[[list[Node]], list[Node]],
        *,
        settle_seconds: float = 0.0,
        still_wanted: Callable[[], bool] = lambda: True,
    ) -> list[Node]:
        """List the containers of a kind cluster and remove the chosen ones, until none is left to choose.

        Return the containers of that name that it left alone.

        The engine may still be creating containers during the removal: it copies a volume for seconds.
        Raises CommandTimedOut if chosen containers are left in the end.
        """
        clock = asyncio.get_running_loop().time
        began, quiet_since, removed = clock(), clock(), False
        deadline = began + self._delete_seconds
        while True:
            if not still_wanted():
                raise Withdrawn
            nodes = await self._list(name)
            chosen = choose(nodes)
            is_alone = not removed and all(node.role == LOAD_BALANCER for node in nodes)
            if chosen and is_alone and clock() - began < ALONE_SECONDS:
                await asyncio.sleep(LISTING_SECONDS)
                continue
            if not chosen and clock() - quiet_since >= settle_seconds:
                return nodes
            if chosen:
                await self._containers.remove([node.container_id for node in chosen])
                quiet_since, removed = clock(), True
            if clock() + LISTING_SECONDS >= deadline:
                left = ", ".join(node.name for node in chosen)
                output = f"still listed after their removal: {left}"
                raise CommandTimedOut([*self._kind.command, "delete", "cluster"], output, self._delete_seconds)
            await asyncio.sleep(LISTING_SECONDS if not chosen else 0)

    async def _list(self, name: str) -> list[Node]:
        """Ask the engine for the containers of a kind cluster, now."""
        nodes = await self._containers.nodes() or []
        return [node for node in nodes if node.cluster == name]

    async def _start_nodes(self, request: StartNodes) -> None:
        others = self._needed_by_others(request.name) if self._containers.gives_lowest_address else frozenset()
        if request.addresses or others:
            async with self._addresses:
                if request.addresses:
                    request = await self._with_blocking_nodes(request, others)
                await self._start_in_order(request, others)
        else:
            await self._start_in_order(request, others)
        await self._inventory.refresh()

    async def _start_in_order(self, request: StartNodes, needed_by_others: frozenset[str]) -> None:
        # A control plane with a wrong address does not work, and may occupy one that another kind cluster needs.
        misplaced = tuple(name for name in request.stop if name in request.addresses)
        if misplaced:
            await self._containers.stop(misplaced)
        order = await self._order(request)
        if others := tuple(name for name in request.stop if name not in misplaced):
            await self._containers.stop(others)
        is_at_stake = await is_any_free(self._containers, needed_by_others)
        last = tuple(name for name in order if name not in request.addresses) if is_at_stake else ()
        await self._containers.start(tuple(name for name in order if name not in last))
        try:
            if request.addresses:
                await restore_addresses(self._containers, request.name, request.addresses)
        except AddressTaken:
            await start_elsewhere(self._containers, request.name, last, needed_by_others)
            raise
        await start_elsewhere(self._containers, request.name, last, needed_by_others)

    async def _with_blocking_nodes(self, request: StartNodes, others: frozenset[str]) -> StartNodes:
        """Return the request extended by nodes that may have any address and occupy one that is needed.

        Also remove placeholders that a killed provider left.
        """
        await self._containers.release_addresses(request.name)
        listed = await self._list(request.name)
        found = movable_in_the_way(listed, request.addresses.values())
        found += in_the_way_of_others(listed, request.addresses, others)
        names = tuple(dict.fromkeys(node.name for node in found if node.name not in request.stop))
        nodes = (*(name for name in request.nodes if name not in names), *names)
        return replace(request, nodes=nodes, stop=(*request.stop, *names))

    async def _order(self, request: StartNodes) -> tuple[str, ...]:
        """Return the nodes in the order that gives each its address; nodes that get another one come last.

        Raises AddressTaken if another container has an address that one of the nodes needs.
        """
        if not request.addresses:
            return request.nodes
        own = {*request.nodes, *request.stop}
        occupants = await self._containers.occupants()
        foreign = {address: container for address, container in occupants.items() if container not in own}
        for node, address in sorted(request.addresses.items()):
            if address in foreign:
                raise AddressTaken(node, address, foreign[address])
        return tuple(sorted(request.nodes, key=lambda node: request.preferred.get(node) in foreign))

    async def _renew(self, record: Record, request: RenewCertificates) -> Access:
        """Renew the certificates in all nodes, then restart the components: a failure before that changes nothing."""
        for node in request.nodes:
            await self._containers.run(node, RENEW_COMMAND, timeout_seconds=RENEW_SECONDS)
        record.external = None
        access = await self._read(record, ReadAccess(request.name))
        if access.not_after and access.not_after <= request.not_after:
            raise BadKubeconfig("the certificates were renewed, but kind still returns a kubeconfig with the old one")
        for node in request.nodes:
            await self._containers.run(node, RESTART_COMMAND, timeout_seconds=RENEW_SECONDS)
        return access

    async def _read(self, record: Record, request: ReadAccess) -> Access:
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
        external = server_url(kubeconfig.host, kubeconfig.port)
        # kind's name of the container, not the address in the node's kubeconfig, which is untrusted.
        internal = server_url(endpoint, API_PORT)
        server = internal if self._endpoint is EndpointMode.INTERNAL else external
        target = Target(server, kubeconfig.authority)
        answer = await self._await_answer(target, self._wait_seconds if request.await_answer else 0.0)
        if request.await_answer:
            # If the provider never reached it, waiting longer would not help.
            self._inventory.answered(request.name)
        return Access(
            external=render(kubeconfig, server=external, name=request.name),
            internal=render(kubeconfig, server=internal, name=request.name),
            fingerprint=kubeconfig.fingerprint,
            external_endpoint=(kubeconfig.host, kubeconfig.port),
            internal_endpoint=(endpoint, API_PORT),
            authority=kubeconfig.authority,
            not_after=kubeconfig.not_after,
            lifetime=kubeconfig.lifetime,
            version=version_in(answer.body) or self._version_of_image(request.name),
            answered=answer.came,
            said=answer.said,
            kube_system_uid=await self._kube_system_uid(request.name, target, kubeconfig) if answer.came else None,
            nodes=nodes,
            container_ids=frozenset(node.container_id for node in self._listed(request.name)),
        )

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

    async def _await_answer(self, target: Target, wait_seconds: float) -> Answer:
        clock = asyncio.get_running_loop().time
        deadline = clock() + wait_seconds
        while True:
            answer = await self._ask(target, "/version", None)
            if answer.came or clock() >= deadline:
                return answer
            await asyncio.sleep(LISTING_SECONDS)

    async def _kube_system_uid(self, name: str, target: Target, login: Kubeconfig) -> str | None:
        """Return the uid of the namespace kube-system; empty if it does not exist, None if there was no answer.

        After a loss of etcd's data the kubeconfig has no permissions: since Kubernetes 1.29 they come from a
        ClusterRoleBinding, which kubeadm creates once. The node's own kubeconfig still works.
        kube-apiserver creates the namespace when it starts. If it keeps running while its etcd is emptied, it does not
        notice, and keeps the permissions too. Both verified with kind 0.33 and a removed etcd directory.
        """
        answer = await self._ask(target, KUBE_SYSTEM, login)
        if answer.status == HTTPStatus.NOT_FOUND and NO_KUBE_SYSTEM in answer.said:
            return ""
        if answer.status != HTTPStatus.FORBIDDEN or self._containers.command is None:
            return uid_in(answer.body)
        try:
            output = await self._containers.run(f"{name}-{CONTROL_PLANE}", KUBE_SYSTEM_COMMAND)
        except CommandError as error:
            return "" if NO_KUBE_SYSTEM in error.output else None
        return as_uid(output.stdout.strip())

    def _version_of_image(self, name: str) -> str | None:
        """Return the version in the tag of the control plane's image, for when the API server does not answer."""
        images = [node.image for node in self._listed(name) if node.role == "control-plane"]
        return image_version(min(images)) if images else None

    def _listed(self, name: str) -> tuple[Node, ...]:
        """Return the containers of a kind cluster by the latest listing."""
        latest = self._inventory.latest
        entry = latest.clusters.get(name) if latest else None
        return (entry.nodes if entry else None) or ()


def _fingerprint(kubeconfig: str) -> str:
    """Return the identity of a new cluster, or UNREAD if its kubeconfig is not valid.

    The cluster is up all the same. Reading the kubeconfig is a separate step, which reports its own failure.
    """
    try:
        return parse(kubeconfig).fingerprint
    except BadKubeconfig:
        return UNREAD


def removable(nodes: Iterable[Node], request: Delete) -> list[Node]:
    """Return the containers that a removal may remove, from a current listing.

    A container without a mark is removed only by its id, and only if no foreign container has the same cluster name.
    """
    nodes = list(nodes)
    marked = [node for node in nodes if _matches(Mark.parse(node.mark), request)]
    named = [node for node in nodes if node.mark is None and node.container_id in request.container_ids]
    proven = {node.container_id for node in (*marked, *named)}
    is_shared = any(node.container_id not in proven for node in nodes if node.role != LOAD_BALANCER)
    return marked if is_shared else [*marked, *named]


def _matches(mark: Mark | None, request: Delete) -> bool:
    if mark is None or mark.uid not in request.uids:
        return False
    return request.up_to_attempt is None or mark.attempt is None or mark.attempt <= request.up_to_attempt


def _check_later_attempts(left: Iterable[Node], request: Delete) -> None:
    """Raise CommandFailed if containers of the same object are left: otherwise this removal would repeat for ever."""
    later = [node.name for node in left if (mark := Mark.parse(node.mark)) and mark.uid in request.uids]
    if later:
        cause = (
            f"a later attempt than the one that the KINDCluster names created {', '.join(later)}. Another provider may "
            "be running; if not, delete the KINDCluster, which removes them"
        )
        raise CommandFailed(["kind", "delete", "cluster", "--name", request.name], cause, 0)


def _of_attempt(nodes: Iterable[Node], mark: Mark) -> list[Node]:
    """Return the containers of one creation: its marked nodes, and the load balancer if all other nodes are its own."""
    nodes = list(nodes)
    own = [node for node in nodes if Mark.parse(node.mark) == mark]
    others = [node for node in nodes if node not in own and node.role != LOAD_BALANCER]
    balancers = [node for node in nodes if node.role == LOAD_BALANCER and node.mark is None]
    return [*own, *balancers] if own and not others else own

"""One reconcile of one object: observe, decide, carry out, always in this order (docs/kopf.md, "The pattern")."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final

from capk.api import names
from capk.api.conditions import find
from capk.api.names import Condition, Resource
from capk.api.objects import Key, KINDCluster, Object
from capk.errors import ApiError, Conflict, NotFound
from capk.kindconfig.kubeconfig import secret_digest
from capk.kube.events import EventRecorder
from capk.kube.patches import metadata_patch, status_patch
from capk.kube.protocol import KubeApi
from capk.manager.discovery import Discovery
from capk.manager.facts import health_target
from capk.manager.observe import ForeignSecrets, Observer
from capk.manager.records import Record, Records
from capk.manager.secretwriter import ForeignSecret, SecretWriter
from capk.plan import controlplane, kindcluster
from capk.plan.creation import needs_no_owner
from capk.plan.deletion import SETTLE_SECONDS
from capk.plan.events import event_of, warning_of
from capk.plan.observed import CLAIM, ENDPOINT, FINALIZER, IDENTITY, REMOVAL, REPLICAS, SECRET, Observed
from capk.plan.plan import Create, Delete, Goal, Plan
from capk.plan.running import was_ever_reached
from capk.plan.status import UNEVENTFUL, transitions
from capk.runtime import logs
from capk.runtime.metrics import Metrics
from capk.workload.health import HealthMonitor

log = logging.getLogger(__name__)

REFRESH_SECONDS: Final = 2.0
"""How long a worker waits for the engine; if the answer is late, the object is reconciled again."""
LATE_SECONDS: Final = 120.0
"""How late an answer of the engine still counts; after that, the provider asks again."""
HIDDEN_SECONDS: Final = 600.0
"""Interval between checks of an object that has left the watch filter and still has a record."""

_DECISIVE: Final = (
    names.CLAIM_ANNOTATION,
    names.CLAIM_ID_ANNOTATION,
    names.ATTEMPT_ANNOTATION,
    names.IDENTITY_ANNOTATION,
)
"""Annotations that decisions depend on: if one is not stored, the next decision is the same again."""

Refresh = Callable[[float], Coroutine[Any, Any, bool]]
"""Takes an inventory of the engine; returns whether it was complete within that many seconds."""
Written = Callable[[Resource, Mapping[str, Any], Key], None]
"""Called with every object after it was written, and with the key of the object that it was written for."""


class Reconciler:
    """Reconciles objects: brings each closer to its spec."""

    def __init__(
        self,
        *,
        client: KubeApi,
        observer: Observer,
        discovery: Discovery,
        records: Records,
        health: HealthMonitor,
        foreign: ForeignSecrets,
        recorder: EventRecorder,
        metrics: Metrics,
        refresh: Refresh,
        on_written: Written,
    ) -> None:
        self._client = client
        self._observer = observer
        self._discovery = discovery
        self._records = records
        self._health = health
        self._secrets = SecretWriter(client, foreign)
        self._recorder = recorder
        self._metrics = metrics
        self._refresh = refresh
        self._on_written = on_written
        self._inventories: dict[Key, asyncio.Task[bool]] = {}
        """Inventories that were incomplete at the end of a reconcile."""

    async def reconcile(self, key: Key) -> float | None:
        """Reconcile the object once; return the seconds until the next reconcile, None for the next event.

        Raises ApiError if a write failed; the next reconcile starts from the state at that time.
        """
        with logs.context(**{key.kind: f"{key.namespace}/{key.name}"}):
            if key.kind == names.KIND_CLUSTERS.kind:
                return await self._kindcluster(key)
            return await self._control_plane(key)

    async def _kindcluster(self, key: Key) -> float | None:
        observed = await self._observer.kindcluster(key)
        if observed is None:
            self._inventories.pop(key, None)
        abandoned = await self._end_abandoned(key, observed.object.uid if observed else None)
        return _soonest(abandoned, await self._round(key, observed) if observed else None)

    async def _round(self, key: Key, observed: Observed | None) -> float | None:
        if observed and needs_no_owner(observed):
            # The object would be created without an owner, so the absence of Cluster API must be certain now (C5).
            if (wait := await self._discovery.confirm_absence()) > 0:
                return wait
            observed = await self._observer.kindcluster(key)
        plan = kindcluster.decide(observed) if observed else Plan()
        if not plan.refresh:
            self._inventories.pop(key, None)
        else:
            if not await self._take_inventory(key):
                return REFRESH_SECONDS
            observed = await self._observer.kindcluster(key)
            plan = kindcluster.decide(observed) if observed else Plan()
        return await self._execute(key, observed, plan) if observed else None

    async def _take_inventory(self, key: Key) -> bool:
        """Return whether an inventory is complete that began after the object needed it, in this reconcile or before.

        If each reconcile began another one, an engine that is slower than a worker's patience would never finish.
        """
        inventory = self._inventories.pop(key, None)
        if inventory is None:
            inventory = asyncio.create_task(self._refresh(LATE_SECONDS), name=f"inventory for {key}")
        await asyncio.wait([inventory], timeout=REFRESH_SECONDS)
        if not inventory.done():
            self._inventories[key] = inventory
            return False
        return await inventory

    async def _execute(self, key: Key, observed: Observed, plan: Plan) -> float | None:
        self._watch_health(observed)
        record = self._records.of(observed.object)
        raw, refusals_changed = await self._carry_out(
            names.KIND_CLUSTERS, observed.object, observed.secrets, plan, record
        )
        if refusals_changed:
            again = await self._observer.kindcluster(key)
            plan = kindcluster.decide(again) if again else Plan()
            raw = again.object.raw if again else raw
        raw = await self._finish(names.KIND_CLUSTERS, raw, observed.object, plan)
        if plan.delete_secrets or plan.remove_finalizer:
            await self._finish_deletion(raw, plan, record)
        return 0.0 if refusals_changed and plan.has_work else self._next(plan, record)

    async def _control_plane(self, key: Key) -> float | None:
        observed = await self._observer.control_plane(key)
        await self._end_abandoned(key, observed.object.uid if observed else None)
        if observed is None:
            return None
        plan = controlplane.decide(observed)
        record = self._records.of(observed.object)
        raw, refusals_changed = await self._carry_out(
            names.KIND_CONTROL_PLANES, observed.object, observed.secrets, plan, record
        )
        if refusals_changed:
            again = await self._observer.control_plane(key)
            plan = controlplane.decide(again) if again else Plan()
            raw = again.object.raw if again else raw
        await self._finish(names.KIND_CONTROL_PLANES, raw, observed.object, plan)
        return 0.0 if refusals_changed and plan.has_work else self._next(plan, record)

    def _next(self, plan: Plan, record: Record) -> float | None:
        return _soonest(plan.requeue_seconds, self._records.next_try(record))

    async def _carry_out(
        self, resource: Resource, current: Object, secrets: Mapping[str, Any], plan: Plan, record: Record
    ) -> tuple[Mapping[str, Any], bool]:
        """Carry out a plan except its status, part by part: a refused part does not stop the others.

        Return the updated object, and whether the refusals have changed, which changes the status too.
        """
        if plan.cancel_operation or plan.cancel_queued:
            self._records.cancel(current.uid, queued_only=not plan.cancel_operation)
        changed: list[str] = []

        async def patched(part: str, raw: Mapping[str, Any], **changes: Any) -> Mapping[str, Any]:
            return await self._part(record, part, self._patch(resource, raw, **changes), changed) or raw

        finalizer = names.KIND_CLUSTER_FINALIZER if plan.add_finalizer else None
        raw = await patched(CLAIM, current.raw, add_finalizer=finalizer, annotations=plan.annotations)
        if plan.identity:
            raw = await patched(IDENTITY, raw, annotations=_identity(plan, raw))
        if plan.operation is not None and not (isinstance(plan.operation, Create) and CLAIM in changed):
            self._records.start(record, plan.operation)
        for secret in plan.secrets:
            part = f"{SECRET} {secret['metadata']['name']}"
            if self._records.is_throttled(record, part):
                continue
            written = self._secrets.write(secret, secrets.get(secret["metadata"]["name"]))
            if answer := await self._part(record, part, written, changed):
                is_changed = secret_digest(answer.get("data")) != secret_digest(secret["data"])
                self._records.written(record, part, is_changed=is_changed)
                self._on_written(names.SECRETS, answer, current.key)
        if plan.endpoint or plan.kube_system_uid:
            # The endpoint names the part: storing other values of the kubeconfig must not clear its refusal.
            raw = await patched(ENDPOINT if plan.endpoint else IDENTITY, raw, **_completion(plan))
        if plan.replicas:
            raw = await patched(REPLICAS, raw, spec={"replicas": plan.replicas})
        return raw, bool(changed)

    async def _finish(
        self, resource: Resource, raw: Mapping[str, Any], decided: Object, plan: Plan
    ) -> Mapping[str, Any]:
        """Write the status of the plan; return the updated object."""
        if plan.status is None:
            return raw
        return await self._write_status(resource, raw, _for_stored_generation(plan.status, decided, Object(raw)))

    async def _finish_deletion(self, raw: Mapping[str, Any], plan: Plan, record: Record) -> None:
        """Delete the Secrets of an object whose kind cluster is gone, remove its finalizer, report refusals."""
        current, changed, kept = Object(raw), list[str](), False
        for name, uid in plan.delete_secrets.items():
            gone = await self._part(record, f"{REMOVAL} {name}", self._delete_secret(current, name, uid), changed)
            kept = kept or gone is None
        if plan.remove_finalizer and not kept:
            kept = await self._part(record, FINALIZER, self._remove_finalizer(raw), changed) is None
            if not kept:
                self._forget(current.uid)
                return
        if changed and (observed := await self._observer.kindcluster(current.key)):
            await self._finish(names.KIND_CLUSTERS, observed.object.raw, observed.object, kindcluster.decide(observed))

    async def _delete_secret(self, current: Object, name: str, uid: str) -> Mapping[str, Any]:
        with suppress(NotFound, Conflict):
            await self._client.delete(names.SECRETS, current.namespace, name, uid=uid or None)
        return {}

    async def _remove_finalizer(self, raw: Mapping[str, Any]) -> Mapping[str, Any]:
        resource, finalizer = names.KIND_CLUSTERS, names.KIND_CLUSTER_FINALIZER
        with suppress(NotFound):
            raw = await self._patch(resource, raw, remove_finalizer=finalizer)
            if finalizer in Object(raw).finalizers:
                message = "it kept the finalizer without an error; a mutating webhook may be the cause"
                raise ApiError("patch", resource.plural, HTTPStatus.UNPROCESSABLE_ENTITY, message)
        return raw

    async def _part(
        self, record: Record, part: str, write: Awaitable[Mapping[str, Any]], changed: list[str]
    ) -> Mapping[str, Any] | None:
        """Write one part of a plan; return the response, or None if the API server refuses it or it is not ours.

        While a part is held back, the plan lacks what was refused: storing the rest does not clear the refusal.
        """
        is_held_back = part in self._records.held_back(record)
        try:
            answer = await write
        except ForeignSecret:
            changed.append(part)
            return None
        except ApiError as error:
            if not error.is_refusal:
                raise
            self._records.refused(record, part, error.message)
            changed.append(part)
            return None
        if not is_held_back and self._records.accepted(record, part):
            changed.append(part)
        return answer

    def _watch_health(self, observed: Observed) -> None:
        """Probe the API server of the kind cluster only while the cluster runs."""
        cluster, nodes = observed.object, observed.engine.nodes
        runs = nodes is None or any(node.running for node in nodes)
        is_up = (observed.made or cluster.identity) and observed.engine.exists and runs and not cluster.is_deleting
        target = health_target(observed) if is_up else None
        if target is None and is_up and nodes is None:
            # Without the engine only the kubeconfig has the address, and it is not kept for long: keep the old target.
            return
        if target is None:
            self._health.forget(cluster.uid)
            return
        answered = observed.access is not None and observed.access.answered
        self._health.watch(
            cluster.uid,
            target,
            answered=answered,
            ever_answered=answered or was_ever_reached(cluster),
            unanswered_at=self._records.of(cluster).unanswered_at,
        )

    async def _end_abandoned(self, key: Key, uid: str | None) -> float | None:
        """End the work for previous objects with this key; return the seconds until the next reconcile."""
        return _soonest(*[await self._end_work_of(record) for record in self._records.of_key(key) if record.uid != uid])

    async def _end_work_of(self, record: Record) -> float | None:
        operation = self._records.operation(record.uid)
        if operation is not None:
            if operation.request.goal is Goal.GONE:
                # Someone removed the finalizer before the deletion was complete: finish it.
                record.vanished = True
            elif not record.vanished:
                self._records.cancel(record.uid)
            return None
        removal = self._pending_removal(record)
        is_at_stake = removal is not None or record.made is not None
        is_hidden = is_at_stake and not record.vanished and await self._still_exists(record)
        if is_hidden and record.made is not None:
            # Only this record shows that the kind cluster is complete, until the object is back and can be written.
            self._health.forget(record.uid)
            return HIDDEN_SECONDS
        if removal is None or is_hidden:
            # Nothing is left to remove, or the object only left this provider's watch filter.
            self._forget(record.uid)
            return None
        record.vanished = True
        gone = self._records.goals(record).get(Goal.GONE)
        if gone and (remaining := self._records.retry_delay(gone.attempts) - gone.seconds_ago) > 0:
            return remaining
        log.warning("The object vanished during the creation or deletion of its kind cluster. Removing what is left.")
        self._records.start(record, removal)
        return None

    def _pending_removal(self, record: Record) -> Delete | None:
        """Return the removal of what an unfinished creation or failed deletion of a vanished object has left."""
        if unfinished := record.unfinished:
            uids = frozenset({unfinished.mark.uid})
            return Delete(unfinished.name, Goal.GONE, uids=uids, settle_seconds=SETTLE_SECONDS)
        gone = self._records.goals(record).get(Goal.GONE)
        if gone is None or gone.failure is None or not isinstance(gone.request, Delete):
            return None
        return gone.request

    async def _still_exists(self, record: Record) -> bool:
        """Return whether the object exists: a watch with a selector also reports a lost match as deleted."""
        try:
            raw = await self._client.get(names.KIND_CLUSTERS, record.key.namespace, record.key.name)
        except NotFound:
            return False
        return KINDCluster(raw).uid == record.uid

    def _forget(self, uid: str) -> None:
        self._health.forget(uid)
        self._records.forget(uid)

    async def _patch(self, resource: Resource, raw: Mapping[str, Any], **changes: Any) -> Mapping[str, Any]:
        """Write finalizer, annotations or spec if they differ; return the updated object."""
        patch = metadata_patch(raw, **changes)
        if patch is None:
            return raw
        metadata = raw["metadata"]
        answer = await self._client.patch(resource, metadata["namespace"], metadata["name"], patch)
        self._on_written(resource, answer, Object(answer).key)
        if dropped := _dropped(Object(answer), **changes):
            message = f"it dropped {', '.join(dropped)} without an error; a mutating webhook may be the cause"
            raise ApiError("patch", resource.plural, HTTPStatus.UNPROCESSABLE_ENTITY, message)
        return answer

    async def _write_status(
        self, resource: Resource, raw: Mapping[str, Any], status: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        patch = status_patch(raw, status)
        if patch is None:
            return raw
        metadata = raw["metadata"]
        answer = await self._client.patch(
            resource, metadata["namespace"], metadata["name"], patch, subresource="status"
        )
        self._on_written(resource, answer, Object(answer).key)
        before = (raw.get("status") or {}).get("conditions") or ()
        after = status.get("conditions") or ()
        for condition in transitions(before, after):
            await self._announce(answer, condition)
        for condition in after:
            if warning := warning_of(find(before, condition["type"]), condition):
                await self._recorder.record(answer, *warning)
        return answer

    async def _announce(self, raw: Mapping[str, Any], condition: Mapping[str, Any]) -> None:
        """Log a change of a condition, and record an Event if it is worth one."""
        event = event_of(condition)
        if condition["type"] != Condition.READY and condition["reason"] not in UNEVENTFUL:
            text = f": {condition['message']}" if condition.get("message") else ""
            level = logging.WARNING if event and event.type == "Warning" else logging.INFO
            log.log(level, "%s %s%s", condition["type"], condition["reason"], text)
        if event is not None:
            if event.type == "Warning":
                self._metrics.failures.labels(event.reason).inc()
            await self._recorder.record(raw, *event)


def _soonest(*waits: float | None) -> float | None:
    return min((wait for wait in waits if wait is not None), default=None)


def _dropped(
    stored: Object,
    *,
    annotations: Mapping[str, str | None] | None = None,
    add_finalizer: str | None = None,
    spec: Mapping[str, Any] | None = None,
    **_: Any,
) -> list[str]:
    """Return what decisions depend on and was written but not stored."""
    wanted = {name: value for name in _DECISIVE if (value := (annotations or {}).get(name)) is not None}
    dropped = [name for name, value in wanted.items() if stored.annotations.get(name) != value]
    if add_finalizer and add_finalizer not in stored.finalizers:
        dropped.append(f"the finalizer {add_finalizer}")
    return [*dropped, *(f"spec.{field}" for field in spec or () if not stored.spec.get(field))]


def _identity(plan: Plan, raw: Mapping[str, Any]) -> dict[str, str | None]:
    """Return the annotations to write as soon as a creation is complete; they also unblock a move."""
    changes: dict[str, str | None] = {names.IDENTITY_ANNOTATION: plan.identity, **_engine(plan)}
    if Object(raw).annotations.get(names.BLOCK_MOVE_ANNOTATION) == names.HELD_BY_CREATION:
        changes[names.BLOCK_MOVE_ANNOTATION] = None
    return changes


def _engine(plan: Plan) -> dict[str, str]:
    """Return the engine annotation if an earlier release has not stored it."""
    return {names.ENGINE_ANNOTATION: plan.engine_id} if plan.engine_id else {}


def _completion(plan: Plan) -> dict[str, Any]:
    """Return, as one write, what only the kubeconfig provides: the endpoint (C10) and the identity of the etcd."""
    changes: dict[str, Any] = {}
    if plan.kube_system_uid:
        changes["annotations"] = {names.KUBE_SYSTEM_ANNOTATION: plan.kube_system_uid, **_engine(plan)}
    if plan.endpoint:
        host, port = plan.endpoint
        changes["spec"] = {"controlPlaneEndpoint": {"host": host, "port": port}}
    return changes


def _for_stored_generation(status: Mapping[str, Any], decided: Object, stored: Object) -> Mapping[str, Any]:
    """Return the status with the generation that is stored now.

    Every write is guarded, so only our own endpoint or replicas can lie between the two generations. This saves a
    status write.
    """
    if decided.generation == stored.generation:
        return status
    now, before = {"observedGeneration": stored.generation}, {"observedGeneration": decided.generation}
    judged = [{**one, **now} if one.items() >= before.items() else one for one in status["conditions"]]
    return {**status, "conditions": judged, **now}

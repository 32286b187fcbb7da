"""Carries a plan out, part by part: what the API server refuses does not stop the other parts.

The operation starts once the finalizer and the claim are stored. The other parts are written in the order of the plan's
fields.
"""

from collections.abc import Awaitable, Mapping
from contextlib import suppress
from typing import Any, Protocol

from capk.api import names
from capk.api.names import Resource
from capk.api.objects import Object, SecretFacts
from capk.errors import ApiError, Conflict, NotFound
from capk.kindconfig.kubeconfig import secret_digest
from capk.kube.protocol import KubeApi
from capk.manager.enginewriter import EngineWriter
from capk.manager.objectwriter import ObjectWriter, Written
from capk.manager.record import Executing, Record
from capk.manager.records import Records
from capk.manager.secretwriter import ForeignSecret, SecretWriter
from capk.plan.parts import CLAIM, ENDPOINT, ENGINE_REMOVAL, FINALIZER, IDENTITY, PROVIDER_ID, REMOVAL, REPLICAS, SECRET
from capk.plan.plan import AddWorker, Create, EngineRemoval, Plan
from capk.plan.preparation import part_of


class Observation(Protocol):
    """What is known of an object; every kind has its own, with more in it."""

    @property
    def object(self) -> Object:
        """The object to reconcile."""

    @property
    def secrets(self) -> Mapping[str, SecretFacts]:
        """Known Secrets of the kind cluster, by name."""


class PlanWriter:
    """Carries plans out for the objects of one resource; finalizer: the one that the provider sets on them, if any."""

    def __init__(
        self,
        resource: Resource,
        finalizer: str | None,
        *,
        client: KubeApi,
        objects: ObjectWriter,
        secrets: SecretWriter,
        engines: EngineWriter,
        records: Records,
        on_written: Written,
    ) -> None:
        self._resource = resource
        self._finalizer = finalizer
        self._client = client
        self._objects = objects
        self._secrets = secrets
        self._engines = engines
        self._records = records
        self._on_written = on_written

    async def carry_out(
        self,
        current: Object,
        secrets: Mapping[str, SecretFacts],
        plan: Plan,
        record: Record,
        executor: Executing | None,
    ) -> tuple[Mapping[str, Any], bool]:
        """Carry out a plan except its status, part by part: a refused part does not stop the others.

        executor: of the engine that the plan rests on; None if it rests on none, so that it has no operation.
        Return the updated object, and whether the refusals have changed, which changes the status too.
        """
        if plan.cancel_operation or plan.cancel_queued:
            self._records.cancel(current.uid, queued_only=not plan.cancel_operation)
        changed, held_back = list[str](), self._records.backoff.held_back(record)

        async def patched(part: str, raw: Mapping[str, Any], **changes: Any) -> Mapping[str, Any]:
            if part in held_back:
                # A plan may name it again, for example with values that are stored together with others.
                return raw
            return await self._part(record, part, self._objects.patch(self._resource, raw, **changes), changed) or raw

        finalizer = self._finalizer if plan.add_finalizer else None
        raw = await patched(CLAIM, current.raw, add_finalizer=finalizer, annotations=plan.annotations)
        if plan.identity:
            raw = await patched(IDENTITY, raw, annotations=_identity(plan, raw))
        is_claimed = CLAIM not in self._records.backoff.refusals(record)
        is_pod_new = self._records.backoff.is_throttled(record, part_of(names.PODS))
        if plan.remove_engine and plan.remove_engine.is_partial and not is_pod_new:
            await self._remove_engine(record, plan.remove_engine, changed)
        if is_claimed:
            await self._create_engine(record, plan, changed)
        may_start = is_claimed or not isinstance(plan.operation, Create | AddWorker)
        if plan.operation is not None and executor is not None and may_start:
            self._records.start(record, plan.operation, executor)
        for secret in plan.secrets:
            part = f"{SECRET} {secret['metadata']['name']}"
            if self._records.backoff.is_throttled(record, part):
                continue
            written = self._secrets.write(secret, secrets.get(secret["metadata"]["name"]))
            if answer := await self._part(record, part, written, changed):
                is_changed = secret_digest(answer.get("data")) != secret_digest(secret["data"])
                self._records.backoff.written(record, part, is_changed=is_changed)
                self._on_written(names.SECRETS, answer, current.key)
        if plan.endpoint or plan.kube_system_uid:
            # The endpoint names the part: storing other values of the kubeconfig must not clear its refusal.
            raw = await patched(ENDPOINT if plan.endpoint else IDENTITY, raw, **_completion(plan))
        if plan.replicas:
            raw = await patched(REPLICAS, raw, spec={"replicas": plan.replicas})
        if plan.provider_id:
            raw = await patched(PROVIDER_ID, raw, spec={"providerID": plan.provider_id})
        return raw, bool(changed)

    async def write_status(self, raw: Mapping[str, Any], decided: Object, plan: Plan) -> Mapping[str, Any]:
        """Write the status of the plan; return the updated object."""
        if plan.status is None:
            return raw
        status = _for_stored_generation(plan.status, decided, Object(raw))
        return await self._objects.write_status(self._resource, raw, status, plan.events)

    async def finish_deletion(self, raw: Mapping[str, Any], plan: Plan, record: Record) -> tuple[bool, bool]:
        """Delete the Secrets of an object whose kind cluster is gone, then remove its finalizer.

        Return whether the finalizer is gone, and whether the refusals have changed.
        """
        current, changed, kept = Object(raw), list[str](), False
        if plan.remove_engine and not await self._remove_engine(record, plan.remove_engine, changed):
            return False, bool(changed)
        for name, uid in plan.delete_secrets.items():
            gone = await self._part(record, f"{REMOVAL} {name}", self._delete_secret(current, name, uid), changed)
            kept = kept or gone is None
        if not plan.remove_finalizer or kept or self._finalizer is None:
            return False, bool(changed)
        removal = self._objects.remove_finalizer(self._resource, raw, self._finalizer)
        return await self._part(record, FINALIZER, removal, changed) is not None, bool(changed)

    async def _create_engine(self, record: Record, plan: Plan, changed: list[str]) -> None:
        """Create objects of an engine, each only if the one before it is there.

        A Pod may end as soon as it starts, for example on a node that refuses it, and a webhook may change a Service.
        """
        for wanted in plan.engine_objects:
            part = part_of(wanted.resource)
            if part in self._records.backoff.held_back(record) or self._records.backoff.is_throttled(record, part):
                return
            if await self._part(record, part, self._engines.create(wanted), changed) is None:
                return
            if wanted.resource in (names.PODS, names.SERVICES):
                self._records.backoff.written(record, part)

    async def _remove_engine(self, record: Record, removal: EngineRemoval, changed: list[str]) -> bool:
        """Delete what a plan names of an engine; return whether nothing of it is left to be waited for."""
        if ENGINE_REMOVAL in self._records.backoff.held_back(record):
            return False
        gone = {}

        async def remove() -> Mapping[str, Any]:
            gone[removal.name] = await self._engines.remove(removal)
            return {}

        await self._part(record, ENGINE_REMOVAL, remove(), changed)
        return gone.get(removal.name, False)

    async def _delete_secret(self, current: Object, name: str, uid: str) -> Mapping[str, Any]:
        """Delete a Secret, unless another one has its name by now."""
        try:
            await self._client.delete(names.SECRETS, current.namespace, name, uid=uid or None)
        except NotFound:
            pass
        except Conflict:
            # Not only another uid is a conflict: whether ours is gone, only the Secret itself shows.
            if await self._is_there(current.namespace, name, uid):
                raise
        return {}

    async def _is_there(self, namespace: str, name: str, uid: str) -> bool:
        """Return whether that very Secret exists."""
        with suppress(NotFound):
            return uid in ("", Object(await self._client.get(names.SECRETS, namespace, name)).uid)
        return False

    async def _part(
        self, record: Record, part: str, write: Awaitable[Mapping[str, Any]], changed: list[str]
    ) -> Mapping[str, Any] | None:
        """Write one part of a plan; return the response, or None if the API server refuses it or it is not ours."""
        try:
            answer = await write
        except ForeignSecret:
            changed.append(part)
            return None
        except ApiError as error:
            if not (error.is_refusal or self._lasts(record, part, error)):
                raise
            self._records.backoff.refused(record, part, _words(error))
            changed.append(part)
            return None
        if self._records.backoff.accepted(record, part):
            changed.append(part)
        return answer

    def _lasts(self, record: Record, part: str, error: ApiError) -> bool:
        """Return whether the API server has answered like this for long: then it counts as a refusal.

        A conflict is normal, and the next reconcile knows the newer object. Without any answer, nothing else can be
        written either.
        """
        return error.status != 0 and self._records.backoff.failed_again(record, part)


def _words(error: ApiError) -> str:
    """Return the server's message, and what it means if the server does not refuse by itself."""
    if isinstance(error, Conflict):
        return f"each try conflicts with another write ({error.message}). Find out what else writes it"
    return error.message


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

    Every write is guarded, so only our own endpoint, replicas or provider id can lie between the two generations. This
    saves a status write.
    """
    if decided.generation == stored.generation:
        return status
    now, before = {"observedGeneration": stored.generation}, {"observedGeneration": decided.generation}
    judged = [{**one, **now} if one.items() >= before.items() else one for one in status["conditions"]]
    return {**status, "conditions": judged, **now}

"""Observe, decide, carry out: one round for one object, always in the same order (kopf-facts, pattern 3)."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from capk.api import names
from capk.api.names import Condition, Resource
from capk.api.objects import Key, Object
from capk.errors import Conflict, NotFound
from capk.kube.door import Kube
from capk.kube.events import EventRecorder
from capk.kube.patches import metadata_patch, status_patch
from capk.manager.observe import Observer
from capk.manager.work import Work
from capk.plan import controlplane, kindcluster
from capk.plan.events import event_of
from capk.plan.observed import Observed
from capk.plan.plan import Plan
from capk.plan.report import UNEVENTFUL, transitions
from capk.runtime import logs
from capk.runtime.metrics import Metrics

log = logging.getLogger(__name__)


class Reconciler:
    """Brings one object at a time nearer to what it asks for."""

    def __init__(
        self,
        *,
        client: Kube,
        observer: Observer,
        work: Work,
        recorder: EventRecorder,
        metrics: Metrics,
        wrote: Callable[[Resource, Mapping[str, Any]], None],
    ) -> None:
        """Take the doors to the world; wrote: told every object that was written, as it is then."""
        self._wrote = wrote
        self._client = client
        self._observer = observer
        self._work = work
        self._recorder = recorder
        self._metrics = metrics

    async def reconcile(self, key: Key) -> float | None:
        """Do one round for the object; return after how many seconds to look again, None for when something happens.

        Raises ApiError where a write failed; the next round starts from what is there then.
        """
        with logs.context(**{key.kind: f"{key.namespace}/{key.name}"}):
            return await self._reconcile(key)

    async def _reconcile(self, key: Key) -> float | None:
        plan: Plan
        if key.kind == names.KIND_CLUSTERS.kind:
            cluster, plan = await self._look_and_decide(key)
            if plan.look_again:
                await self._observer.look_again()
                cluster, plan = await self._look_and_decide(key)
            if cluster is None:
                return None
            await self._carry_out(names.KIND_CLUSTERS, cluster.object, cluster.secrets, plan)
        else:
            control_plane = await self._observer.control_plane(key)
            if control_plane is None:
                return None
            plan = controlplane.decide(control_plane)
            await self._carry_out(names.KIND_CONTROL_PLANES, control_plane.object, control_plane.secrets, plan)
        return plan.requeue_seconds

    async def _look_and_decide(self, key: Key) -> tuple[Observed | None, Plan]:
        cluster = await self._observer.kindcluster(key)
        return cluster, kindcluster.decide(cluster) if cluster else Plan()

    async def _carry_out(self, resource: Resource, seen: Object, secrets: Mapping[str, Any], plan: Plan) -> None:
        if plan.cancel_operation:
            await self._work.cancel(seen)
        finalizer = names.KIND_CLUSTER_FINALIZER if plan.add_finalizer else None
        raw = await self._patch(resource, seen.raw, add_finalizer=finalizer, annotations=plan.annotations)
        if plan.operation is not None:
            self._work.start(seen, plan.operation)
        for secret in plan.secrets:
            await self._write_secret(secret, known=secret["metadata"]["name"] in secrets)
        raw = await self._patch(resource, raw, **_completion(plan, raw))
        if plan.status is not None:
            raw = await self._write_status(resource, raw, _made_for(plan.status, seen, Object(raw)))
        for name in plan.delete_secrets:
            await self._ignore_missing(self._client.delete(names.SECRETS, seen.namespace, name))
        if plan.remove_finalizer:
            self._work.forget(seen)
            await self._ignore_missing(self._patch(resource, raw, remove_finalizer=names.KIND_CLUSTER_FINALIZER))

    async def _patch(self, resource: Resource, raw: Mapping[str, Any], **changes: Any) -> Mapping[str, Any]:
        """Write finalizer, annotations or spec where they differ; return the object as it is then."""
        patch = metadata_patch(raw, **changes)
        if patch is None:
            return raw
        metadata = raw["metadata"]
        answer = await self._client.patch(resource, metadata["namespace"], metadata["name"], patch)
        self._wrote(resource, answer)
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
        self._wrote(resource, answer)
        before = (raw.get("status") or {}).get("conditions") or ()
        for condition in transitions(before, status.get("conditions") or ()):
            await self._tell(answer, condition)
        return answer

    async def _tell(self, raw: Mapping[str, Any], condition: Mapping[str, Any]) -> None:
        """Log a change of a condition, and record an Event where a person would want one."""
        event = event_of(condition)
        if condition["type"] != Condition.READY and condition["reason"] not in UNEVENTFUL:
            text = f": {condition['message']}" if condition.get("message") else ""
            level = logging.WARNING if event and event.type == "Warning" else logging.INFO
            log.log(level, "%s %s%s", condition["type"], condition["reason"], text)
        if event is not None:
            if event.type == "Warning":
                self._metrics.failures.labels(event.reason).inc()
            await self._recorder.record(raw, *event)

    async def _write_secret(self, secret: Mapping[str, Any], *, known: bool) -> None:
        """Write a Secret of ours; one of the same name that is somebody else's is left alone.

        Raises Conflict in that case.
        """
        if not known:
            try:
                answer = await self._client.create(names.SECRETS, secret)
            except Conflict:
                metadata = secret["metadata"]
                existing = await self._client.get(names.SECRETS, metadata["namespace"], metadata["name"])
                if not is_ours(existing, secret):
                    self._observer.found_foreign_secret(metadata["namespace"], metadata["name"])
                    raise
            else:
                self._wrote(names.SECRETS, answer)
                return
        answer = await self._client.apply(names.SECRETS, secret)
        if added := (answer.get("data") or {}).keys() - secret["data"].keys():
            # Applying leaves what others have put in; somebody would read the wrong key.
            metadata, without = secret["metadata"], {"data": dict.fromkeys(added)}
            answer = await self._client.patch(names.SECRETS, metadata["namespace"], metadata["name"], without)
        self._wrote(names.SECRETS, answer)

    @staticmethod
    async def _ignore_missing(call: Awaitable[Any]) -> None:
        with suppress(NotFound):
            await call


def _completion(plan: Plan, raw: Mapping[str, Any]) -> dict[str, Any]:
    """What is written to the object once its kind cluster is complete: endpoint and identity in one write (C10)."""
    changes: dict[str, Any] = {}
    if plan.identity:
        changes["annotations"] = {names.IDENTITY_ANNOTATION: plan.identity}
        if Object(raw).annotations.get(names.BLOCK_MOVE_ANNOTATION) == names.HELD_BY_CREATION:
            changes["annotations"][names.BLOCK_MOVE_ANNOTATION] = None
    if plan.endpoint:
        host, port = plan.endpoint
        changes["spec"] = {"controlPlaneEndpoint": {"host": host, "port": port}}
    return changes


def _made_for(status: Mapping[str, Any], decided: Object, stored: Object) -> Mapping[str, Any]:
    """Return the status as of the generation that is stored now.

    Only our own endpoint can lie between the two, as every write is guarded; without this it would cost one more.
    """
    if decided.generation == stored.generation:
        return status
    now, before = {"observedGeneration": stored.generation}, {"observedGeneration": decided.generation}
    judged = [{**one, **now} if one.items() >= before.items() else one for one in status["conditions"]]
    return {**status, "conditions": judged, **now}


def is_ours(existing: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Return whether an existing Secret was written by the provider, whatever was edited since."""
    metadata = existing.get("metadata") or {}
    owners = {reference["uid"] for reference in wanted["metadata"]["ownerReferences"]}
    return (
        names.CLUSTER_LABEL in (metadata.get("labels") or {})
        or names.DIGEST_ANNOTATION in (metadata.get("annotations") or {})
        or any(reference.get("uid") in owners for reference in metadata.get("ownerReferences") or ())
    )

"""Creates and deletes the objects of engines in Pods: only those with the uid of their KINDCluster."""

from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from capk.api import names
from capk.api.names import Resource
from capk.api.objects import Object
from capk.errors import Conflict, Denied, NotFound
from capk.kube.protocol import KubeApi
from capk.manager.enginepods import EnginePods
from capk.plan.engineobjects import AUTHORITY
from capk.plan.plan import EngineObject, EngineRemoval


class EngineWriter:
    """Writes in the namespace of engines. What is there under a name of ours may belong to anyone."""

    def __init__(self, client: KubeApi, pods: EnginePods) -> None:
        self._client = client
        self._pods = pods

    async def create(self, wanted: EngineObject) -> dict[str, Any]:
        """Create an object, and return it; if it is there already, return it as it is.

        Raises ApiError, also if the name belongs to someone else.
        """
        body = self._with_certificate(wanted)
        try:
            answer = await self._client.create(wanted.resource, body)
        except Conflict as conflict:
            answer = await self._existing(wanted, body)
            if Object(answer).is_deleting:
                raise conflict
        except NotFound as error:
            where = body["metadata"]["namespace"]
            message = f"Namespace {where} does not exist. Create it, with the role of the provider in it"
            raise _refused("create", wanted.resource, body, message) from error
        self._took(wanted.resource, answer)
        return answer

    async def remove(self, removal: EngineRemoval) -> bool:
        """Delete the Pod, or, if it is proven gone, everything else; return whether all was requested by then.

        A removal of the Service alone deletes nothing else.

        Raises ApiError.
        """
        if removal.service_only:
            if (service := await self._own(names.SERVICES, removal)) is not None:
                await self._delete(names.SERVICES, service)
            return True
        pod = await self._own(names.PODS, removal)
        if pod is not None and removal.pod_uid not in ("", Object(pod).uid):
            # Its successor runs, although the watch has not shown that yet.
            return True
        if pod is not None:
            await self._delete(names.PODS, pod)
            return False
        if not removal.pod_only:
            # The Service comes last: as long as it is there, a provider that was restarted finds the rest.
            for resource in (names.VOLUME_CLAIMS, names.SECRETS, names.SERVICES):
                if (found := await self._own(resource, removal)) is not None:
                    await self._delete(resource, found)
        return True

    async def _existing(self, wanted: EngineObject, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the object that has the name already, if it is of the same KINDCluster."""
        where, uid = body["metadata"], body["metadata"]["labels"][names.ENGINE_CLUSTER_LABEL]
        found = await self._client.get(wanted.resource, where["namespace"], where["name"])
        if not _is_of(found, uid):
            message = (
                f"{wanted.resource.kind} {where['namespace']}/{where['name']} exists, but does not belong to this "
                "KINDCluster. Delete it"
            )
            raise _refused("create", wanted.resource, body, message)
        is_outdated = wanted.hosts and (found.get("data") or {}).get(AUTHORITY) != body["data"][AUTHORITY]
        if not is_outdated or Object(found).is_deleting:
            return found
        # Another authority has replaced the one that issued it, so the provider would not trust it.
        await self._delete(wanted.resource, found)
        return await self._client.create(wanted.resource, body)

    def _with_certificate(self, wanted: EngineObject) -> Mapping[str, Any]:
        if not wanted.hosts:
            return wanted.body
        return {**wanted.body, "data": self._pods.keys.server(wanted.body["metadata"]["name"], wanted.hosts)}

    async def _own(self, resource: Resource, removal: EngineRemoval) -> dict[str, Any] | None:
        """Return the object if it exists and is of the KINDCluster."""
        with suppress(NotFound):
            found = await self._client.get(resource, removal.namespace, removal.name)
            return found if _is_of(found, removal.cluster_uid) else None
        return None

    async def _delete(self, resource: Resource, found: Mapping[str, Any]) -> None:
        """Delete that very object, if its deletion was not requested yet."""
        current = Object(found)
        if current.is_deleting:
            return
        with suppress(NotFound):
            await self._client.delete(resource, current.namespace, current.name, uid=current.uid)

    def _took(self, resource: Resource, answer: Mapping[str, Any]) -> None:
        if resource != names.SECRETS:
            self._pods.put(resource, answer)


def _is_of(found: Mapping[str, Any], uid: str) -> bool:
    """Return whether an object is of the engine of the KINDCluster with that uid."""
    labels = Object(found).labels
    return labels.get(names.ENGINE_CLUSTER_LABEL) == uid and labels.get(names.MANAGED_BY_LABEL) == names.MANAGED_BY


def _refused(verb: str, resource: Resource, body: Mapping[str, Any], message: str) -> Denied:
    where = body["metadata"]
    subject = f"{resource.plural} {where['namespace']}/{where['name']}"
    return Denied(verb, subject, HTTPStatus.FORBIDDEN, message)

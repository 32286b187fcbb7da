"""Writes the Secrets of a plan, but never a Secret of the same name that belongs to someone else."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from capk.api import names
from capk.api.objects import SecretFacts
from capk.errors import CapkError, Conflict, NotFound
from capk.kube.jsonpatches import secret_patch
from capk.kube.protocol import KubeApi
from capk.manager.observe import ForeignSecrets


class ForeignSecret(CapkError):
    """A Secret of that name exists and was not written by this provider."""


class SecretWriter:
    """Creates a Secret, or updates our existing one completely, owners and data included."""

    def __init__(self, client: KubeApi, foreign: ForeignSecrets) -> None:
        self._client = client
        self._foreign = foreign

    async def write(self, wanted: Mapping[str, Any], current: SecretFacts | None) -> dict[str, Any]:
        """Write a Secret and return the stored one.

        current: the known facts; None if it is not known to exist. If it is gone, it is created again.
        Raises ForeignSecret; ApiError if the server refuses.
        """
        namespace, name = wanted["metadata"]["namespace"], wanted["metadata"]["name"]
        if current is not None:
            try:
                return await self._replace(wanted, await self._metadata(current, namespace, name))
            except NotFound:
                # The watch may have broken off before it could show the deletion.
                if await self._exists(namespace, name):
                    raise
        try:
            return await self._client.create(names.SECRETS, wanted)
        except Conflict:
            existing = await self._client.get(names.SECRETS, namespace, name)
        if not is_ours(existing, wanted):
            self._foreign.found(namespace, name)
            raise ForeignSecret(f"Secret {namespace}/{name} belongs to someone else")
        return await self._replace(wanted, existing["metadata"])

    async def _exists(self, namespace: str, name: str) -> bool:
        with suppress(NotFound):
            await self._client.get(names.SECRETS, namespace, name)
            return True
        return False

    async def _metadata(self, current: SecretFacts, namespace: str, name: str) -> Mapping[str, Any]:
        """Return the metadata to compute a patch from: someone may have added more owners than are remembered."""
        if current.is_whole:
            return current.metadata
        return dict((await self._client.get(names.SECRETS, namespace, name))["metadata"])

    async def _replace(self, wanted: Mapping[str, Any], metadata: Mapping[str, Any]) -> dict[str, Any]:
        """Patch the existing Secret, guarded by its version: raises Conflict if something else has changed it."""
        where = wanted["metadata"]
        patch = secret_patch(metadata, wanted)
        return await self._client.patch(names.SECRETS, where["namespace"], where["name"], patch)


def is_ours(existing: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Return whether an existing Secret was written by the provider, whatever was edited since."""
    metadata = existing.get("metadata") or {}
    owners = {reference["uid"] for reference in wanted["metadata"]["ownerReferences"]}
    return (
        names.SECRET_CLUSTER_LABEL in (metadata.get("labels") or {})
        or names.DIGEST_ANNOTATION in (metadata.get("annotations") or {})
        or any(reference.get("uid") in owners for reference in metadata.get("ownerReferences") or ())
    )

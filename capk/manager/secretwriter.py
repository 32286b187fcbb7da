"""Writes the Secrets that a decision asks for; one of the same name that belongs to someone else is left alone."""

from collections.abc import Mapping
from typing import Any

from capk.api import names
from capk.api.objects import SecretFacts
from capk.errors import CapkError, Conflict
from capk.kube.door import Kube
from capk.manager.observe import ForeignSecrets


class ForeignSecret(CapkError):
    """A Secret of that name exists and was not written by this provider."""


class SecretWriter:
    """Creates a Secret, or makes an existing one of ours equal to what it should be, owners and data whole."""

    def __init__(self, client: Kube, foreign: ForeignSecrets) -> None:
        self._client = client
        self._foreign = foreign

    async def write(self, wanted: Mapping[str, Any], current: SecretFacts | None) -> dict[str, Any]:
        """Write a Secret and return it as it is then.

        current: what is known of it; None where it is not known to exist.
        Raises ForeignSecret, and ApiError where the server refuses.
        """
        namespace, name = wanted["metadata"]["namespace"], wanted["metadata"]["name"]
        if current is not None:
            return await self._replace(wanted, current.metadata, current.keys)
        try:
            return await self._client.create(names.SECRETS, wanted)
        except Conflict:
            existing = await self._client.get(names.SECRETS, namespace, name)
        if not is_ours(existing, wanted):
            self._foreign.found(namespace, name)
            raise ForeignSecret(f"Secret {namespace}/{name} belongs to someone else")
        return await self._replace(wanted, existing["metadata"], tuple(existing.get("data") or {}))

    async def _replace(
        self, wanted: Mapping[str, Any], metadata: Mapping[str, Any], keys: tuple[str, ...]
    ) -> dict[str, Any]:
        """Patch what is there, guarded by its version: another writer is answered with a Conflict."""
        wanted_metadata = wanted["metadata"]
        guard = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
        owners = [one for one in metadata.get("ownerReferences") or () if not one.get("controller")]
        kept = [one for one in owners if all(one["uid"] != own["uid"] for own in wanted_metadata["ownerReferences"])]
        patch = {
            "metadata": {
                **guard,
                "labels": wanted_metadata["labels"],
                "annotations": wanted_metadata["annotations"],
                "ownerReferences": [*wanted_metadata["ownerReferences"], *kept],
            },
            # What others have put in goes: somebody would read the wrong key.
            "data": {**dict.fromkeys(keys), **wanted["data"]},
            "type": wanted["type"],
        }
        return await self._client.patch(names.SECRETS, wanted_metadata["namespace"], wanted_metadata["name"], patch)


def is_ours(existing: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Return whether an existing Secret was written by the provider, whatever was edited since."""
    metadata = existing.get("metadata") or {}
    owners = {reference["uid"] for reference in wanted["metadata"]["ownerReferences"]}
    return (
        names.CLUSTER_LABEL in (metadata.get("labels") or {})
        or names.DIGEST_ANNOTATION in (metadata.get("annotations") or {})
        or any(reference.get("uid") in owners for reference in metadata.get("ownerReferences") or ())
    )

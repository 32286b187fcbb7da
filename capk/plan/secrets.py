"""The Secrets of a KINDCluster and its KINDControlPlane: which there should be, who keeps each, what is due. Pure.

Told without the data of the Secrets that exist: a digest says whether one is as it was written (C14, C15, C26).
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from capk.api import names
from capk.api.objects import KINDCluster, KINDControlPlane, Object, OwnerCluster, SecretFacts
from capk.kindconfig.credentials import BadKubeconfig, certificates, fingerprint
from capk.kindconfig.kubeconfig import config_secret, kubeconfig_secret, secret_digest
from capk.plan.observed import Observed


def config_secret_name(cluster_name: str) -> str:
    """Return the name of the Secret with the address for the machine of the container engine."""
    return f"{cluster_name}-config"


def kubeconfig_secret_name(owner_cluster: str) -> str:
    """Return the name of Cluster API's kubeconfig Secret (C14)."""
    return f"{owner_cluster}-kubeconfig"


def wanted_config_secret(owner: Object, cluster_name: str, kubeconfig: str) -> dict[str, Any]:
    """Return the Secret `<clusterName>-config` that `owner` keeps."""
    return _with_digest(
        config_secret(
            namespace=owner.namespace,
            kind_cluster=cluster_name,
            kubeconfig=kubeconfig,
            owner_references=[owner.owner_reference(controller=True)],
        )
    )


def wanted_kubeconfig_secret(owner: Object, owner_cluster: str, cluster_name: str, kubeconfig: str) -> dict[str, Any]:
    """Return Cluster API's Secret `<cluster>-kubeconfig` that `owner` keeps (C14)."""
    return _with_digest(
        kubeconfig_secret(
            cluster=owner_cluster,
            namespace=owner.namespace,
            kind_cluster=cluster_name,
            kubeconfig=kubeconfig,
            owner_references=[owner.owner_reference(controller=True)],
        )
    )


def differs(wanted: Mapping[str, Any], current: SecretFacts | None) -> bool:
    """Return whether the Secret has to be written: it is gone, edited, or misses a label or its owner."""
    if current is None or current.digest != wanted["metadata"]["annotations"][names.DIGEST_ANNOTATION]:
        return True
    return any(
        not _covers(current.metadata.get(field), wanted["metadata"].get(field))
        for field in ("labels", "annotations", "ownerReferences")
    )


def keepers(observed: Observed) -> dict[str, KINDCluster | KINDControlPlane]:
    """Return the Secrets that have to be there, each with the object of ours that writes and owns it.

    Cluster API's is the KINDControlPlane's where the Cluster names one. Nobody writes it while that one is missing.
    """
    kept: dict[str, KINDCluster | KINDControlPlane] = {config_secret_name(observed.cluster_name): observed.object}
    keeper = observed.control_plane if observed.control_plane_name else observed.object
    if observed.served and keeper:
        kept[kubeconfig_secret_name(observed.served.name)] = keeper
    return kept


def unkept(observed: Observed) -> str | None:
    """Return the name of Cluster API's Secret where it is missing and nobody is going to write it; else None."""
    owner, control_plane = observed.owner, observed.control_plane
    if owner is None or observed.control_plane_name is None or owner.is_deleting:
        return None
    name = kubeconfig_secret_name(owner.name)
    return None if name in observed.secrets or writes(control_plane) else name


def writes(control_plane: KINDControlPlane | None) -> bool:
    """Return whether a KINDControlPlane writes its Secret as soon as it can."""
    return control_plane is not None and not (
        control_plane.is_paused or control_plane.is_externally_managed or control_plane.is_deleting
    )


def are_intact(observed: Observed) -> bool:
    """Return whether every Secret that can be there is as it was written, by its own digest, owned, and up to date.

    Saves reading the kubeconfigs of a thousand clusters after a restart. One that leads to an earlier kind cluster is
    left where a provider ended between the creation of a new cluster and the writes that follow.
    """
    return all(
        _is_intact(observed.secrets.get(name), keeper.owner_reference(controller=True))
        and _is_about(observed.object.identity, observed.secrets[name].authority)
        for name, keeper in keepers(observed).items()
        if isinstance(keeper, KINDCluster) or writes(keeper)
    )


def foreign_among(observed: Observed) -> list[str]:
    """Return the names under which a Secret of someone else stands: it is not overwritten."""
    return [name for name in keepers(observed) if name in observed.foreign_secrets]


def own_among(observed: Observed) -> dict[str, str]:
    """Return the Secrets that go with the object: those of its kind cluster, whichever of our objects keeps them.

    Name -> uid. A copy that a user made of one, with our label, stays; so does what another KINDCluster owns.
    """
    wanted = {config_secret_name(observed.cluster_name)}
    if observed.owner is None or observed.served:
        wanted |= {kubeconfig_secret_name(name) for name in _owner_names(observed.object, observed.owner)}
    return {
        name: str(secret.metadata.get("uid", ""))
        for name, secret in sorted(observed.secrets.items())
        if name in wanted and not _is_anothers(secret, observed.object)
    }


def _owner_names(cluster: KINDCluster, owner: OwnerCluster | None) -> set[str]:
    reference = cluster.owner_cluster_reference
    return {*([owner.name] if owner else []), *([reference["name"]] if reference else [])}


def _is_anothers(secret: SecretFacts, cluster: KINDCluster) -> bool:
    """Whether another KINDCluster owns the Secret."""
    owners = [one for one in secret.metadata.get("ownerReferences") or () if one.get("kind") == cluster.kind]
    return bool(owners) and all(owner.get("uid") != cluster.uid for owner in owners)


def _is_intact(secret: SecretFacts | None, owner: Mapping[str, Any]) -> bool:
    return secret is not None and is_as_written(secret) and owner in (secret.metadata.get("ownerReferences") or ())


@lru_cache(maxsize=4096)
def _is_about(identity: str | None, authority: str) -> bool:
    """Return whether a kubeconfig with that authority, in base64, leads to the cluster of that identity.

    Where the authority was not found in the Secret, this is not known, and taken for granted.
    """
    try:
        found = certificates({"authority": authority}, "authority")
    except BadKubeconfig:
        return False
    return not found or fingerprint(found) == identity


def is_as_written(secret: SecretFacts | None) -> bool:
    """Return whether a Secret is there and holds what the provider put into it."""
    if secret is None:
        return False
    return secret.digest == (secret.metadata.get("annotations") or {}).get(names.DIGEST_ANNOTATION)


def _with_digest(secret: dict[str, Any]) -> dict[str, Any]:
    digest = {names.DIGEST_ANNOTATION: secret_digest(secret["data"])}
    return {**secret, "metadata": {**secret["metadata"], "annotations": digest}}


def _covers(current: Any, wanted: Any) -> bool:
    if isinstance(wanted, Mapping):
        return all((current or {}).get(key) == value for key, value in wanted.items())
    return all(item in (current or ()) for item in wanted or ())

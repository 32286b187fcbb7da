"""The Secrets of a KINDCluster and its KINDControlPlane: which are wanted, which object keeps each, what is due. Pure.

This needs no data of existing Secrets: a digest shows whether one is as it was written (C14, C15, C26).
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from capk.api import names
from capk.api.objects import KINDCluster, KINDControlPlane, Object, OwnerCluster, SecretFacts
from capk.kindconfig.kubeconfig import config_secret, kubeconfig_secret, secret_digest
from capk.kindconfig.kubeconfigfields import BadKubeconfig, certificates, fingerprint
from capk.plan.observed import Observed

FOREIGN_SECONDS = 60.0
"""Interval between checks and attempts to write while someone else's Secret has the name of a wanted one."""


def config_secret_name(cluster_name: str) -> str:
    """Return the name of the Secret whose kubeconfig works on the machine of the container engine."""
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
    """Return whether the Secret has to be written: it is missing, edited, or lacks a label or its owner."""
    if current is None or current.digest != wanted["metadata"]["annotations"][names.DIGEST_ANNOTATION]:
        return True
    return any(
        not _covers(current.metadata.get(field), wanted["metadata"].get(field))
        for field in ("labels", "annotations", "ownerReferences")
    )


def keepers(observed: Observed) -> dict[str, KINDCluster | KINDControlPlane]:
    """Return the names of the wanted Secrets, each with the object that writes and owns it.

    If the Cluster names a KINDControlPlane, that one writes Cluster API's Secret. While it is missing, nothing does.
    """
    kept: dict[str, KINDCluster | KINDControlPlane] = {config_secret_name(observed.cluster_name): observed.object}
    keeper = observed.control_plane if observed.control_plane_name else observed.object
    if observed.served and keeper:
        kept[kubeconfig_secret_name(observed.served.name)] = keeper
    return kept


def unkept(observed: Observed) -> str | None:
    """Return the name of Cluster API's Secret if it is missing and nothing is going to write it, otherwise None."""
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
    """Return whether every wanted Secret matches its digest, has its owner, and leads to the current kind cluster.

    This saves reading the kubeconfigs of a thousand clusters after a restart. A Secret leads to an earlier kind cluster
    if the provider stopped between a creation and the writes that follow.
    """
    return all(
        _is_intact(observed.secrets.get(name), keeper.owner_reference(controller=True))
        and _leads_to(observed.object.identity, observed.secrets[name].authority)
        for name, keeper in keepers(observed).items()
        if isinstance(keeper, KINDCluster) or writes(keeper)
    )


def foreign_among(observed: Observed) -> list[str]:
    """Return the wanted names that are taken by Secrets of someone else, which are not overwritten."""
    return [name for name in keepers(observed) if name in observed.foreign_secrets]


def own_among(observed: Observed) -> dict[str, str]:
    """Return the Secrets to delete with the object, whichever of our objects keeps them: name -> uid.

    A user's copy with our label stays; so does a Secret that another KINDCluster owns.
    """
    wanted = {config_secret_name(observed.cluster_name)}
    if observed.owner is None or observed.served:
        wanted |= {kubeconfig_secret_name(name) for name in _owner_names(observed.object, observed.owner)}
    return {
        name: str(secret.metadata.get("uid", ""))
        for name, secret in sorted(observed.secrets.items())
        if name in wanted and not _belongs_to_another(secret, observed.object)
    }


def _owner_names(cluster: KINDCluster, owner: OwnerCluster | None) -> set[str]:
    reference = cluster.owner_cluster_reference
    return {*([owner.name] if owner else []), *([reference["name"]] if reference else [])}


def _belongs_to_another(secret: SecretFacts, cluster: KINDCluster) -> bool:
    """Return whether another KINDCluster owns the Secret."""
    owners = [one for one in secret.metadata.get("ownerReferences") or () if one.get("kind") == cluster.kind]
    return bool(owners) and all(owner.get("uid") != cluster.uid for owner in owners)


def _is_intact(secret: SecretFacts | None, owner: Mapping[str, Any]) -> bool:
    return secret is not None and is_as_written(secret) and owner in (secret.metadata.get("ownerReferences") or ())


@lru_cache(maxsize=4096)
def _leads_to(identity: str | None, authority: str) -> bool:
    """Return whether a kubeconfig with that authority, in base64, leads to the cluster with that identity.

    If the Secret holds no authority, this is unknown and assumed.
    """
    try:
        found = certificates({"authority": authority}, "authority")
    except BadKubeconfig:
        return False
    return not found or fingerprint(found) == identity


def is_as_written(secret: SecretFacts | None) -> bool:
    """Return whether a Secret exists and holds what the provider wrote."""
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

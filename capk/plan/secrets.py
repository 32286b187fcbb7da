"""Whether the Secrets in the API server are the ones that should be there, told without their data (C14, C15, C26)."""

from collections.abc import Mapping
from typing import Any

from capk.api import names
from capk.api.objects import Object, SecretFacts
from capk.kindcfg.kubeconfig import config_secret, kubeconfig_secret, secret_digest
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


def differs(wanted: Mapping[str, Any], seen: SecretFacts | None) -> bool:
    """Return whether the Secret has to be written: it is gone, edited, or misses a label or its owner."""
    if seen is None or seen.digest != wanted["metadata"]["annotations"][names.DIGEST_ANNOTATION]:
        return True
    return any(
        not _covers(seen.metadata.get(field), wanted["metadata"].get(field))
        for field in ("labels", "annotations", "ownerReferences")
    )


def are_intact(observed: Observed) -> bool:
    """Return whether every expected Secret is as it was written, by its own digest, and owned.

    Saves reading the kubeconfigs of a thousand clusters after a restart.
    """
    return all(
        _is_intact(observed.secrets.get(name), _keeper(observed, name).owner_reference(controller=True))
        for name in expected_names(observed)
    )


def expected_names(observed: Observed) -> list[str]:
    """Return the names of the Secrets that have to be there, whichever of our objects keeps them."""
    config = [config_secret_name(observed.cluster_name)]
    return [*config, kubeconfig_secret_name(observed.owner.name)] if observed.owner else config


def foreign_among(observed: Observed) -> list[str]:
    """Return the expected names under which somebody else's Secret stands: it is not overwritten."""
    return [name for name in expected_names(observed) if name in observed.foreign_secrets]


def _keeper(observed: Observed, name: str) -> Object:
    """The object of ours that writes the Secret and owns it."""
    is_config = name == config_secret_name(observed.cluster_name)
    return observed.object if is_config or observed.control_plane is None else observed.control_plane


def _is_intact(seen: SecretFacts | None, owner: Mapping[str, Any]) -> bool:
    return (
        seen is not None
        and seen.digest == (seen.metadata.get("annotations") or {}).get(names.DIGEST_ANNOTATION)
        and owner in (seen.metadata.get("ownerReferences") or ())
    )


def _with_digest(secret: dict[str, Any]) -> dict[str, Any]:
    digest = {names.DIGEST_ANNOTATION: secret_digest(secret["data"])}
    return {**secret, "metadata": {**secret["metadata"], "annotations": digest}}


def _covers(seen: Any, wanted: Any) -> bool:
    if isinstance(wanted, Mapping):
        return all((seen or {}).get(key) == value for key, value in wanted.items())
    return all(item in (seen or ()) for item in wanted or ())

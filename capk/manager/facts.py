"""Converts what the engine and the API servers report into the facts that decisions use. Pure."""

import base64
import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from capk.api import names
from capk.api.conditions import find
from capk.api.endpoint import EndpointMode
from capk.api.objects import SecretFacts
from capk.diagnosis.failures import Failure, cause_of, classify
from capk.engine.containers import Node
from capk.engine.inventory import Entry, Snapshot
from capk.errors import (
    AddressTaken,
    CommandError,
    InvalidSpec,
    NamesNotResolved,
    NoApiServer,
    PassingData,
    UnprovenCreation,
    UnsupportedEngine,
)
from capk.kindconfig.config import API_PORT, CONTROL_PLANE
from capk.kindconfig.images import kind_release
from capk.kindconfig.kubeconfig import BadKubeconfig, secret_digest, server_url
from capk.kindconfig.registries import AUTHORITY_KEY, MOST_AUTHORITY
from capk.plan.facts import EngineFacts, HealthFacts, NodeFacts
from capk.plan.marks import Mark
from capk.plan.observed import Observed
from capk.workload.answer import EXPIRED, NOT_ACCEPTED
from capk.workload.connection import Target
from capk.workload.health import Health

_MOST_OF_A_KUBECONFIG: Final = 64 * 1024
_OWN_METADATA: Final = {
    "labels": (names.SECRET_CLUSTER_LABEL, names.CORE_CLUSTER_NAME_LABEL),
    "annotations": (names.DIGEST_ANNOTATION,),
}
"""What the provider writes into its Secrets."""
_MOST_OWNERS, _MOST_OF_AN_OWNER, _MOST_OF_A_VALUE = 8, 1024, 256
_AUTHORITY: Final = re.compile(rb"certificate-authority-data: *([A-Za-z0-9+/=]{1,16384})")
_REASONS: Final = frozenset(map(str, names.Reason))
_LOCAL: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""A port published on all addresses of this machine is reached on the loopback address."""
_ALWAYS_CERTIFIED: Final = "kubernetes"
"""A name in every certificate that kubeadm makes for an API server.

Of addresses it has those that kind asks for. For a cluster that is published on every address that is 0.0.0.0 itself.
Source: Kubernetes cmd/kubeadm/app/util/pkiutil/pki_helpers.go; kind pkg/cluster/internal/kubeadm/config.go (certSANs).
"""


def version_note(version: str | None) -> str | None:
    """Return a warning about this version of kind; None if it is the supported release."""
    wanted = kind_release()
    if not version or version.split(".")[:2] == wanted.split(".")[:2]:
        return None
    return (
        f"kind is {version}, but this provider supports {wanted}. The provider continues, but node images of its "
        f"catalogue may not run, and it may not recognise the causes of failures. Install {wanted} where the provider "
        "runs, or name it with --kind-command."
    )


def engine_facts(snapshot: Snapshot | None, name: str, *, lists_nodes: bool) -> EngineFacts:
    """Return what the engine lists under that name. lists_nodes: whether the engine can list containers at all."""
    if snapshot is None:
        return EngineFacts(lists_nodes=lists_nodes)
    entry = snapshot.clusters.get(name)
    return EngineFacts(
        was_listed=True,
        failure=classify(snapshot.error) if snapshot.error else None,
        exists=entry is not None,
        nodes=tuple(_node(node) for node in entry.nodes) if entry and entry.nodes is not None else None,
        lists_nodes=lists_nodes,
        restarted=entry is not None and entry.restarted,
        id=snapshot.engine_id,
    )


def ids_of(engine: EngineFacts) -> frozenset[str]:
    """Return the ids that a claim on this kind cluster could hold: the uids in the marks, and the container ids."""
    nodes = engine.nodes or ()
    return frozenset({node.container_id for node in nodes} | {node.mark.uid for node in nodes if node.mark})


def bears_mark(entry: Entry, uid: str) -> bool:
    """Return whether a container of that kind cluster has the mark of the object with that uid."""
    # Most marks are those of other objects, and are not worth parsing.
    likely = (node.mark for node in entry.nodes or () if node.mark is not None and node.mark.startswith(uid))
    return any((mark := Mark.parse(text)) is not None and mark.uid == uid for text in likely)


def project_secret(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the store keeps of our Secret: metadata and a digest of the data, never the data itself.

    Everyone who may create Secrets may give them our label, and a megabyte of labels, annotations or owners. Of these,
    only what the provider writes itself is kept, and as many owners as a Secret of ours may have.
    """
    metadata = raw.get("metadata") or {}
    kept = ("name", "namespace", "uid", "resourceVersion")
    data = {key: value or "" for key, value in (raw.get("data") or {}).items()}
    owners = metadata.get("ownerReferences") or ()
    known = [owner for owner in owners if _is_short(owner)]
    first = sorted(known, key=lambda owner: not owner.get("controller"))[:_MOST_OWNERS]
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            **{field: metadata[field] for field in kept if field in metadata},
            **{field: _only(metadata[field], own) for field, own in _OWN_METADATA.items() if field in metadata},
            **({"ownerReferences": [owner for owner in owners if owner in first]} if owners else {}),
        },
        "is_whole": len(first) == len(owners),
        "digest": secret_digest(data),
        "authority": authority_in(data),
    }


def _is_short(owner: Mapping[str, Any]) -> bool:
    return sum(len(str(value)) for value in owner.values()) <= _MOST_OF_AN_OWNER


def _only(values: Mapping[str, str] | None, wanted: Collection[str]) -> dict[str, str]:
    return {name: value for name, value in (values or {}).items() if name in wanted and len(value) <= _MOST_OF_A_VALUE}


def project_namespace(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the store keeps of a Namespace: its labels."""
    metadata = raw.get("metadata") or {}
    kept = ("name", "uid", "labels")
    return {"kind": "Namespace", "metadata": {field: metadata[field] for field in kept if field in metadata}}


def authority_in(data: Mapping[str, str]) -> str:
    """Return the certificate authority in the data of our Secret, in base64; empty if none is found.

    It is not parsed: if it is wrong, TLS with the API server fails.
    """
    try:
        text = base64.b64decode(data.get("config") or data.get("value") or "", validate=True)[:_MOST_OF_A_KUBECONFIG]
    except ValueError:
        return ""
    found = _AUTHORITY.search(text)
    return found[1].decode() if found else ""


def authority_of(config_map: Mapping[str, Any]) -> str:
    """Return the certificates in a mirror's ConfigMap, or enough to show that they are too long.

    An object may name sixteen of a megabyte, which takes four if there is a single emoji in it. Raises KeyError if
    there are none.
    """
    text = (config_map.get("data") or {})[AUTHORITY_KEY]
    if not text.strip():
        raise KeyError(AUTHORITY_KEY)
    return str(text[: MOST_AUTHORITY + 1]).encode("ascii", errors="replace").decode()


def health_facts(
    health: Health | None,
    *,
    proven_at: float | None = None,
    unanswered_at: float | None = None,
    unanswered_because: str = "",
) -> HealthFacts:
    """Return the health of a workload API server; one that was never reached counts as not answering.

    proven_at: when the content of its etcd was last verified. unanswered_at: when another request last got no answer,
    which counts if it is newer. Both by the clock of `health`; None for never.
    """
    if health is None:
        return HealthFacts(is_watched=False)
    is_silent = health.ever_answered and health.is_older_than(unanswered_at)
    answers = False if health.is_out_of_reach or is_silent else health.answers
    doubted = health.doubted_since
    return HealthFacts(
        answers=answers,
        reached=health.ever_answered,
        said=unanswered_because if is_silent else health.said,
        has_expired=EXPIRED in health.said,
        is_mistrusted=NOT_ACCEPTED in health.said and EXPIRED not in health.said,
        is_doubted=doubted is not None and (proven_at is None or proven_at < doubted),
    )


def health_target(observed: Observed) -> Target | None:
    """Return the address and authority of the API server, from what the engine lists; None while unknown.

    It never uses an address from a Secret or a status: users who can edit one could redirect the provider's requests.
    """
    name = f"{observed.cluster_name}-config"
    stored = observed.secrets.get(name)
    authority = observed.access.authority if observed.access else _pem(stored.authority if stored else "")
    endpoint = _endpoint(observed)
    if endpoint is None or not authority:
        return None
    host, port = endpoint
    if host in _LOCAL:
        return Target(server_url(_LOCAL[host], port), authority, _ALWAYS_CERTIFIED)
    return Target(server_url(host, port), authority)


def _endpoint(observed: Observed) -> tuple[str, int] | None:
    nodes = observed.engine.nodes or ()
    ends = [node for node in nodes if node.is_load_balancer] or [node for node in nodes if node.role == CONTROL_PLANE]
    if observed.engine.nodes is None and observed.access:
        return observed.access.endpoint(observed.policy.endpoint)
    if observed.policy.endpoint is EndpointMode.INTERNAL:
        return (ends[0].name, API_PORT) if ends else None
    published = next((node.api_port for node in ends if node.api_port), None)
    if published and observed.policy.endpoint_host:
        return observed.policy.endpoint_host, published[1]
    return published or (observed.access.external_endpoint if observed.access else None)


def _pem(encoded: str) -> str:
    try:
        return base64.b64decode(encoded, validate=True).decode("ascii")
    except ValueError:
        return ""


def ready_reason(raw: Mapping[str, Any]) -> str:
    """Return the reason of the Ready condition of a KINDCluster; Unknown for one that is none of ours."""
    ready = find((raw.get("status") or {}).get("conditions") or (), names.Condition.READY)
    # Whoever may write a status could make a series of metrics for each text.
    return str(ready["reason"]) if ready and ready["reason"] in _REASONS else str(names.Reason.UNKNOWN)


def secret_facts(projected: Mapping[str, Any]) -> SecretFacts:
    """Return the facts of a Secret from the output of `project_secret`."""
    metadata = projected["metadata"]
    return SecretFacts(
        name=metadata["name"],
        digest=projected["digest"],
        metadata=metadata,
        is_whole=projected["is_whole"],
        authority=projected["authority"],
    )


def now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


def failure_of(error: Exception | None) -> Failure | None:
    """Return why an operation failed, with a message for users."""
    match error:
        case None:
            return None
        case CommandError():
            return classify(error)
        case BadKubeconfig():
            return Failure(names.Reason.KUBECONFIG_UNAVAILABLE, f"{_sentence(error)} See the control-plane node.")
        case AddressTaken():
            holder = "that container" if error.occupant else "what has the address on the engine's network"
            remedy = f"Stop or remove {holder}. The provider starts the nodes as soon as the address is free."
            return Failure(names.Reason.ADDRESS_TAKEN, f"{error}. {remedy}")
        case NamesNotResolved():
            remedy = (
                "Without name resolution, nodes cannot join the control plane. Install podman's DNS plugin on the "
                "engine's machine: aardvark-dns (with netavark) or dnsname (with CNI). Then remove the network: "
                f"`podman network rm {error.network}`."
            )
            return Failure(names.Reason.NODE_NAME_NOT_RESOLVED, f"{_sentence(error)} {remedy}")
        case NoApiServer():
            remedy = (
                "No worker can join until it does; the provider tries again by itself. See the logs of kube-apiserver "
                "and etcd in that node, and the free space on the engine's disk."
            )
            return Failure(names.Reason.NOT_ANSWERING, f"{_sentence(error)} {remedy}")
        case UnprovenCreation():
            remedy = (
                "Nothing is removed without that proof, and the provider tries again. To remove the kind cluster "
                "without it, delete the object with spec.deletionPolicy Delete."
            )
            cause = f"its control plane {error.node} cannot be read: {cause_of(error.cause)}"
            unknown = f'Cannot find out whether the creation of kind cluster "{error.cluster}" was completed'
            return Failure(names.Reason.COMMAND_FAILED, f"{unknown}, because {cause}. {remedy}")
        case InvalidSpec():
            return Failure(names.Reason.INVALID_CONFIG, f"{error}.", retry=False)
        case PassingData():
            return Failure(names.Reason.INVALID_CONFIG, str(error), retry=False)
        case UnsupportedEngine():
            remedy = "List the workers in spec.nodes of the KINDCluster, so that kind creates them."
            return Failure(names.Reason.ENGINE_UNSUPPORTED, f"{_sentence(error)} {remedy}", retry=False)
        case OSError(strerror=str(cause)):
            remedy = "Check the space on the disk of --work-dir, its permissions, and the limit of open files."
            message = f"The machine of the provider refuses a file that the provider needs: {cause}. {remedy}"
            return Failure(names.Reason.COMMAND_FAILED, message)
        case _:
            return Failure(names.Reason.COMMAND_FAILED, f"{type(error).__name__}. See the provider's log.")


def _sentence(error: Exception) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."


def _node(node: Node) -> NodeFacts:
    return NodeFacts(
        name=node.name,
        role=node.role,
        running=node.running,
        address=node.address,
        mark=Mark.parse(node.mark),
        machine=node.machine,
        container_id=node.container_id,
        image=node.image,
        started_at=node.started_at,
        api_port=node.api_port,
        addresses=node.addresses,
        forgets=node.forgets,
    )

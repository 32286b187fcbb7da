"""Objects and observations for the tests of decisions, each with only the facts that matter to the test."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from capk.api import names
from capk.api.names import Condition
from capk.api.objects import KINDCluster, KINDControlPlane, KINDMachine, OwnerCluster, OwnerMachine, SecretFacts
from capk.kindconfig.kubeconfig import secret_digest
from capk.plan.claims import claim_of, cluster_name
from capk.plan.facts import Access, EngineFacts, GoalFacts, HealthFacts, NodeFacts, OperationFacts
from capk.plan.marks import Mark
from capk.plan.observed import MachineObserved, Observed
from capk.plan.plan import Create, Delete, Goal, OperationRequest, Plan

NOW = datetime(2030, 1, 1, 12, 0, 0, tzinfo=UTC)
UID = "11111111-2222-3333-4444-555555555555"
IDENTITY = "sha256:aaaa"


def kindcluster(
    spec: Mapping[str, Any] | None = None,
    *,
    status: Mapping[str, Any] | None = None,
    annotations: Mapping[str, str] | None = None,
    owner: str | None = None,
    **metadata: Any,
) -> KINDCluster:
    references = [
        {"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster", "name": owner, "uid": f"uid-of-{owner}"}
    ]
    return KINDCluster(
        {
            "apiVersion": names.KIND_CLUSTERS.api_version,
            "kind": "KINDCluster",
            "metadata": {
                "name": "dev",
                "namespace": "default",
                "uid": UID,
                "generation": 1,
                "resourceVersion": "100",
                "creationTimestamp": (NOW - timedelta(minutes=5)).isoformat(),
                "annotations": dict(annotations or {}),
                **({"ownerReferences": references} if owner else {}),
                **metadata,
            },
            "spec": dict(spec or {}),
            **({"status": dict(status)} if status else {}),
        }
    )


def owner_cluster(name: str = "dev", **spec: Any) -> OwnerCluster:
    metadata = {"name": name, "namespace": "default", "uid": f"uid-of-{name}"}
    return OwnerCluster(
        {"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster", "metadata": metadata, "spec": spec}
    )


def control_plane(
    version: str | None = "v1.36.1",
    *,
    replicas: int | None = None,
    status: Mapping[str, Any] | None = None,
    **metadata: Any,
) -> KINDControlPlane:
    spec = {"version": version, "replicas": replicas}
    return KINDControlPlane(
        {
            "apiVersion": names.KIND_CONTROL_PLANES.api_version,
            "kind": "KINDControlPlane",
            "metadata": {"name": "dev", "namespace": "default", "uid": "uid-of-cp", "generation": 1, **metadata},
            "spec": {field: value for field, value in spec.items() if value},
            **({"status": dict(status)} if status else {}),
        }
    )


def node(
    name: str = "dev-control-plane",
    *,
    running: bool = True,
    mark: str | None = UID,
    container_id: str = "c1",
    address: str = "172.18.0.2",
) -> NodeFacts:
    roles = ("external-load-balancer", "control-plane", "worker")
    role = next(role for role in roles if role in name)
    return NodeFacts(
        name=name, role=role, running=running, address=address, mark=Mark.parse(mark), container_id=container_id
    )


ACCESS = Access(
    external="external kubeconfig",
    internal="internal kubeconfig",
    fingerprint=IDENTITY,
    external_endpoint=("127.0.0.1", 40001),
    internal_endpoint=("dev-control-plane", 6443),
    version="v1.36.1",
    answered=True,
    kube_system_uid="0c1e3c1e-0000-4000-8000-000000000001",
)
CLAIMED = {names.CLAIM_ANNOTATION: "dev", names.CLAIM_ID_ANNOTATION: UID}
COMPLETE = {**CLAIMED, names.IDENTITY_ANNOTATION: IDENTITY}
NOTHING_THERE = EngineFacts(was_listed=True)
RUNNING = EngineFacts(was_listed=True, exists=True, nodes=(node(),))
FINALIZER = [names.KIND_CLUSTER_FINALIZER]


def observe(cluster: KINDCluster | None = None, *, alive: Collection[str] = (), **facts: Any) -> Observed:
    """Return an observation of an object; alive: uids of other KINDClusters that exist."""
    seen = cluster or kindcluster()
    claim = claim_of(seen, lambda uid: uid in alive)
    names_of_it = {"claim": claim, "cluster_name": cluster_name(seen, claim)}
    return Observed(**{"object": seen, "now": NOW, "engine": NOTHING_THERE, **names_of_it, **facts})


def running_operation(request: OperationRequest, **facts: Any) -> OperationFacts:
    return OperationFacts(request=request, **{"queued": False, **facts})


def failed(
    request: OperationRequest,
    failure: Any,
    *,
    attempts: int = 1,
    seconds_ago: float = 0.0,
    logs: str = "",
    left_nothing: bool = False,
) -> Any:
    """Return a goal whose last operation failed."""
    return {request.goal: GoalFacts(attempts, seconds_ago, failure, request, logs, left_nothing)}


def ended(request: OperationRequest, *, attempts: int = 0, seconds_ago: float = 0.0) -> Any:
    """Return a goal whose last operation succeeded."""
    return {request.goal: GoalFacts(attempts, seconds_ago, None, request)}


def removal(goal: Goal, *, ids: Collection[str] = (), uids: Collection[str] = (UID,), **facts: Any) -> Delete:
    is_whole = goal is Goal.GONE and "settle_seconds" not in facts
    usual: dict[str, Any] = {"up_to_attempt": 0} if goal is Goal.UP else {"is_of_whole": is_whole}
    return Delete("dev", goal, frozenset(uids), container_ids=frozenset(ids), **{**usual, **facts})


def create_request(generation: int = 1) -> Create:
    from capk.plan.creationrequest import creation_request

    return replace(creation_request(observe()), generation=generation)


def condition(status: Mapping[str, Any], kind: Condition) -> tuple[str, str]:
    return next((seen["status"], seen["reason"]) for seen in status["conditions"] if seen["type"] == kind)


def message(status: Mapping[str, Any], kind: Condition) -> str:
    return next(seen["message"] for seen in status["conditions"] if seen["type"] == kind)


def written(secret: Mapping[str, Any]) -> SecretFacts:
    """Return the facts of a Secret after it was written."""
    metadata = secret["metadata"]
    return SecretFacts(name=metadata["name"], digest=secret_digest(secret["data"]), metadata=metadata)


def apply(observed: Observed, plan: Plan) -> Observed:
    """Return the observation after the plan's writes; operations are not carried out."""
    raw = {**observed.object.raw, "metadata": {**observed.object.metadata}}
    metadata = raw["metadata"]
    annotations = {**observed.object.annotations, **plan.annotations}
    if plan.identity:
        annotations[names.IDENTITY_ANNOTATION] = plan.identity
        annotations.pop(names.BLOCK_MOVE_ANNOTATION, None)
    if plan.kube_system_uid:
        annotations[names.KUBE_SYSTEM_ANNOTATION] = plan.kube_system_uid
    metadata["annotations"] = {key: value for key, value in annotations.items() if value is not None}
    if plan.add_finalizer:
        metadata["finalizers"] = sorted({*observed.object.finalizers, names.KIND_CLUSTER_FINALIZER})
    if plan.remove_finalizer:
        metadata["finalizers"] = [own for own in observed.object.finalizers if own != names.KIND_CLUSTER_FINALIZER]
    if plan.endpoint:
        host, port = plan.endpoint
        raw["spec"] = {**observed.object.spec, "controlPlaneEndpoint": {"host": host, "port": port}}
    if plan.status is not None:
        raw["status"] = plan.status
    secrets = {**observed.secrets, **{secret["metadata"]["name"]: written(secret) for secret in plan.secrets}}
    kept = {name: facts for name, facts in secrets.items() if name not in plan.delete_secrets}
    return replace(observed, secrets=kept, **_named(raw))


def _named(raw: Mapping[str, Any]) -> dict[str, Any]:
    cluster = KINDCluster(raw)
    claim = claim_of(cluster, lambda uid: False)
    return {"object": cluster, "claim": claim, "cluster_name": cluster_name(cluster, claim)}


def seen_as(observed: Observed, cluster: KINDCluster, **facts: Any) -> Observed:
    """Return the same with another object, and the name and claim that follow from it."""
    return replace(observed, **{**_named(cluster.raw), **facts})


def settled(cluster: KINDCluster | None = None, **facts: Any) -> Observed:
    """A KINDCluster that has been brought up, with everything written and nothing left to do."""
    from capk.plan.kindcluster import decide

    start = cluster or kindcluster(annotations=COMPLETE, finalizers=FINALIZER)
    observed = observe(start, **{"engine": RUNNING, "access": ACCESS, **facts})
    if observed.owner and observed.control_plane:
        from capk.plan.secrets import wanted_kubeconfig_secret

        secret = wanted_kubeconfig_secret(observed.control_plane, observed.owner.name, "dev", ACCESS.external)
        observed = replace(observed, secrets={secret["metadata"]["name"]: written(secret)})
    observed = apply(observed, decide(observed))
    return replace(observed, access=None)


# --- workers ---

MACHINE_UID = "99999999-8888-7777-6666-555555555555"
NODE = "dev-workers-x7k2p"
UP = {
    "clusterName": "dev",
    "kubernetesVersion": "v1.36.1",
    "initialization": {"provisioned": True},
    "conditions": [{"type": kind, "status": "True", "reason": kind} for kind in ("Ready", "ClusterCreated")],
}


def kindmachine(
    spec: Mapping[str, Any] | None = None,
    *,
    status: Mapping[str, Any] | None = None,
    annotations: Mapping[str, str] | None = None,
    owned: bool = True,
    **metadata: Any,
) -> KINDMachine:
    reference = {"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Machine", "name": NODE, "uid": "uid-of-machine"}
    ownership = {"ownerReferences": [reference], "labels": {names.CORE_CLUSTER_NAME_LABEL: "dev"}} if owned else {}
    return KINDMachine(
        {
            "apiVersion": names.KIND_MACHINES.api_version,
            "kind": "KINDMachine",
            "metadata": {
                "name": NODE,
                "namespace": "default",
                "uid": MACHINE_UID,
                "generation": 1,
                "resourceVersion": "100",
                "creationTimestamp": (NOW - timedelta(minutes=5)).isoformat(),
                "annotations": dict(annotations or {}),
                **ownership,
                **metadata,
            },
            "spec": dict(spec or {}),
            **({"status": dict(status)} if status else {}),
        }
    )


def owner_machine(version: str | None = "v1.36.1") -> OwnerMachine:
    spec = {"version": version} if version else {}
    return OwnerMachine({"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Machine", "spec": spec})


def worker(
    name: str = NODE,
    *,
    machine: str = MACHINE_UID,
    running: bool = True,
    mark: str | None = UID,
    container_id: str = "w1",
    address: str = "172.18.0.5",
    ipv6: str = "",
) -> NodeFacts:
    """A container that was added to the kind cluster for a machine."""
    addresses = tuple(filter(None, (address, ipv6)))
    found = NodeFacts(name, "worker", running, address, Mark.parse(mark), container_id, machine=machine)
    return replace(found, addresses=addresses)


def cluster_with(*nodes: NodeFacts, cluster: KINDCluster | None = None, **facts: Any) -> Observed:
    """A KINDCluster that is up and answers, with a control plane and these nodes."""
    own = cluster or kindcluster(annotations=COMPLETE, finalizers=FINALIZER, status=UP)
    engine = EngineFacts(was_listed=True, exists=True, nodes=(node(), *nodes))
    return observe(own, **{"engine": engine, "health": HealthFacts(answers=True, reached=True), **facts})


def observe_machine(seen: KINDMachine | None = None, /, **facts: Any) -> MachineObserved:
    """Return an observation of a KINDMachine, by default a new one whose kind cluster is up."""
    usual = {"machine": owner_machine(), "owner": owner_cluster(), "infrastructure": cluster_with()}
    own = seen or kindmachine()
    return MachineObserved(**{"object": own, "now": NOW, **({} if own.is_standalone else usual), **facts})


JOINED = {names.MACHINE_ID_ANNOTATION: MACHINE_UID, names.JOINED_CONTAINER_ANNOTATION: "w1"}
MACHINE_FINALIZER = [names.KIND_MACHINE_FINALIZER]


def joined_machine(spec: Mapping[str, Any] | None = None, **fields: Any) -> KINDMachine:
    """A KINDMachine whose node has joined as container w1, as it is after everything was written."""
    status = {
        "ready": True,
        "initialization": {"provisioned": True},
        "containerID": "w1",
        "nodeName": NODE,
        "conditions": [{"type": "WorkerJoined", "status": "True", "reason": "Joined"}],
    }
    usual = {"status": status, "annotations": JOINED, "finalizers": MACHINE_FINALIZER}
    return kindmachine({"providerID": f"kind://docker/dev/{NODE}", **(spec or {})}, **{**usual, **fields})


def begun_machine(spec: Mapping[str, Any] | None = None, **fields: Any) -> KINDMachine:
    """A KINDMachine whose join has begun and is not known to have ended."""
    usual = {"annotations": {names.MACHINE_ID_ANNOTATION: MACHINE_UID}, "finalizers": MACHINE_FINALIZER}
    return kindmachine(spec, **{**usual, **fields})

"""What is known of an engine in a Pod: facts from its objects, parsed and bounded, and why it cannot be used. Pure.

The kubelet, the scheduler and registries write the texts in them.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from capk.api import names
from capk.api.conditions import find
from capk.api.names import Condition, Reason
from capk.api.objects import Key, Object
from capk.api.podengines import PodEngines
from capk.api.quantities import RESOURCES, Amounts, parse
from capk.diagnosis.failures import Failure
from capk.redaction import one_line, redact

ENGINE_CONTAINER: Final = "engine"
MOST_OF_A_TEXT: Final = 512
NOTHING: Final = Amounts(0, 0, 0)
_MOST_LOOKED_AT: Final = 4096
_BETWEEN_PULLS: Final = "ImagePullBackOff"
_IMAGE_TROUBLES: Final = frozenset(
    {"ErrImagePull", _BETWEEN_PULLS, "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"}
)
_CRASHING: Final = "CrashLoopBackOff"
_OOM_KILLED: Final = "OOMKilled"
_ENDED: Final = ("Failed", "Succeeded")
"""Phases of a Pod whose containers never run again."""
EVENT_SECONDS: Final = 60.0
"""After this time, the cause of a late start is looked for in the Events of the Pod."""


@dataclass(frozen=True)
class Owned:
    """What all objects of an engine hold about their KINDCluster.

    cluster_uid: decides whose it is. cluster: where that KINDCluster is, to find it quickly.
    """

    uid: str
    cluster_uid: str
    cluster: Key
    class_name: str
    is_deleting: bool


@dataclass(frozen=True)
class PodFacts(Owned):
    """A Pod of an engine.

    unready_since: when it was last seen ready, or began to start; None if it is ready.
    has_ended: whether its containers never run again, as after an eviction; `why` then has the cause.
    unscheduled: the scheduler's message while no node has room; empty otherwise.
    waiting: why the container does not run: reason and message. last: reason and exit code of its last end.
    container_id, restarts: another value is another life of the container. memory: its limit. requests: 0 where it
    requests nothing, or in other units than ours. has_claim: whether its data outlives it.
    """

    created_at: datetime
    unready_since: datetime | None = None
    node: str = ""
    is_ready: bool = False
    is_scheduled: bool = False
    has_ended: bool = False
    why: str = ""
    unscheduled: str = ""
    waiting: tuple[str, str] = ("", "")
    last: tuple[str, int] = ("", 0)
    container_id: str = ""
    restarts: int = 0
    memory: str = ""
    requests: Amounts = NOTHING
    has_claim: bool = False

    @property
    def is_usable(self) -> bool:
        """Whether its engine can be asked."""
        return self.is_ready and self.lives

    @property
    def lives(self) -> bool:
        """Whether it runs, or will run: it has neither ended nor is it being deleted."""
        return not (self.is_deleting or self.has_ended)

    @property
    def may_have_nodes(self) -> bool:
        """Whether its container may run, and in it node containers."""
        return self.lives and self.is_scheduled and not self.waiting[0]

    @property
    def has_its_volumes(self) -> bool:
        """Whether it got as far as its image or its first start: the kubelet mounts all volumes before that."""
        return self.waiting[0] in _IMAGE_TROUBLES or self.waiting[0] == _CRASHING

    @property
    def was_out_of_memory(self) -> bool:
        """Whether its container has last ended because it needed more memory than its limit."""
        return self.last[0] == _OOM_KILLED

    @property
    def state(self) -> str:
        """The same in one word, for a metric."""
        if self.is_usable:
            return "ready"
        return "starting" if self.lives else "ending"

    @property
    def life(self) -> tuple[str, str, int]:
        """Differs after each restart."""
        return self.uid, self.container_id, self.restarts


@dataclass(frozen=True)
class ServiceFacts(Owned):
    """The Service of an engine. address: its ClusterIP; empty until it has one. ports: protocols and ports."""

    address: str = ""
    ports: frozenset[tuple[str, int]] = frozenset()


@dataclass(frozen=True)
class EnginePodFacts:
    """The objects of one engine, as far as they are watched; none exist where it is None."""

    pod: PodFacts | None = None
    service: ServiceFacts | None = None
    claim: Owned | None = None

    @property
    def any(self) -> Owned | None:
        """Any of the objects."""
        return self.pod or self.service or self.claim


@dataclass(frozen=True)
class PodEngine:
    """The engine in a Pod of one KINDCluster.

    name: of all its objects, which are in `namespace`. facts: None until all engines have been listed.
    offer: what its class describes; None if the class does not exist any more, or describes something else.
    event: the newest warning of Kubernetes about a Pod that starts slowly; empty if none was looked for.
    is_to_be_stopped: whether the spec asks for that, and there is a kind cluster to be stopped.
    authority: namespace and name of the Secret with the authority of all engines' certificates. is_foreign: whether
    another authority has issued that of this engine. is_authority_edited: whether the Secret holds another authority
    than the one that the provider uses.
    """

    namespace: str
    name: str
    facts: EnginePodFacts | None = None
    offer: PodEngines | None = None
    event: str = ""
    is_to_be_stopped: bool = False
    authority: str = ""
    is_foreign: bool = False
    is_authority_edited: bool = False

    @property
    def is_stopping(self) -> bool:
        """Whether it is to lose its Pod as soon as no node runs in it: only these show whether data would be lost."""
        pod = self.facts.pod if self.facts else None
        return self._may_stop and pod is not None and pod.may_have_nodes

    @property
    def is_stopped(self) -> bool:
        """Whether it has no Pod, or one in which nothing runs, and its data is kept for later."""
        return self._may_stop and not self.is_stopping

    @property
    def _may_stop(self) -> bool:
        return self.is_to_be_stopped and self.keeps_data

    @property
    def keeps_data(self) -> bool:
        """Whether its data stays when its Pod goes."""
        claim = self.facts.claim if self.facts else None
        return claim is not None and not claim.is_deleting

    @property
    def is_gone(self) -> bool:
        """Whether there is no engine that could have a kind cluster: it has never been made, or its data is lost."""
        if self.facts is None or self.facts.claim is not None:
            return False
        return self.facts.pod is None or self.facts.pod.has_ended

    @property
    def host(self) -> str:
        """The name under which the engine and its API servers are reached."""
        return f"{self.name}.{self.namespace}.svc"

    @property
    def title(self) -> str:
        """What messages call it."""
        return f"Pod {self.namespace}/{self.name}"


def pod_facts(raw: Mapping[str, Any]) -> PodFacts:
    """Return the facts of a Pod."""
    pod, status = Object(raw), raw.get("status") or {}
    phase = str(status.get("phase") or "")
    scheduled = _condition(status, "PodScheduled")
    container = _of_engine(status.get("containerStatuses") or ())
    ended = (container.get("lastState") or {}).get("terminated") or {}
    waiting = (container.get("state") or {}).get("waiting") or {}
    volumes = pod.spec.get("volumes") or ()
    return PodFacts(
        **_owned(pod),
        created_at=pod.created_at,
        unready_since=_unready_since(_condition(status, "Ready")),
        node=_text(pod.spec.get("nodeName"), 253),
        is_ready=phase == "Running" and _condition(status, "Ready").get("status") == "True",
        is_scheduled=bool(pod.spec.get("nodeName")),
        has_ended=phase in _ENDED,
        why=_join(status.get("reason"), status.get("message")) if phase in _ENDED else "",
        unscheduled=_unscheduled(scheduled),
        waiting=(_text(waiting.get("reason"), 64), _text(waiting.get("message"))),
        last=(_text(ended.get("reason"), 64), _number(ended.get("exitCode"))),
        container_id=_text(container.get("containerID"), 128),
        restarts=_number(container.get("restartCount")),
        memory=_memory(pod),
        requests=_requests(pod),
        has_claim=any(isinstance(volume, Mapping) and volume.get("persistentVolumeClaim") for volume in volumes),
    )


def service_facts(raw: Mapping[str, Any]) -> ServiceFacts:
    """Return the facts of a Service."""
    service = Object(raw)
    address = _text(service.spec.get("clusterIP"), 64)
    ports = frozenset(
        (_text(port.get("protocol") or "TCP", 8), _number(port.get("port"))) for port in service.spec.get("ports") or ()
    )
    return ServiceFacts(**_owned(service), address="" if address == "None" else address, ports=ports)


def claim_facts(raw: Mapping[str, Any]) -> Owned:
    """Return the facts of a claim for a volume."""
    return Owned(**_owned(Object(raw)))


def engine_failure(engine: PodEngine, now: datetime, conditions: Iterable[Mapping[str, Any]] = ()) -> Failure | None:
    """Return why an engine in a Pod cannot be used; None if it can, or if it is gone.

    conditions: what the KINDCluster reports now.
    """
    pod, claim = (engine.facts.pod, engine.facts.claim) if engine.facts else (None, None)
    if engine.is_stopped:
        message = f"{engine.title} of the engine does not run, because spec.engine.powerState is Stopped. Its volume"
        return Failure(Reason.STOPPED, f"{message} keeps the data. Set Running to start it.")
    if pod is None and claim is not None and claim.is_deleting:
        message = f"{engine.title} of the engine is not created again, because its volume is being deleted."
        return Failure(Reason.ENGINE_UNREACHABLE, f"{message} The data of the kind cluster goes with it.")
    if pod is None and claim is not None:
        return Failure(Reason.STARTING_ENGINE, f"{engine.title} of the engine is created again, with its volume.")
    if pod is None or pod.is_usable:
        return None
    if pod.is_deleting:
        data = "" if pod.has_claim else " The data of the kind cluster goes with it."
        node = f" on node {pod.node}" if pod.node else ""
        return Failure(Reason.ENGINE_UNREACHABLE, f"{engine.title} of the engine is being deleted{node}.{data}")
    if pod.has_ended:
        return Failure(Reason.ENGINE_UNREACHABLE, f"{engine.title} of the engine has ended{_colon(pod.why)}.")
    if pod.unscheduled:
        message = f"No node has room for {engine.title} of the engine: {pod.unscheduled}"
        return Failure(Reason.ENGINE_UNSCHEDULABLE, message)
    return _container_failure(engine, pod, now, find(conditions, Condition.ENGINE_AVAILABLE) or {})


def unanswered(engine: PodEngine, failure: Failure | None) -> Failure | None:
    """Return why the last inventory of an engine in a Pod failed, with what helps there.

    Its Pod was ready: Docker has just ended, and Kubernetes has not noticed yet, or something is between them.
    """
    if failure is None or failure.reason is not Reason.ENGINE_UNREACHABLE:
        return failure
    if engine.is_foreign:
        return replace(failure, message=_foreign(engine))
    message = (
        f"{engine.title} of the engine is ready, but its Docker does not answer. The provider tries again. If that "
        "lasts, look at the logs of the Pod, and at NetworkPolicies between the provider and its port 2376."
    )
    return replace(failure, message=message)


def _foreign(engine: PodEngine) -> str:
    has_claim = engine.facts is not None and engine.facts.claim is not None
    otherwise = (
        "delete the Pod: the provider creates it again with another certificate, and the kind cluster continues."
        if has_claim
        else "the kind cluster is lost: delete the KINDCluster and create it again."
    )
    return (
        f"{engine.title} of the engine and the provider do not trust each other: another authority has issued the "
        f"certificate of the engine than the one in Secret {engine.authority}, which was edited or replaced. Put its "
        f"former content back, for example from a backup, and restart the provider. If there is none, {otherwise}"
    )


def edited_authority(secret: str) -> str:
    """Return the warning about an authority that will not be the one of the engines that run.

    secret: its namespace and name.
    """
    return (
        f"Secret {secret} does not hold the authority that the provider uses: someone has edited it. The provider "
        "reaches all engines in Pods until it is restarted, and no longer after that. Delete the Secret while it runs: "
        "it then writes the former content again."
    )


def _container_failure(engine: PodEngine, pod: PodFacts, now: datetime, reported: Mapping[str, Any]) -> Failure:
    reason, message = pod.waiting
    if reason in _IMAGE_TROUBLES:
        return Failure(Reason.ENGINE_IMAGE_NOT_FOUND, _no_image(engine, pod, reported))
    if pod.was_out_of_memory:
        return Failure(Reason.OUT_OF_MEMORY, _out_of_memory(engine, pod))
    if reason == _CRASHING:
        last = f"{pod.last[0]}, exit code {pod.last[1]}" if pod.last[0] else ""
        log = f"`kubectl logs --previous -n {engine.namespace} {engine.name}` shows its output."
        message = f"{engine.title} of the engine has crashed {pod.restarts} times{_colon(last)}. {log}"
        return Failure(Reason.ENGINE_CRASHING, message)
    if not pod.is_scheduled:
        return Failure(Reason.STARTING_ENGINE, f"{engine.title} of the engine waits for the scheduler.")
    told = _colon(engine.event or message) if is_late(pod, now) else ""
    return Failure(Reason.STARTING_ENGINE, f"{engine.title} of the engine starts on node {pod.node}{told}.")


def _no_image(engine: PodEngine, pod: PodFacts, reported: Mapping[str, Any]) -> str:
    """Return why the image cannot be pulled.

    Between two attempts, the kubelet reports less than the cause, which was reported after the last one.
    """
    reason, message = pod.waiting
    what, before = f"The image of {engine.title} cannot be pulled on node {pod.node}", str(reported.get("message"))
    if reason == _BETWEEN_PULLS and before.startswith(what):
        return before
    remedy = f"If spec.pods.image of KINDEngineClass {pod.class_name} is wrong, ask the administrator to correct it and"
    return f"{what}{_colon(message or reason)}. {remedy} to delete the Pod: the provider creates it again."


def _out_of_memory(engine: PodEngine, pod: PodFacts) -> str:
    limit = f" of {pod.memory}" if pod.memory else ""
    what = f"{engine.title} of the engine was ended because it needed more than its limit{limit} of memory."
    return f"{what} {memory_remedy(pod)}"


def memory_remedy(pod: PodFacts) -> str:
    """Return how an engine gets more memory, and what that costs."""
    data = "continues with its data" if pod.has_claim else "loses its data"
    return f"Raise spec.engine.resources.memory and delete the Pod; the kind cluster then {data}."


def is_late(pod: PodFacts, now: datetime) -> bool:
    """Return whether a Pod that has a node has not been ready for so long that its Events may hold the cause.

    Right after the end of its container, the newest Event is that of a probe that was cut short.
    """
    since = pod.unready_since or pod.created_at
    return pod.is_scheduled and not pod.is_usable and (now - since).total_seconds() > EVENT_SECONDS


def shown_of_event(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is read of an Event: root on a node may write any number of them, as large as objects may be."""
    return {name: _text(event.get(name)) for name in ("lastTimestamp", "eventTime", "message")}


def newest_message(events: Iterable[Mapping[str, Any]]) -> str:
    """Return the message of the newest Event; empty without any."""
    when = [(str(one.get("lastTimestamp") or one.get("eventTime") or ""), one) for one in events]
    return _text(max(when, key=lambda one: one[0])[1].get("message")) if when else ""


def lost_engine(engine: PodEngine) -> str:
    """Return what became of an engine that is gone, as sentences."""
    pod = engine.facts.pod if engine.facts else None
    cause = f" ended{_colon(pod.why)}" if pod else " was deleted, for example by a drain of its node"
    return f"{engine.title} of the engine{cause}. The data of the kind cluster went with it."


def _owned(obj: Object) -> dict[str, Any]:
    where = obj.annotations.get(names.ENGINE_CLUSTER_NAMESPACE_ANNOTATION, "")
    name = obj.annotations.get(names.ENGINE_CLUSTER_NAME_ANNOTATION, "")
    return {
        "uid": obj.uid,
        "cluster_uid": obj.labels.get(names.ENGINE_CLUSTER_LABEL, ""),
        "cluster": Key(names.KIND_CLUSTERS.kind, where, name),
        "class_name": obj.annotations.get(names.ENGINE_CLASS_ANNOTATION, ""),
        "is_deleting": obj.is_deleting,
    }


def _condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    return next((one for one in status.get("conditions") or () if one.get("type") == kind), {})


def _unready_since(condition: Mapping[str, Any]) -> datetime | None:
    if condition.get("status") == "True":
        return None
    try:
        since = datetime.fromisoformat(_text(condition.get("lastTransitionTime"), 64))
    except ValueError:
        return None
    return since if since.tzinfo else None


def _unscheduled(condition: Mapping[str, Any]) -> str:
    if condition.get("status") != "False":
        return ""
    return _text(condition.get("message")) or _text(condition.get("reason"), 64) or "no reason given"


def _of_engine(containers: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the engine's own container, or its status: a webhook may have put others beside it."""
    named = (one for one in containers if one.get("name") == ENGINE_CONTAINER)
    return next(named, containers[0] if containers else {})


def _memory(pod: Object) -> str:
    container = _of_engine(pod.spec.get("containers") or ())
    return _text(((container.get("resources") or {}).get("limits") or {}).get("memory"), 32)


def _requests(pod: Object) -> Amounts:
    requests = (_of_engine(pod.spec.get("containers") or ()).get("resources") or {}).get("requests") or {}

    def of(name: str) -> int:
        with suppress(ValueError):
            return parse(name, requests.get(name, ""))
        return 0

    return Amounts(*map(of, RESOURCES))


def _join(reason: Any, message: Any) -> str:
    return ": ".join(part for part in (_text(reason, 64), _text(message).rstrip(".")) if part)


def _colon(text: str) -> str:
    return f": {text.rstrip('.')}" if text else ""


def _text(value: Any, most: int = MOST_OF_A_TEXT) -> str:
    return one_line(redact(str(value or "")[:_MOST_LOOKED_AT]))[:most]


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0

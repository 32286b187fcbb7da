"""Gathers the observed state from store, inventory, records and health. Decides nothing, writes nothing."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

from capk.api import names
from capk.api.objects import Key, KINDCluster, KINDControlPlane, Object, OwnerCluster, SecretFacts
from capk.errors import ApiError, NotFound
from capk.kindconfig.config import CONTROL_PLANE
from capk.kindconfig.registries import AUTHORITY_KEY
from capk.kube.protocol import KubeApi
from capk.manager.discovery import Discovery
from capk.manager.enginepods import EnginePods, is_pod_place
from capk.manager.engines import Engine, Engines
from capk.manager.facts import authority_of, bears_mark, engine_facts, health_facts, ids_of, now, secret_facts
from capk.manager.placement import Placement
from capk.manager.record import Record
from capk.manager.records import Records
from capk.manager.relations import Relations
from capk.plan.creation import awaited_authorities
from capk.plan.enginepods import unanswered
from capk.plan.facts import Access, Authorities, EngineFacts, Workers
from capk.plan.machines import workers_of
from capk.plan.marks import Mark
from capk.plan.observed import ControlPlaneObserved, Observed
from capk.plan.ownership import Ownership, leads_to_own, ownership
from capk.plan.parts import SECRET
from capk.plan.plan import AddWorker, Create
from capk.plan.repair import first_addresses
from capk.plan.secrets import FOREIGN_SECONDS, config_secret_name, kubeconfig_secret_name
from capk.runtime.store import Store
from capk.workload.health import HealthMonitor


class Observer:
    """Reads memory, and asks the API server only for what no watch delivers.

    These are an owner Cluster that is not in the store yet, ConfigMaps, foreign Secrets that hold a wanted name, Events
    of an engine in a Pod that starts slowly, and the issuer of the certificate of one that does not answer.
    """

    def __init__(
        self,
        *,
        store: Store,
        client: KubeApi,
        engines: Engines,
        placement: Placement,
        pods: EnginePods,
        relations: Relations,
        discovery: Discovery,
        records: Records,
        health: HealthMonitor,
        foreign: "ForeignSecrets",
    ) -> None:
        self._store = store
        self._client = client
        self._engines = engines
        self._placement = placement
        self._pods = pods
        self._relations = relations
        self._discovery = discovery
        self._records = records
        self._health = health
        self._foreign = foreign

    async def kindcluster(self, key: Key) -> Observed | None:
        """Return the observed state of a KINDCluster; None if it is gone."""
        raw = self._store.get(key)
        if raw is None:
            return None
        cluster = KINDCluster(raw)
        owner = await self._owner(cluster)
        await self._pods.look_for_event(cluster.uid)
        where, place = self._engines.of_cluster(cluster), self._placement.key_of(cluster)
        if is_pod_place(place) and where and where.inventory.latest and where.inventory.latest.error:
            await self._pods.look_for_issuer(cluster.uid)
        name = self._name(cluster, where)
        engine = self._engine_facts(cluster, where, name)
        record = self._records.of(cluster)
        self._records.stored(cluster)
        health = health_facts(
            self._health.health(cluster.uid),
            proven_at=record.proven_at,
            unanswered_at=record.unanswered_at,
            unanswered_because=record.unanswered_because,
        )
        # A health probe got this answer; the creation's own result has no text.
        if health.answers and health.said:
            self._records.answered(record)
        self._note_addresses(record, engine, is_answering=bool(health.answers))
        observed = Observed(
            object=cluster,
            now=now(),
            policy=self._engines.policy_of(cluster),
            cluster_api_installed=self._relations.core_version is not None,
            owner=owner,
            control_plane=self._relations.control_plane_of(owner),
            claim=self._relations.claim(key),
            copies_claim=self._relations.copies_claim(key),
            cluster_name=name,
            rival=self._relations.rival(cluster),
            is_being_removed=self._is_being_removed(cluster, place, name),
            is_held=self._relations.is_held(cluster, ids_of(engine)),
            is_adopted_first=self._relations.is_adopted_first(cluster, ids_of(engine)),
            engine_class=self._placement.class_of(cluster),
            overridden_class=self._placement.overridden(cluster),
            engine_refusal=self._placement.refusal(
                cluster, self._relations.neighbours(cluster), partial(self._relations.first_of_class, cluster)
            ),
            engine=engine,
            pod_engine=self._placement.in_pod(cluster),
            operation=self._records.operation(cluster.uid),
            goals=self._records.goals(record),
            made=record.made,
            completed=record.completed,
            first_addresses=record.addresses,
            is_unfinished=record.unfinished is not None,
            never_began=record.never_began,
            remains=_remains(cluster, record, where, name),
            creation=record.creation,
            access=record.access if record.access and record.access.leads_to(engine.nodes) else None,
            validity=record.validity,
            refused=record.refused,
            kube_system_uid=record.kube_system_uid,
            first_kube_system_uid=record.first_kube_system_uid,
            unedited_kube_system_uid=record.unedited_kube_system_uid,
            recheck=not cluster.is_deleting and self._records.is_access_old(cluster),
            health=health,
            needed_by_others=self._needed_by_others(place, name, engine),
            secrets=self._secrets(key.namespace, name),
            foreign_secrets=await self._foreign.among(key.namespace, _secret_names(name, owner)),
            refusals={**self._control_plane_refusals(owner), **self._records.backoff.refusals(record)},
            held_back=self._records.backoff.held_back(record),
            contested=self._records.backoff.contested(record),
            workers=self._workers(cluster, place, name, engine),
        )
        return replace(
            observed, authorities=await read_authorities(self._client, key.namespace, awaited_authorities(observed))
        )

    async def control_plane(self, key: Key) -> ControlPlaneObserved | None:
        """Return the observed state of a KINDControlPlane; None if it is gone."""
        raw = self._store.get(key)
        if raw is None:
            return None
        control_plane = KINDControlPlane(raw)
        owner = await self._owner(control_plane)
        infrastructure = self._relations.infrastructure_of(owner)
        name = self._relations.name(infrastructure.key) if infrastructure else ""
        is_going = infrastructure is not None and infrastructure.is_deleting
        record = self._records.find(infrastructure.uid) if infrastructure and not is_going else None
        return ControlPlaneObserved(
            object=control_plane,
            now=now(),
            policy=self._engines.policy_of(infrastructure),
            owner=owner,
            infrastructure=infrastructure,
            cluster_name=name,
            access=await self._access(infrastructure) if record and record.access else None,
            secrets=self._secrets(key.namespace, name),
            foreign_secrets=await self._foreign.among(key.namespace, _secret_names(name, owner)),
            refusals=self._records.backoff.refusals(self._records.of(control_plane)),
            held_back=self._records.backoff.held_back(self._records.of(control_plane)),
        )

    def _note_addresses(self, record: Record, engine: EngineFacts, *, is_answering: bool) -> None:
        """Remember the addresses of a kind cluster that answers: a repair needs them, stored or not."""
        has_answered = is_answering or (record.access is not None and record.access.answered)
        if record.completed is not None and record.request is None and not record.addresses and has_answered:
            record.addresses = first_addresses(engine, Mark(record.uid, record.completed))

    def _is_being_removed(self, cluster: KINDCluster, place: str, name: str) -> bool:
        if any(self._is_gone(record) for record in self._records.creators(place, name)):
            return True
        claim = self._relations.claim(cluster.key)
        inherits = claim is not None and claim.uid != cluster.uid
        return claim is not None and inherits and self._records.is_being_removed(claim.uid, place, name)

    def _is_gone(self, record: Record) -> bool:
        raw = self._store.get(record.key)
        return raw is None or Object(raw).uid != record.uid

    def _workers(self, cluster: KINDCluster, place: str, name: str, engine: EngineFacts) -> Workers:
        machines = self._relations.machines.of(cluster)
        records = {machine.uid: self._records.find(machine.uid) for machine in machines}
        joined = {uid: record.joined for uid, record in records.items() if record}

        def is_wanted(join: AddWorker) -> bool:
            return not self._relations.is_held(cluster, {join.mark.uid})

        under_way = frozenset(self._records.joining(place, name, is_wanted))
        leaving = self._records.leaving(place, name)
        return workers_of(name, engine.nodes or (), machines, joined=joined, under_way=under_way, leaving=leaving)

    def _engine_facts(self, cluster: KINDCluster, engine: Engine | None, name: str) -> EngineFacts:
        in_pod = self._placement.in_pod(cluster)
        if engine is None and in_pod is not None and in_pod.is_gone:
            return EngineFacts(was_listed=True)
        if engine is None:
            return EngineFacts(failure=self._placement.failure(cluster))
        facts = replace(
            engine_facts(engine.inventory.latest, name, lists_nodes=engine.containers.command is not None),
            gives_lowest_address=engine.containers.gives_lowest_address,
        )
        return replace(facts, id="", failure=unanswered(in_pod, facts.failure)) if in_pod else facts

    def _name(self, cluster: KINDCluster, engine: Engine | None) -> str:
        """Return the name of the object's kind cluster; during a deletion, marks override the name.

        Otherwise an edited claim would leave a kind cluster behind.
        """
        name, latest = self._relations.name(cluster.key), engine.inventory.latest if engine else None
        if not cluster.is_deleting or latest is None:
            return name
        clusters, uid = latest.clusters, cluster.uid
        if name in clusters and bears_mark(clusters[name], uid):
            return name
        return min((one for one, entry in clusters.items() if bears_mark(entry, uid)), default=name)

    def _needed_by_others(self, place: str, name: str, engine: EngineFacts) -> frozenset[str]:
        planes = sum(node.role == CONTROL_PLANE for node in engine.nodes or ())
        return self._relations.addresses_of_others(place, name) if planes > 1 else frozenset()

    async def _access(self, infrastructure: KINDCluster | None) -> Access | None:
        """Return what was read of a kind cluster that is known to be the object's: it may be read to find that out."""
        observed = await self.kindcluster(infrastructure.key) if infrastructure else None
        if observed is None or ownership(observed) not in (Ownership.OURS, Ownership.MIXED):
            return None
        return observed.access if leads_to_own(observed) else None

    def _control_plane_refusals(self, owner: OwnerCluster | None) -> dict[str, str]:
        """Return which Secrets of the KINDControlPlane the API server refuses: the KINDCluster waits for them."""
        control_plane = self._relations.control_plane_of(owner)
        record = self._records.find(control_plane.uid) if control_plane else None
        refusals = self._records.backoff.refusals(record) if record else {}
        return {part: words for part, words in refusals.items() if part.startswith(SECRET)}

    async def _owner(self, current: Object) -> OwnerCluster | None:
        """Return the owner Cluster by name; Cluster API repairs a changed uid."""
        owner, reference = self._relations.owner(current), current.owner_cluster_reference
        if owner is not None or reference is None:
            return owner
        # The object may arrive before the provider discovers Cluster API.
        version = self._relations.core_version or str(reference["apiVersion"]).rpartition("/")[2]
        try:
            raw = await self._client.get(names.clusters(version), current.namespace, reference["name"])
        except NotFound:
            return None
        self._discovery.found(version)
        self._store.put(names.CLUSTERS, raw)
        return OwnerCluster(raw)

    def _secrets(self, namespace: str, cluster_name: str) -> dict[str, SecretFacts]:
        found = self._store.find(names.SECRET_CLUSTER_LABEL, cluster_name, names.SECRETS)
        return {key.name: secret_facts(self._store.get(key)) for key in found if key.namespace == namespace}


async def read_authorities(client: KubeApi, namespace: str, wanted: Iterable[str]) -> Authorities:
    """Read these ConfigMaps, which are needed once and therefore not watched.

    Raises ApiError if the API server does not answer.
    """
    texts, missing = {}, {}
    for name in wanted:
        try:
            texts[name] = authority_of(await client.get(names.CONFIG_MAPS, namespace, name))
        except NotFound:
            missing[name] = "does not exist"
        except KeyError:
            missing[name] = f"has no key {AUTHORITY_KEY}"
        except ApiError as error:
            if not error.is_refusal:
                raise
            missing[name] = f"cannot be read ({error.message})"
    return Authorities(texts, missing)


def _remains(cluster: KINDCluster, record: Record, engine: Engine | None, name: str) -> str:
    """Return the name of the kind cluster that a creation has begun before the object got its present name."""
    if isinstance(record.unfinished, Create) and record.unfinished.name != name:
        return record.unfinished.name
    latest, claimed = engine.inventory.latest if engine else None, cluster.claimed_name
    if latest is None or claimed in (None, name):
        return ""
    entry = latest.clusters.get(claimed)
    return claimed if entry and bears_mark(entry, cluster.uid) else ""


def _secret_names(cluster_name: str, owner: OwnerCluster | None) -> list[str]:
    """Return the names of the Secrets that our objects want to write for a kind cluster."""
    config = [config_secret_name(cluster_name)]
    return [*config, kubeconfig_secret_name(owner.name)] if owner else config


class ForeignSecrets:
    """Names of wanted Secrets that exist and belong to someone else.

    No watch shows when such a name becomes free, because the Secret lacks our label. So it is checked periodically.
    """

    def __init__(self, client: KubeApi, clock: Callable[[], float]) -> None:
        self._client = client
        self._clock = clock
        self._found: dict[tuple[str, str], float] = {}
        self._wanted: set[tuple[str, str]] = set()
        """The names that were asked for or found since the last `expire`."""

    def found(self, namespace: str, name: str) -> None:
        """Record that the Secret of that name is not ours."""
        self._found[namespace, name] = self._clock()
        self._wanted.add((namespace, name))

    def freed(self, namespace: str, name: str) -> None:
        """Record that the Secret of that name is ours, or was deleted."""
        self._found.pop((namespace, name), None)

    def expire(self) -> None:
        """Have every name checked again, and forget those that no object wants any more."""
        self._found = dict.fromkeys(self._wanted & self._found.keys(), float("-inf"))
        self._wanted = set()

    async def among(self, namespace: str, wanted: Iterable[str]) -> frozenset[str]:
        """Return the names that belong to someone else; check names whose last check is over a minute old."""
        known = [name for name in wanted if (namespace, name) in self._found]
        self._wanted.update((namespace, name) for name in known)
        for name in known:
            if self._clock() - self._found[namespace, name] >= FOREIGN_SECONDS:
                await self._check(namespace, name)
        return frozenset(name for name in known if (namespace, name) in self._found)

    async def _check(self, namespace: str, name: str) -> None:
        try:
            await self._client.get(names.SECRETS, namespace, name)
        except NotFound:
            self.freed(namespace, name)
            return
        except ApiError as error:
            # A provider that may not read it cannot replace it either. Nothing else of the object has to wait for that.
            if not error.is_refusal:
                raise
        self.found(namespace, name)

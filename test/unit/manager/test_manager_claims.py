"""Related objects, owners of names, and facts that are forgotten with an object."""

from typing import Any

import pytest

from capk.api import names
from capk.api.names import CLUSTERS, KIND_CLUSTERS, KIND_CONTROL_PLANES, SECRETS
from capk.api.objects import Key, KINDCluster
from capk.engine.place import SHARED
from capk.manager.cache import new_store
from capk.manager.relations import Relations
from test.unit.plan.builders import kindcluster

OWNED = {
    "infrastructureRef": {"kind": "KINDCluster", "name": "dev"},
    "controlPlaneRef": {"kind": "KINDControlPlane", "name": "dev"},
}


class World:
    def __init__(self) -> None:
        self.store = new_store()
        self.relations = Relations(self.store, lambda cluster: cluster.labels.get("place", SHARED))
        self._version = 100

    def put(
        self, name: str = "dev", uid: str = "", spec: Any = None, *, claim: str = "", by: str = "", **more: Any
    ) -> Key:
        """Store a KINDCluster. claim: the name in its claim. by: the uid in it, its own if not given."""
        self._version += 1
        uid = uid or f"uid-of-{name}"
        claimed = {names.CLAIM_ANNOTATION: claim, names.CLAIM_ID_ANNOTATION: by or uid} if claim else {}
        annotations = {**claimed, **more.pop("annotations", {})}
        raw = kindcluster(spec, name=name, uid=uid, resourceVersion=str(self._version), annotations=annotations, **more)
        self.store.put(KIND_CLUSTERS, raw.raw)
        return raw.key

    def other(self, resource: Any, name: str = "dev", *, labels: Any = None, spec: Any = None, **more: Any) -> Any:
        self._version += 1
        metadata = {"name": name, "namespace": "default", "uid": f"{resource.kind}-{name}", **more}
        metadata |= {"resourceVersion": str(self._version), "labels": labels or {}}
        raw = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "spec": spec or {}}
        self.store.put(resource, raw)
        return raw

    def drop(self, key: Key) -> None:
        self._version += 1
        raw = self.store.get(key)
        gone = {**raw, "metadata": {**raw["metadata"], "resourceVersion": str(self._version)}}
        self.store.apply_event(KIND_CLUSTERS, "DELETED", gone)

    def rival(self, key: Key) -> str | None:
        return self.relations.rival(KINDCluster(self.store.get(key)))


@pytest.fixture
def world() -> World:
    return World()


def test_names_are_complete_before_the_first_decision(world: World) -> None:
    younger = world.put("a", spec={"clusterName": "shared"})
    elder = world.put("z", spec={"clusterName": "shared"}, creationTimestamp="2020-01-01T00:00:00Z")
    assert world.rival(younger) == "default/z"
    assert world.rival(elder) is None
    assert world.relations.keys_wanting(["shared"]) == {younger, elder}
    assert world.relations.name(younger) == "shared"


def test_object_that_is_not_there_has_no_name(world: World) -> None:
    assert world.relations.name(Key("KINDCluster", "default", "x")) == ""
    assert world.relations.claim(Key("KINDCluster", "default", "x")) is None


def test_copy_gets_its_claim_when_the_original_goes_and_loses_it_when_that_comes_back(world: World) -> None:
    original = world.put("dev", "original", claim="dev")
    copy = world.put("copy", "copy", {"clusterName": "dev"}, claim="dev", by="original")
    assert world.relations.claim(original).uid == "original"
    assert world.relations.claim(copy) is None
    assert world.rival(copy) == "default/dev"
    world.drop(original)
    assert world.relations.claim(copy).uid == "original"
    assert world.rival(copy) is None
    world.put("dev", "original-2", claim="dev", by="original")
    assert world.relations.claim(copy) is not None
    world.put("dev", "original", claim="dev")
    assert world.relations.claim(copy) is None


def test_order_in_which_original_and_copy_arrive_does_not_matter(world: World) -> None:
    copy = world.put("copy", "copy", {"clusterName": "dev"}, claim="dev", by="original")
    assert world.relations.claim(copy) is not None
    world.put("dev", "original", claim="dev")
    assert world.relations.claim(copy) is None


def test_only_an_object_that_may_act_is_a_rival(world: World) -> None:
    world.relations.core_version = "v1beta2"
    first = {"creationTimestamp": "2020-01-01T00:00:00Z"}
    shared = {"clusterName": "shared"}
    mine = world.put("mine", spec={**shared, "standalone": True})
    for annotation in (names.MANAGED_BY_ANNOTATION, names.PAUSED_ANNOTATION, names.DELETE_FOR_MOVE_ANNOTATION):
        world.put("other", spec={**shared, "standalone": True}, annotations={annotation: ""}, **first)
        assert world.rival(mine) is None
    world.put("other", spec=shared, **first)
    assert world.rival(mine) is None
    world.put("other", spec=shared, owner="dev", **first)
    assert world.rival(mine) == "default/other"


def test_name_that_was_changed_frees_the_old_one(world: World) -> None:
    key = world.put(spec={"clusterName": "old"})
    world.put(spec={"clusterName": "new"})
    assert world.relations.keys_wanting(["old"]) == set()
    assert world.relations.keys_wanting(["new"]) == {key}


class TestPlaces:
    """Two KINDClusters with one name and labels that name the places of their kind clusters."""

    ELDER = {"creationTimestamp": "2020-01-01T00:00:00Z"}
    REMOTE = {"labels": {"place": "remote"}}

    def both(self, world: World, **elder: Any) -> tuple[Key, Key]:
        """Return a KINDCluster at the shared place, and an older one of the same name elsewhere."""
        elder = {"namespace": "others", **self.ELDER, **self.REMOTE, **elder}
        return world.put("dev"), world.put("elder", spec={"clusterName": "dev"}, **elder)

    def test_kind_clusters_of_one_name_on_two_engines_do_not_compete(self, world: World) -> None:
        here, there = self.both(world)
        assert world.rival(here) is None
        assert world.relations.keys_for_names(SHARED, ["dev"]) == {here}
        assert world.relations.keys_for_names("remote", ["dev"]) == {there}
        assert there not in world.relations.keys_for_event(KIND_CLUSTERS, world.store.get(here))

    def test_name_is_unique_on_every_engine(self, world: World) -> None:
        here, there = self.both(world)
        beside = world.put("beside", spec={"clusterName": "dev"}, namespace="third", **self.REMOTE)
        assert world.rival(beside) == "others/elder"
        assert world.rival(here) is world.rival(there) is None
        assert world.relations.keys_at("remote") == {there, beside}

    def test_name_is_unique_in_a_namespace_because_of_the_secrets(self, world: World) -> None:
        here, there = self.both(world, namespace="default")
        assert world.rival(here) == "default/elder"
        assert there in world.relations.keys_for_event(KIND_CLUSTERS, world.store.get(here))

    def test_claim_elsewhere_does_not_hold_the_name_here(self, world: World) -> None:
        here, _ = self.both(world, claim="dev")
        assert not world.relations.is_held(KINDCluster(world.store.get(here)), ())
        world.put("elder", spec={"clusterName": "dev"}, namespace="others", claim="dev")
        assert world.relations.is_held(KINDCluster(world.store.get(here)), ())

    def test_change_of_the_place_frees_the_name_there(self, world: World) -> None:
        here, there = self.both(world)
        world.put("elder", spec={"clusterName": "dev"}, namespace="others", **self.ELDER)
        assert world.rival(here) == "others/elder"
        assert world.relations.places() == {SHARED}
        world.drop(there)
        world.drop(here)
        assert world.relations.places() == set()


class TestEvents:
    def test_object_concerns_itself_its_sibling_and_who_waits_for_its_name(self, world: World) -> None:
        world.other(CLUSTERS, spec=OWNED)
        dev = world.put(owner="dev")
        waits = world.put("waits", spec={"clusterName": "dev"}, namespace="other")
        found = world.relations.keys_for_event(KIND_CLUSTERS, world.store.get(dev))
        assert found == {dev, waits, Key("KINDControlPlane", "default", "dev")}

    def test_cluster_concerns_what_it_names(self, world: World) -> None:
        raw = world.other(CLUSTERS, spec=OWNED)
        found = world.relations.keys_for_event(CLUSTERS, raw)
        assert found == {Key("KINDCluster", "default", "dev"), Key("KINDControlPlane", "default", "dev")}
        older = names.clusters("v1beta1")
        assert world.relations.keys_for_event(older, raw) == found

    @pytest.mark.parametrize("labels", [{names.SECRET_CLUSTER_LABEL: "dev"}, {}])
    def test_secret_concerns_its_cluster_though_its_label_was_stripped(self, world: World, labels: Any) -> None:
        dev = world.put()
        world.put("far", spec={"clusterName": "dev"}, namespace="other")
        raw = world.other(SECRETS, "dev-config", labels=labels)
        assert world.relations.keys_for_event(SECRETS, raw) == {dev}

    def test_secret_of_someone_else_concerns_nobody(self, world: World) -> None:
        world.put()
        assert world.relations.keys_for_event(SECRETS, world.other(SECRETS, "else")) == set()

    def test_control_plane_and_infrastructure_find_each_other(self, world: World) -> None:
        raw = world.other(CLUSTERS, spec=OWNED)
        dev = world.put(owner="dev")
        reference = {"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster", "name": "dev", "uid": "u"}
        world.other(KIND_CONTROL_PLANES, ownerReferences=[reference])
        owner = world.relations.owner(KINDCluster(world.store.get(dev)))
        assert owner is not None
        assert owner.name == raw["metadata"]["name"]
        assert world.relations.control_plane_of(owner).name == "dev"
        assert world.relations.infrastructure_of(owner).key == dev
        assert world.relations.siblings(dev) == {Key("KINDControlPlane", "default", "dev")}


def test_thousand_objects_that_came_and_went_leave_nothing(world: World) -> None:
    for number in range(1000):
        by = "another" if number % 3 else ""
        key = world.put(f"c{number}", spec={"clusterName": f"n{number % 10}"}, claim=f"n{number % 10}", by=by)
        world.put(f"c{number}", spec={"clusterName": f"m{number % 10}"})
        world.drop(key)
    kept = vars(world.relations)
    sizes = {name: len(value) for name, value in kept.items() if isinstance(value, dict | set)}
    assert set(sizes.values()) == {0}

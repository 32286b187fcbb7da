"""The provider as a whole, in virtual time: its loops, its start, and what it costs at rest."""

import asyncio
import copy
import logging
from dataclasses import replace

import kubernetes_validate
import pytest

from capk.api import names
from capk.api.names import IDENTITY_ANNOTATION, KIND_CLUSTERS, KIND_CONTROL_PLANES, SECRETS
from capk.engine.enginecli import UnreadableAnswer
from capk.engine.nodescripts import READ_KUBELET
from capk.errors import CapkError, Unreachable
from test.provider.world import NO_ANSWER, World, kubeconfig, now, quiet, trouble

pytestmark = pytest.mark.virtual_time

HALF_A_LINE = UnreadableAnswer(["docker", "inspect"], "Unterminated string starting at: line 1 column 30")


class TestRest:
    @pytest.mark.rule("C28")
    async def test_cluster_comes_up_costs_nothing_at_rest_and_goes(self, tmp_path):
        world = World(tmp_path)
        async with world.running():
            world.add()
            await world.ready()
            assert await quiet(world, 500) == 0
            world.delete()
            await world.gone()
        assert world.engine.containers == {}

    async def test_owned_cluster_comes_up_and_costs_nothing_at_rest(self, tmp_path):
        world = World(tmp_path, capi="v1beta2")
        async with world.running():
            world.add_owned()
            await world.ready()
            assert world.kube.find(SECRETS, "dev-kubeconfig")
            writes = len(world.kube.writes)
            await asyncio.sleep(4 * 3600)
            assert len(world.kube.writes) == writes

    async def test_secrets_and_events_satisfy_the_schemas_of_kubernetes(self, tmp_path):
        world = World(tmp_path, capi="v1beta2")
        async with world.running():
            world.add_owned()
            await world.ready()
        written = [one for one in world.kube.objects.values() if one["kind"] in ("Secret", "Event")]
        assert {one["kind"] for one in written} == {"Secret", "Event"}
        for one in written:
            kubernetes_validate.validate(one, kubernetes_validate.latest_version(), strict=True)

    async def test_restart_beside_a_cluster_that_is_up_writes_nothing(self, tmp_path):
        world = World(tmp_path)
        async with world.running():
            world.add()
            await world.ready()
        writes = len(world.kube.writes)
        async with world.running():
            await asyncio.sleep(300)
        assert len(world.kube.writes) == writes
        assert len(world.engine.called("create")) == 1

    async def test_nothing_is_kept_of_objects_that_are_gone(self, tmp_path):
        world = World(tmp_path)
        async with world.running() as app:
            for number in range(5):
                world.add(f"c{number}")
            await world.ready("c4")
            for number in range(5):
                world.delete(f"c{number}")
            await asyncio.sleep(60)
            assert len(app.records) == 0
            assert not app.lanes._operations
            assert not app.health._watched
            assert not app.relations._names
            assert not app.store.keys(SECRETS)

    async def test_nothing_is_kept_of_what_was_moved_away_or_never_had_a_finalizer(self, tmp_path):
        world = World(tmp_path)
        async with world.running() as app:
            world.add("moved")
            await world.ready("moved")
            assert app.records.find(world.get("moved")["metadata"]["uid"]).access is not None
            world.annotate("moved", DELETE_FOR_MOVE="")
            world.add("paused", annotations={names.PAUSED_ANNOTATION: ""})
            world.add("refused", spec={"clusterName": "a" * 80})
            await asyncio.sleep(5)
            assert not world.get("refused")["metadata"].get("finalizers")
            for name in ("moved", "paused", "refused"):
                world.vanish(name)
            await asyncio.sleep(5)
            assert len(app.records) == 0
            assert not app.lanes._operations
            assert not app.health._watched
        assert len(world.engine.containers) == 1


class TestLoops:
    async def test_half_a_line_from_the_engine_is_a_condition_until_it_answers(self, tmp_path):
        world = World(tmp_path)
        async with world.running():
            world.add()
            await world.ready()
            world.engine.down = HALF_A_LINE
            await asyncio.sleep(20)
            status, _, message = world.condition("EngineAvailable")
            assert (status, world.condition("Ready")[0]) == ("False", "False")
            assert "cannot be read" in message
            world.engine.down = None
            await world.ready()
            world.engine.containers.clear()
            await asyncio.sleep(20)
            assert world.reason() == "Missing"

    async def test_half_a_line_at_the_start_does_not_keep_the_provider_from_starting(self, tmp_path):
        world = World(tmp_path)
        world.engine.down = HALF_A_LINE
        async with world.running():
            world.add()
            await asyncio.sleep(20)
            assert world.condition("EngineAvailable")[0] == "False"
            world.engine.down = None
            await world.ready()

    @pytest.mark.parametrize("loop", ["engine", "resync", "health"])
    async def test_loop_that_fails_ends_the_provider_with_its_cause(self, tmp_path, caplog, loop):
        world = World(tmp_path, sync_period_seconds=30)

        async def broken(*_):
            raise KeyError("a bug of ours")

        expected = pytest.raises(CapkError, match=r"watch on the container engine|resync|workload API servers")
        with expected as failed:
            async with world.running() as app:
                world.add()
                await world.ready()
                if loop == "engine":
                    world.containers.nodes = broken
                elif loop == "resync":
                    app.cache.relist = broken
                else:
                    world._ask_health = broken
                    app.health._ask = broken
                await asyncio.sleep(600)
                raise AssertionError("the body must be cancelled")
        assert "a bug of ours" in str(failed.value)
        assert [record for record in caplog.records if record.exc_info and record.levelno == logging.CRITICAL]

    async def test_api_server_that_is_away_during_a_resync_ends_nothing(self, tmp_path):
        world = World(tmp_path, sync_period_seconds=30)
        async with world.running():
            world.add()
            await world.ready()
            world.kube.fail = [Unreachable("list", "kindclusters", 0, "connection refused") for _ in range(3)]
            await asyncio.sleep(120)
            assert world.reason() == "Ready"

    async def test_api_server_that_is_away_for_hours_ends_neither_the_provider_nor_a_creation(self, tmp_path):
        world = World(tmp_path)
        world.kind.create_seconds = 5000.0
        async with world.running() as app:
            world.add()
            await world.creating()
            outage = Unreachable("list", "kindclusters", 0, "no route to host")
            world.kube.refuse = lambda *_: outage
            world.kube.fail = [outage] * 100_000
            for _ in range(120):
                await asyncio.sleep(60)
                assert (app.engine_heartbeat(), app.resync_heartbeat(), app.lag()) == (None, None, None)
            world.kube.refuse, world.kube.fail = None, []
            await world.ready()
        assert len(world.engine.called("create")) == 1

    async def test_engine_that_hangs_holds_no_object_up(self, tmp_path):
        """A worker waits two seconds for any call of the engine."""
        world = World(tmp_path, capi="v1beta2")
        async with world.running():
            world.add("up", spec={"standalone": True})
            await world.ready("up")

            async def hangs(cluster=None):
                await asyncio.sleep(120)
                return

            world.containers.nodes = hangs
            for number in range(40):
                world.add(f"c{number:02}", annotations={names.PAUSED_ANNOTATION: ""})
            took = await world.until(lambda: world.condition("Paused", "c39")[0] == "True", 30)
            assert took < 10

    async def test_provider_starts_beside_an_engine_that_hangs(self, tmp_path):
        """Otherwise its liveness probe would restart it until the engine answers."""
        world = World(tmp_path)

        async def hangs(cluster=None):
            await asyncio.sleep(10_000)

        world.containers.nodes = hangs
        world.add()
        began = asyncio.get_running_loop().time()
        async with world.running() as app:
            assert asyncio.get_running_loop().time() - began < 90
            await asyncio.sleep(600)
            assert app.engine_heartbeat() is None

    async def test_failed_operation_that_nobody_expected_is_in_the_log(self, tmp_path, caplog):
        world = World(tmp_path)

        async def broken(*_, **__):
            raise KeyError("a bug of ours")

        world.kind.create_cluster = broken
        async with world.running():
            world.add()
            await asyncio.sleep(8)
            assert "See the provider's log" in world.condition("ClusterCreated")[2]
        assert [record for record in caplog.records if record.exc_info and "a bug of ours" in record.getMessage()]


class TestStatus:
    async def test_reason_of_a_newer_release_is_replaced_and_hides_nothing(self, tmp_path):
        """A rollback finds conditions with reasons that the older release does not know."""
        world = World(tmp_path, capi="v1beta2")
        async with world.running():
            world.add_owned()
            await world.ready()
        for kind in (KIND_CLUSTERS, KIND_CONTROL_PLANES):
            status = copy.deepcopy(world.get(resource=kind)["status"])
            for condition in status["conditions"]:
                condition |= {"status": "False", "reason": "ReasonOfANewerRelease"}
            world.kube.edit(kind, "dev", {"status": status})
        world.engine.down = trouble("Cannot connect to the Docker daemon", "docker", "ps")
        async with world.running():
            await asyncio.sleep(60)
            assert world.reason() == "EngineUnreachable"
            world.engine.down = None
            await world.ready()
            await world.until(lambda: world.condition("Available", resource=KIND_CONTROL_PLANES)[0] == "True")


class TestPort:
    async def test_port_that_changes_at_each_start_reaches_secret_and_status_and_is_warned_of(self, tmp_path):
        world = World(tmp_path)
        networking = {"apiServerPort": -1, "apiServerAddress": "127.0.0.1"}
        async with world.running():
            world.add(spec={"standalone": True, "networking": networking})
            await world.ready()
            assert world.condition("ClusterCreated")[2] == ""
            world.kind.text = kubeconfig("https://127.0.0.1:40999")
            (container_id, node), *_ = world.engine.containers.items()
            again = replace(node, started_at="later", api_port=("127.0.0.1", 40999))
            world.engine.containers[container_id] = again
            await asyncio.sleep(60)
            assert world.read("dev-config")["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:40999"
            assert world.get()["status"]["endpoints"]["external"] == "https://127.0.0.1:40999"
            assert world.get()["spec"]["controlPlaneEndpoint"]["port"] == 40001
            assert world.reason() == "Ready"
            assert "https://127.0.0.1:40999" in world.condition("ClusterCreated")[2]
            assert await quiet(world, 500) == 0


class TestKubeconfigs:
    @pytest.mark.rule("C14")
    async def test_kubeconfigs_are_forgotten_after_a_minute(self, tmp_path):
        world = World(tmp_path)
        async with world.running() as app:
            world.add()
            await world.ready()
            record = app.records.find(world.get()["metadata"]["uid"])
            assert record.access is not None
            await asyncio.sleep(61)
            assert (record.access, record.external) == (None, None)

    async def test_kubeconfig_of_a_new_cluster_is_written_before_others_begin(self, tmp_path, monkeypatch):
        """Otherwise it would be forgotten in a long queue, and read again: it was, with 1,000 objects."""
        monkeypatch.setattr("capk.manager.records.ACCESS_SECONDS", 0.5)
        world = World(tmp_path, workers=1, max_concurrent_creates=100)
        world.kind.create_seconds = 0.01
        async with world.running():
            for number in range(100):
                world.add(f"c{number}")
            for number in range(100):
                await world.until(lambda name=f"c{number}": world.reason(name) == "Ready")
            assert world.engine.called("kubeconfig") == []

    @pytest.mark.rule("C14")
    async def test_what_a_node_adds_to_its_kubeconfig_reaches_no_secret(self, tmp_path):
        world = World(tmp_path, capi="v1beta2")
        world.kind.text = kubeconfig(tokenFile="/var/run/secrets/kubernetes.io/serviceaccount/token", username="x")
        async with world.running():
            world.add_owned()
            await world.ready()
            for secret in ("dev-config", "dev-kubeconfig"):
                user = world.read(secret)["users"][0]["user"]
                assert set(user) == {"client-certificate-data", "client-key-data"}

    async def test_endpoint_of_an_ipv6_cluster_is_a_url(self, tmp_path):
        world = World(tmp_path)
        world.kind.text = kubeconfig("https://[::1]:40001")
        async with world.running():
            world.add()
            await world.ready()
            assert world.get()["spec"]["controlPlaneEndpoint"] == {"host": "::1", "port": 40001}
            assert world.get()["status"]["endpoints"]["external"] == "https://[::1]:40001"

    async def test_certificate_that_was_renewed_in_a_node_reaches_the_secret_within_a_day(self, tmp_path):
        world = World(tmp_path)
        async with world.running():
            world.add()
            await world.ready()
            before = world.read("dev-config")
            world.kind.text = kubeconfig(token="t0ken").replace("client-key-data", "x-key-data")
            await asyncio.sleep(24 * 3600)
            assert world.read("dev-config") != before


class TestReadiness:
    async def test_after_a_reboot_all_clusters_are_started_together_and_none_is_ready_before_it_answers(self, tmp_path):
        world = World(tmp_path, max_concurrent_creates=12)
        world.kind.create_seconds = 1.0
        async with world.running():
            for number in range(12):
                world.add(f"c{number:02}")
            for number in range(12):
                await world.ready(f"c{number:02}")
            world.answer = NO_ANSWER
            world.engine.stop_nodes()
            began = now()
            await asyncio.sleep(900)
            starts = world.engine.called("start")
            assert len(starts) == 12
            assert max(starts) - began < 20
            assert {world.condition("Ready", f"c{number:02}")[0] for number in range(12)} == {"False"}
            assert world.condition("APIServerAvailable", "c00")[:2] == ("False", "NotAnswering")

    async def test_dead_api_server_is_shown_on_both_objects_and_nothing_is_done_to_its_nodes(self, tmp_path):
        world = World(tmp_path, capi="v1beta2", health_period_seconds=30.0)
        answer = world.answer
        async with world.running():
            world.add_owned()
            await world.ready()
            await asyncio.sleep(120)
            world.engine.calls.clear()
            world.answer = NO_ANSWER
            assert await world.until(lambda: world.reason() == "NotAnswering") <= 61
            await asyncio.sleep(3)
            assert "connection refused" in world.condition("APIServerAvailable")[2]
            assert world.condition("Available", resource=KIND_CONTROL_PLANES)[0] == "False"
            writes = len(world.kube.writes)
            await asyncio.sleep(3600)
            assert len(world.kube.writes) == writes
            # The certificate of the kubelet is looked at about once an hour.
            assert {call for call, *_ in world.engine.calls} == {"exec", f"sh {READ_KUBELET}"}
            assert len(world.engine.called("exec")) <= 2
            world.engine.calls.clear()
            world.answer = answer
            assert await world.until(lambda: world.reason() == "Ready") <= 61
            await asyncio.sleep(3)
            assert world.condition("Available", resource=KIND_CONTROL_PLANES)[0] == "True"
            assert {call for call, *_ in world.engine.calls} <= {"kubeconfig"}

    @pytest.mark.parametrize("removed", ["the identity", "all annotations"])
    async def test_api_server_that_dies_after_annotations_were_removed_is_noticed(self, tmp_path, removed):
        """The provider restores them, and no event follows its own write."""
        world = World(tmp_path)
        async with world.running():
            world.add()
            await world.ready()
            await asyncio.sleep(100)
            there = world.get()["metadata"]["annotations"] if removed == "all annotations" else [IDENTITY_ANNOTATION]
            world.kube.edit(KIND_CLUSTERS, "dev", {"metadata": {"annotations": dict.fromkeys(there)}})
            await asyncio.sleep(20)
            assert world.reason() == "Ready"
            world.answer = NO_ANSWER
            assert await world.until(lambda: world.reason() == "NotAnswering") <= 61

    async def test_api_server_that_was_never_reached_leaves_readiness_to_the_engine(self, tmp_path):
        world = World(tmp_path)
        world.answer = NO_ANSWER
        async with world.running():
            world.add()
            await world.ready()
            assert world.condition("APIServerAvailable")[1] == "NotReachable"

    async def test_worker_that_ends_again_and_again_is_started_ever_less_often(self, tmp_path):
        world = World(tmp_path)
        async with world.running():
            world.add(spec={"nodes": [{"role": "control-plane"}, {"role": "worker"}]})
            await world.ready()
            start = world.containers.start
            worker = next(node.container_id for node in world.engine.of() if node.role == "worker")

            async def start_and_end(node_names):
                await start(node_names)
                asyncio.get_running_loop().call_later(0.2, world.engine.stop_nodes, worker)

            world.containers.start = start_and_end
            world.engine.stop_nodes(worker)
            world.engine.calls.clear()
            await asyncio.sleep(300)
            assert 3 <= len(world.engine.called("start")) <= 8
            assert len(world.engine.called("kubeconfig")) <= 8
            assert world.condition("NodesRunning")[0] == "False"

    async def test_failed_repair_says_why(self, tmp_path):
        world = World(tmp_path)
        async with world.running():
            world.add()
            await world.ready()

            async def broken(node_names):
                raise trouble("Error response from daemon: something new", "docker", "start")

            world.containers.start = broken
            world.engine.stop_nodes()
            await asyncio.sleep(30)
            assert "something new" in world.condition("NodesRunning")[2]

"""The steps in which a worker joins, and what its failures say."""

import pytest
import yaml

from capk.api.names import Reason
from capk.diagnosis.failures import classify
from capk.engine.enginecli import UnreadableAnswer
from capk.engine.nodescripts import JOIN_FILE
from capk.engine.progress import Step
from capk.engine.worker import JOIN_SECONDS, READY_COMMAND, START_SECONDS, Worker, WorkerNodes
from capk.errors import CommandFailed, CommandTimedOut, InvalidSpec
from test.unit.engine.nodes_double import CONTROL_PLANE, NEW, TOKEN, NodesDouble, failed
from test.unit.virtual_time import now, run

pytestmark = pytest.mark.virtual_time
MOUNT = {"hostPath": "/dev/null", "containerPath": "/etc/capk/claim/5d6a6d3e.1", "readOnly": True}


def worker(**more: object) -> Worker:
    fields = {"cluster": "rec", "node": "rec-w1", "machine": "m-1", "image": None, "mounts": (MOUNT,), "labels": {}}
    fields |= {"taints": (), "patches": (), "provider_id": "kind://docker/rec/rec-w1"}
    return Worker(**{**fields, **more})


def join(engine: NodesDouble, **more: object) -> list[Step]:
    steps: list[Step] = []

    async def whole() -> None:
        created = await WorkerNodes(engine).create(CONTROL_PLANE, worker(**more), steps.append)
        assert created.container_id == NEW
        await created.join(steps.append)

    run(whole())
    return steps


def test_worker_joins_in_the_order_of_kind_with_a_token_of_its_own() -> None:
    engine = NodesDouble()
    steps = join(engine, labels={"tier": "front"})
    assert [step.reason for step in steps] == [Reason.PREPARING_NODE, Reason.JOINING_NODE]
    assert engine.steps == [
        "cat in control plane",
        "run",
        "logs",
        "cat in new",
        "read registries in control plane",
        "write registries in new",
        "kubectl delete in control plane",
        "kubeadm token in control plane",
        f"write {JOIN_FILE} 0600",
        "kubeadm join in new",
        "kubeadm token in control plane",
    ]
    written = yaml.safe_load(engine.written[JOIN_FILE])
    assert written["discovery"]["bootstrapToken"]["token"] == TOKEN
    assert {"name": "node-labels", "value": "tier=front"} in written["nodeRegistration"]["kubeletExtraArgs"]
    assert {"name": "node-ip", "value": "172.18.0.9"} in written["nodeRegistration"]["kubeletExtraArgs"]


def test_api_server_is_asked_where_kubeadm_will_ask_it() -> None:
    engine = NodesDouble()
    assert run(WorkerNodes(engine).reaches_api_server(CONTROL_PLANE))
    assert engine.commands == [READY_COMMAND]
    engine.failing["kubectl get in control plane"] = failed("The connection to the server was refused")
    assert not run(WorkerNodes(engine).reaches_api_server(CONTROL_PLANE))
    engine.failing["kubectl get in control plane"] = CommandFailed(["docker", "exec"], "no kubectl", 127)
    with pytest.raises(CommandFailed):
        run(WorkerNodes(engine).reaches_api_server(CONTROL_PLANE))


def test_no_command_line_holds_the_token() -> None:
    engine = NodesDouble()
    join(engine)
    assert ["kubeadm", "token", "delete", TOKEN.partition(".")[0]] in [list(call)[:4] for call in engine.commands]
    assert not [call for call in [*engine.commands, engine.arguments] if TOKEN in " ".join(call)]


def test_own_configuration_of_containerd_stays_with_another_image() -> None:
    engine = NodesDouble()
    join(engine)
    assert [call[-1] for call in engine.commands if "write-containerd" in call] == ["all"]
    other = NodesDouble()
    other.siblings[NEW] = other.siblings[NEW].__class__("mine:v1", "4567", "kind", ("172.18.0.9",))
    join(other, image="mine:v1")
    assert [call[-1] for call in other.commands if "write-containerd" in call] == ["registries"]


def test_image_is_pulled_only_if_the_engine_lacks_it() -> None:
    engine = NodesDouble()
    engine.has_images = False
    join(engine)
    assert not [step for step in engine.steps if step.startswith("pull")]
    engine = NodesDouble()
    engine.has_images = False
    steps = join(engine, image="mine:v1@sha256:12")
    assert engine.steps[1] == "pull mine:v1@sha256:12"
    assert steps[0] == Step(Reason.ENSURING_NODE_IMAGE, "Ensuring node image (mine:v1)")


def test_podman_gets_a_volume_and_full_names() -> None:
    engine = NodesDouble("podman")
    join(engine, image="mine:v1")
    assert "create volume rec-w1 m-1" in engine.steps
    assert "a-volume:/var:suid,exec,dev" in engine.arguments
    assert engine.arguments[-1] == "docker.io/library/mine:v1"


@pytest.mark.parametrize("own", ["v1.35.8", "v1.3.6", "v2.36.3"])
def test_image_of_another_minor_version_is_refused_before_the_join(own: str) -> None:
    engine = NodesDouble()
    engine.versions[NEW] = own
    with pytest.raises(InvalidSpec, match=f"spec.image: mine:v1 holds Kubernetes {own}, but .* v1.36.3"):
        join(engine, image="mine:v1")
    assert "kubeadm join in new" not in engine.steps


def test_version_file_without_an_end_of_line_and_patch_releases_are_fine() -> None:
    engine = NodesDouble()
    engine.versions = {CONTROL_PLANE: "v1.36.0-rc.1\n", NEW: "v1.36.4"}
    join(engine)
    assert "kubeadm join in new" in engine.steps


@pytest.mark.parametrize(
    "wrong", [{"labels": {"a": "b c"}}, {"taints": ("x",)}, {"patches": ("kind: JoinConfiguration\nevil: 1",)}]
)
def test_specification_of_no_use_is_refused_before_there_is_a_container(wrong: dict[str, object]) -> None:
    engine = NodesDouble()
    with pytest.raises(InvalidSpec):
        join(engine, **wrong)
    assert "run" not in engine.steps


@pytest.mark.parametrize("text", ["", "kind: JoinConfiguration\n", "\0"])
def test_unusable_configuration_of_a_control_plane_is_a_failure_that_quotes_nothing(text: str) -> None:
    engine = NodesDouble()
    engine.kubeadm = text
    with pytest.raises(UnreadableAnswer, match="its output cannot be read"):
        join(engine)
    assert "run" not in engine.steps


def test_node_that_does_not_start_has_as_much_time_as_with_kind() -> None:
    engine, ended = NodesDouble(), []
    engine.output = "Failed to create inotify object"

    async def whole() -> None:
        created = await WorkerNodes(engine).create(CONTROL_PLANE, worker(), lambda step: None)
        with pytest.raises(CommandFailed) as failure:
            await created.join(lambda step: None)
        ended.append(now())
        assert classify(failure.value).reason is Reason.INOTIFY_LIMIT

    run(whole())
    assert START_SECONDS <= ended[0] < START_SECONDS + 1


def test_output_of_an_image_cannot_stop_the_provider() -> None:
    """An expression that backtracks takes most of a minute for this line."""
    engine = NodesDouble()
    engine.output = f"{'Reached target ' * 70_000}\n[  OK  ] Reached target multi-user.target - Multi-User System.\n"
    join(engine)
    assert "kubeadm join in new" in engine.steps


@pytest.mark.parametrize(
    "error", [failed(f"error: bad {TOKEN}\n"), CommandTimedOut(["docker"], f"error: bad {TOKEN}", JOIN_SECONDS)]
)
def test_failed_join_keeps_the_words_of_kubelet_and_kubeadm_but_not_the_token(error: CommandFailed) -> None:
    engine = NodesDouble()
    engine.failing["kubeadm join in new"] = error
    with pytest.raises(type(error)) as failure:
        join(engine)
    assert "the kubelet's last words" in failure.value.output
    assert "error: bad" in failure.value.output
    assert TOKEN not in f"{failure.value.output}{failure.value}"
    assert engine.steps[-1] == "kubeadm token in control plane"


def test_token_that_cannot_be_deleted_does_not_fail_the_join() -> None:
    engine = NodesDouble()

    def fail_next() -> None:
        engine.failing["kubeadm token in control plane"] = failed("connection refused")

    engine.during["kubeadm join in new"] = fail_next
    join(engine)
    assert engine.steps[-1] == "kubeadm token in control plane"


def test_name_conflict_is_told_as_one() -> None:
    engine = NodesDouble()
    engine.failing["run"] = failed('Conflict. The container name "/rec-w1" is already in use by container "x"', 125)
    with pytest.raises(CommandFailed) as failure:
        join(engine)
    assert classify(failure.value).reason is Reason.NAME_CONFLICT


def test_drain_and_deletion_are_bounded_and_tolerate_a_missing_node() -> None:
    engine = NodesDouble()
    run(WorkerNodes(engine).delete_node(CONTROL_PLANE, "rec-w1"))
    run(WorkerNodes(engine).drain(CONTROL_PLANE, "rec-w1"))
    delete, drain = (list(call) for call in engine.commands)
    assert {"--ignore-not-found", "--request-timeout=10s"} <= set(delete)
    assert {"--force", "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=60s"} <= set(drain)

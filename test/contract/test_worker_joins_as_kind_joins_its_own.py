"""What each supported release of kind asks of the engine for a worker is what we ask for one that joins later.

A release of kind that changes its flags, its files or its calls fails here, before it breaks a join.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import pytest
import yaml

from capk.api.names import MACHINE_CONTAINER_LABEL
from capk.engine.inspection import PASSED_ON, Sibling
from capk.engine.nodescripts import JOIN_FILE, VERSION_FILE
from capk.engine.worker import JOIN_COMMAND
from capk.engine.workerflags import Container, run_arguments
from capk.kindconfig.join import Joining, join_configuration, parse_join
from test.contract.engines import KINDS, config
from test.contract.recorder import IMAGE, Recording, record

KIND_TOKEN = "abcdef.0123456789abcdef"
"""The token that kind gives every cluster; ours are different."""
MACHINE = "5d6a6d3e-6f0b-4c1c-9d50-2f3c5b1d7c11"
MOUNTS = (
    {"hostPath": "/srv/data", "containerPath": "/data"},
    {"hostPath": "/srv/cache", "containerPath": "/cache", "readOnly": True, "selinuxRelabel": True},
    {"hostPath": "/srv/up", "containerPath": "/up", "propagation": "HostToContainer"},
    {"hostPath": "/srv/both", "containerPath": "/both", "readOnly": True, "propagation": "Bidirectional"},
    {"hostPath": "/srv/none", "containerPath": "/none", "propagation": "None"},
)
PATCH = "kind: JoinConfiguration\nnodeRegistration:\n  kubeletExtraArgs: {v: '3'}\n"
PROXIES = {"HTTP_PROXY": "http://user:secret@proxy:3128", "NO_PROXY": "example.org"}
NETWORKS: Mapping[str, tuple[dict[str, Any], dict[str, str]]] = {
    "ipv4": ({}, {}),
    "dual": (
        {"ipFamily": "dual", "dnsSearch": ["a.example", "b.example"]},
        {**PROXIES, "KIND_EXPERIMENTAL_CONTAINERD_SNAPSHOTTER": "native"},
    ),
    "ipv6": ({"ipFamily": "ipv6", "apiServerAddress": "::1"}, {}),
}
"""Purpose -> kind's networking, and variables in its environment."""
LATEST = "v1.36.3"
VERSIONS = {"v1beta4": LATEST, "v1beta3": "v1.30.4", "v1beta2": "v1.22.17"}
ENGINES = ("docker", "podman")

Record = Callable[..., Recording]

every_release = pytest.mark.parametrize("program", sorted(KINDS))
every_engine = pytest.mark.parametrize("engine", ENGINES)
every_network = pytest.mark.parametrize("network", NETWORKS)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Record:
    """Returns what a release of kind asks of an engine for a control plane and a worker."""

    @cache
    def recording(
        program: str, engine: str, network: str = "ipv4", version: str = LATEST, control_planes: int = 1
    ) -> Recording:
        networking, environment = NETWORKS[network]
        worker = {"role": "worker", "extraMounts": [dict(mount) for mount in MOUNTS]}
        nodes = [*({"role": "control-plane"} for _ in range(control_planes)), worker]
        wanted = config(nodes=nodes, networking=networking, kubeadmConfigPatches=[PATCH])
        command = KINDS[program]
        assert command, f"{program} is missing in bin/"
        return record(command, engine, tmp_path_factory.mktemp(engine), wanted, version=version, **environment)

    return recording


@every_release
@every_engine
@every_network
def test_container_of_a_worker_is_run_with_the_flags_of_kind(
    recorded: Record, program: str, engine: str, network: str
) -> None:
    recording = recorded(program, engine, network)
    runs = recording.runs()
    volume = "volume-of-a-node" if engine == "podman" else ""
    container = Container("dev-worker", "dev", MACHINE, IMAGE, MOUNTS, volume)
    template = parse_join(recording.configurations["dev-control-plane"])
    sibling = sibling_of(runs["dev-control-plane"])
    ours = run_arguments(engine, container, sibling, has_ipv6=template.has_ipv6)
    assert with_values(without_label(ours), sibling.environment) == sorted(runs["dev-worker"]), recording.printed
    assert "secret" not in " ".join(ours)


@every_release
@every_engine
def test_volume_of_a_node_is_created_as_kind_creates_it(recorded: Record, program: str, engine: str) -> None:
    calls = [call for call in recorded(program, engine).calls if call[0] == "volume"]
    expected = [["volume", "create", "--label", f"{node}=true"] for node in ("dev-control-plane", "dev-worker")]
    assert sorted(calls) == (expected if engine == "podman" else [])


@every_release
@pytest.mark.parametrize(
    ("engine", "network", "version"),
    [
        *((engine, network, LATEST) for engine in ENGINES for network in NETWORKS),
        *(("docker", "ipv4", version) for version in VERSIONS.values()),
    ],
)
def test_worker_joins_with_the_configuration_and_the_calls_of_kind(
    recorded: Record, program: str, engine: str, network: str, version: str
) -> None:
    recording = recorded(program, engine, network, version)
    template = parse_join(recording.configurations["dev-control-plane"])
    joining = Joining(("172.18.0.3", "fc00::3"), f"kind://{engine}/dev/dev-worker", {}, (), ())
    ours = yaml.safe_load(join_configuration(template, joining, KIND_TOKEN))
    documents = yaml.safe_load_all(recording.configurations["dev-worker"])
    theirs = next(document for document in documents if document["kind"] == "JoinConfiguration")
    assert version == VERSIONS[template.version]
    assert with_sorted_arguments(ours) == with_sorted_arguments(theirs)
    calls = recording.executed("dev-worker")
    assert [*JOIN_COMMAND, *template.flags] in calls, recording.printed
    assert ["cat", VERSION_FILE] in calls
    assert ["cp", "/dev/stdin", JOIN_FILE] in calls


@every_release
@every_network
def test_worker_joins_several_control_planes_by_the_name_of_their_load_balancer(
    recorded: Record, program: str, network: str
) -> None:
    """Each control plane may be the one that is read. A load balancer that gets another address keeps its name."""
    recording = recorded(program, "docker", network, control_planes=3)
    joining = Joining(("172.18.0.3", "fc00::3"), "kind://docker/dev/dev-worker", {}, (), ())
    documents = yaml.safe_load_all(recording.configurations["dev-worker"])
    theirs = next(document for document in documents if document["kind"] == "JoinConfiguration")
    assert theirs["discovery"]["bootstrapToken"]["apiServerEndpoint"] == "dev-external-load-balancer:6443"
    for number in ("", "2", "3"):
        template = parse_join(recording.configurations[f"dev-control-plane{number}"])
        ours = yaml.safe_load(join_configuration(template, joining, KIND_TOKEN))
        assert with_sorted_arguments(ours) == with_sorted_arguments(theirs)
    sibling = sibling_of(recording.runs()["dev-control-plane"])
    container = Container("dev-worker", "dev", MACHINE, IMAGE, MOUNTS, "")
    ours = run_arguments("docker", container, sibling, has_ipv6=network != "ipv4")
    assert with_values(without_label(ours), sibling.environment) == sorted(recording.runs()["dev-worker"])


def sibling_of(control_plane: list[str]) -> Sibling:
    """Return what `inspect` would show of a control plane that was run with these arguments."""
    pairs = [control_plane[at + 1].partition("=") for at, word in enumerate(control_plane) if word == "-e"]
    environment = {name: value for name, has_value, value in pairs if has_value and name in PASSED_ON}
    snapshotter = NETWORKS["dual"][1]["KIND_EXPERIMENTAL_CONTAINERD_SNAPSHOTTER"]
    if environment:
        environment["KIND_EXPERIMENTAL_CONTAINERD_SNAPSHOTTER"] = snapshotter
    return Sibling(image=IMAGE, image_id="", network="kind", environment=environment)


def without_label(arguments: list[str]) -> list[str]:
    """Return arguments without the label that kind's own nodes do not have."""
    at = arguments.index(f"{MACHINE_CONTAINER_LABEL}={MACHINE}")
    assert arguments[at - 1] == "--label"
    return [*arguments[: at - 1], *arguments[at + 1 :]]


def with_values(arguments: list[str], environment: Mapping[str, str]) -> list[str]:
    """Return arguments in a fixed order, with the values of variables that ours pass on by name, as kind does it.

    kind passes on one variable by name as well: that of the snapshotter.
    """
    by_value = {name: f"{name}={value}" for name, value in environment.items() if not name.startswith("KIND_EXP")}
    return sorted(by_value.get(word, word) for word in arguments)


def with_sorted_arguments(document: dict[str, Any]) -> dict[str, Any]:
    arguments = document["nodeRegistration"]["kubeletExtraArgs"]
    if isinstance(arguments, list):
        document["nodeRegistration"]["kubeletExtraArgs"] = sorted(arguments, key=lambda entry: entry["name"])
    return document

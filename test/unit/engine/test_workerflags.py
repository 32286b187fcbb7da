"""The flags of a worker, from recorded outputs of `inspect`. The contract test compares them with those of kind."""

import json
from pathlib import Path
from typing import Any

import pytest

from capk.engine import inspection
from capk.engine.inspection import Sibling, Unreadable
from capk.engine.workerflags import Container, full_name, run_arguments

ENGINES = Path(__file__).parents[2] / "fixtures" / "engines"


def control_plane(recording: str, **host: Any) -> dict[str, Any]:
    found = json.loads((ENGINES / f"{recording}.json").read_text())
    document = next(one for one in found if one["Name"].endswith("-control-plane"))
    return {**document, "HostConfig": {**document["HostConfig"], **host}}


def container(**more: Any) -> Container:
    return Container(**{"name": "dev-w1", "cluster": "dev", "machine": "m", "image": "a:v1", "mounts": (), **more})


@pytest.mark.parametrize(
    ("recording", "image", "image_id"),
    [
        ("docker-20.10", "kindest/node:v1.36.1", "d627deb491244fc2"),
        ("docker-28", "kindest/node:v1.36.1", "b29814cf5792e684"),
        ("podman-4.3", "docker.io/kindest/node:v1.36.3", "d627deb491244fc2"),
        ("podman-5.8", "docker.io/kindest/node:v1.36.1", "b29814cf5792e684"),
        ("podman-6", "docker.io/kindest/node:v1.36.1", "b29814cf5792e684"),
    ],
)
def test_recorded_control_plane_shows_what_all_nodes_share(recording: str, image: str, image_id: str) -> None:
    found = inspection.sibling(control_plane(recording), "kind")
    assert found.image == image
    assert found.image_id.startswith(image_id)
    assert found.network == "kind"
    assert found.addresses
    assert found.environment == {}
    assert not found.shares_user_namespace
    assert not found.has_device_mapper


def test_what_varies_with_the_machine_is_taken_over() -> None:
    document = control_plane("docker-20.10", UsernsMode="host", Devices=[{"PathInContainer": "/dev/fuse"}])
    document["Mounts"] = [*document["Mounts"], {"Type": "bind", "Destination": "/dev/mapper"}]
    document["Config"] = {
        **document["Config"],
        "Env": [
            *(
                "KUBECONFIG=/etc/kubernetes/admin.conf",
                "PATH=/bin",
                "LD_PRELOAD=/x",
                "KIND_DNS_SEARCH=a.example b.example",
            ),
            *("HTTP_PROXY=http://user:secret@proxy", "no_proxy=", "KIND_EXPERIMENTAL_CONTAINERD_SNAPSHOTTER=native"),
        ],
    }
    found = inspection.sibling(document, "kind")
    assert "secret" not in repr(found)
    assert found.environment == {
        "KIND_DNS_SEARCH": "a.example b.example",
        "HTTP_PROXY": "http://user:secret@proxy",
        "no_proxy": "",
        "KIND_EXPERIMENTAL_CONTAINERD_SNAPSHOTTER": "native",
    }
    flags = run_arguments("docker", container(), found, has_ipv6=True)
    text = " ".join(flags)
    for part in (
        "--userns=host",
        "--volume /dev/mapper:/dev/mapper",
        "--device /dev/fuse",
        "-e HTTP_PROXY -e no_proxy",
    ):
        assert part in text
    assert "secret" not in text
    assert text.count("SNAPSHOTTER") == 1
    assert text.count("--sysctl=net.ipv6.conf.all.") == 2
    assert "--userns=host" not in run_arguments("podman", container(volume="v"), found, has_ipv6=False)


@pytest.mark.parametrize("value", ["a\nb", "a\0b", "x" * 20_000])
def test_variable_that_no_line_can_hold_is_refused_without_quoting_it(value: str) -> None:
    document = control_plane("docker-20.10")
    document["Config"] = {**document["Config"], "Env": [f"HTTP_PROXY={value}"]}
    with pytest.raises(Unreadable, match=r"^the variable HTTP_PROXY is too long or has more than one line$"):
        inspection.sibling(document, "kind")


def test_network_of_kind_comes_first_and_a_name_is_never_an_option() -> None:
    document = control_plane("docker-20.10")
    end = document["NetworkSettings"]["Networks"]["kind"]
    document["NetworkSettings"] = {"Networks": {"a": end, "kind": end}}
    assert inspection.sibling(document, "kind").network == "kind"
    assert inspection.sibling(document, "other").network == "a"
    document["NetworkSettings"] = {"Networks": {"--privileged": end}}
    with pytest.raises(Unreadable):
        inspection.sibling(document, "kind")


def test_mounts_and_label_are_those_of_the_machine() -> None:
    mounts = ({"hostPath": "/a", "containerPath": "/b", "readOnly": True, "propagation": "Bidirectional"},)
    flags = run_arguments("docker", container(mounts=mounts), Sibling("", "", "kind"), has_ipv6=False)
    assert flags[-2:] == ["--volume=/a:/b:ro,rshared", "a:v1"]
    assert "kind.infrastructure.cluster.x-k8s.io/machine=m" in flags


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("node:v1", "docker.io/library/node:v1"),
        ("kindest/node:v1", "docker.io/kindest/node:v1"),
        ("docker.io/kindest/node:v1", "docker.io/kindest/node:v1"),
        ("localhost/node", "localhost/node"),
        ("registry:5000/a/node:v1", "registry:5000/a/node:v1"),
        ("kindest/node:v1@sha256:12", "docker.io/kindest/node@sha256:12"),
        ("registry:5000/node:v1@sha256:12", "registry:5000/node@sha256:12"),
    ],
)
def test_podman_gets_the_full_name_of_an_image(image: str, expected: str) -> None:
    assert full_name(image) == expected

import base64
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capk.errors import InvalidSpec
from capk.kindconfig.registries import authority_names, check_containerd_patches, containerd_patches, hosts_files
from test.unit.characters import texts

PEM = "-----BEGIN CERTIFICATE-----\n" + base64.b64encode(b"one" * 40).decode() + "\n-----END CERTIFICATE-----\n"
CERTS = "/etc/containerd/certs.d"


def spec(*mirrors: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"registries": {"mirrors": list(mirrors)}, **fields}


def mirror(host: str = "docker.io", *endpoints: str, **fields: Any) -> dict[str, Any]:
    return {"host": host, "endpoints": list(endpoints or ("http://mirror:5000",)), **fields}


def hosts(one: dict[str, Any], authorities: dict[str, str] | None = None) -> dict[str, Any]:
    """The `hosts.toml` of a mirror, as containerd reads it."""
    files = hosts_files(spec(one), authorities or {})
    return tomllib.loads(next(text for path, text in files.items() if path.endswith("/hosts.toml")))


@pytest.mark.parametrize("without", [{}, {"registries": None}, {"registries": {}}, {"registries": {"mirrors": []}}])
def test_spec_without_mirrors_needs_nothing(without: Any) -> None:
    assert hosts_files(without, {}) == {}
    assert containerd_patches(without) == []
    assert authority_names(without) == ()


@pytest.mark.parametrize(
    ("host", "folder"),
    [
        ("docker.io", "docker.io"),
        ("localhost:5001", "localhost:5001"),
        ("[fd00::1]:5000", "[fd00::1]:5000"),
        ("*", "_default"),
    ],
)
def test_each_host_has_a_folder_as_containerd_looks_for_it(host: str, folder: str) -> None:
    assert list(hosts_files(spec(mirror(host)), {})) == [f"{CERTS}/{folder}/hosts.toml"]


def test_endpoints_are_asked_in_their_order_and_the_registry_last() -> None:
    toml = hosts(mirror("docker.io", "http://b:5000", "https://a.example/cache"))
    assert "server" not in toml
    assert list(toml["host"]) == ["http://b:5000", "https://a.example/cache"]
    assert all(one == {"capabilities": ["pull", "resolve"]} for one in toml["host"].values())


def test_registry_is_not_asked_when_only_the_endpoints_may_be() -> None:
    toml = hosts(mirror("*", "http://b:5000", "http://a:5000", only=True))
    assert toml["server"] == "http://a:5000"
    assert toml["capabilities"] == ["pull", "resolve"]
    assert list(toml["host"]) == ["http://b:5000"]
    assert "host" not in hosts(mirror("*", "http://a:5000", only=True))


def test_slash_at_the_end_of_an_endpoint_is_dropped_and_no_endpoint_stands_twice() -> None:
    assert list(hosts(mirror("a", "http://b/", "http://b", "http://c/d/"))["host"]) == ["http://b", "http://c/d"]


@pytest.mark.parametrize(
    ("endpoint", "overrides"),
    [
        ("https://harbor.example/v2/cache", True),
        ("https://harbor.example/v2", False),
        ("https://harbor.example/cache/v2", False),
        ("https://harbor.example/v2cache", False),
    ],
)
def test_path_of_the_api_is_used_as_it_is(endpoint: str, overrides: bool) -> None:
    (settings,) = hosts(mirror("docker.io", endpoint))["host"].values()
    assert settings.get("override_path", False) is overrides


# --- certificates ---


def test_certificates_are_for_the_https_endpoints_and_written_first() -> None:
    one = mirror("docker.io", "http://a", "https://b", "https://c", only=True, caConfigMapRef={"name": "ca"})
    files = hosts_files(spec(one), {"ca": PEM})
    assert list(files) == [f"{CERTS}/docker.io/ca.crt", f"{CERTS}/docker.io/hosts.toml"]
    toml = tomllib.loads(files[f"{CERTS}/docker.io/hosts.toml"])
    assert toml["ca"] == toml["host"]["https://b"]["ca"] == f"{CERTS}/docker.io/ca.crt"
    assert "ca" not in toml["host"]["http://a"]


def test_certificates_are_rebuilt_and_nothing_else_goes_into_a_node() -> None:
    key = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"
    crlf = PEM.replace("\n", "\r\n")
    one = mirror("a", "https://b", caConfigMapRef={"name": "ca"})
    text = hosts_files(spec(one), {"ca": f"a comment\n{key}{crlf}{PEM}"})[f"{CERTS}/a/ca.crt"]
    assert "PRIVATE" not in text
    assert "comment" not in text
    blocks = text.split("-----BEGIN CERTIFICATE-----\n")[1:]
    assert [base64.b64decode(block.split("-----")[0]) for block in blocks] == [b"one" * 40] * 2
    assert max(map(len, text.splitlines())) == 64


def test_certificates_of_a_configmap_are_kept_once_for_all_mirrors_of_all_objects() -> None:
    """A creation that waits keeps its files: one ConfigMap and a hundred small objects would take 400 MiB."""
    reference = {"name": "corp-ca"}
    mirrors = spec(*(mirror(host, "https://m", caConfigMapRef=reference) for host in ("a.io", "b.io")))
    kept = [hosts_files(mirrors, {"corp-ca": PEM})[f"{CERTS}/{host}/ca.crt"] for host in ("a.io", "b.io") * 2]
    assert len({id(text) for text in kept}) == 1


@pytest.mark.parametrize(
    ("authorities", "says"),
    [
        ({}, "does not exist in the namespace of the KINDCluster, or has no key ca.crt"),
        ({"ca": ""}, "must hold certificates in PEM"),
        ({"ca": "secret"}, "must hold certificates in PEM"),
        ({"ca": PEM.replace("b25l", "b25", 1)}, "must hold certificates in PEM"),
        ({"ca": PEM + " " * (256 * 1024)}, "at most 256 KiB"),
    ],
)
def test_certificates_that_cannot_be_used_are_reported(authorities: dict[str, str], says: str) -> None:
    with pytest.raises(InvalidSpec) as refusal:
        hosts_files(spec(mirror(), mirror("a", "https://b", caConfigMapRef={"name": "ca"})), authorities)
    assert refusal.value.path == "spec.registries.mirrors[1].caConfigMapRef"
    assert says in refusal.value.message
    assert "secret" not in refusal.value.message


def test_each_configmap_is_named_once() -> None:
    refs = [mirror(f"h{n}", "https://b", caConfigMapRef={"name": name}) for n, name in enumerate("baab")]
    assert authority_names(spec(mirror(), *refs)) == ("b", "a")


# --- untrusted values ---


@pytest.mark.parametrize(
    "host", ["", ".", "..", "../etc", "a/b", "_default", "a\n", "a b", "**", "a:", "a..b", "a" * 254]
)
def test_host_that_could_lead_elsewhere_is_reported(host: str) -> None:
    with pytest.raises(InvalidSpec) as refusal:
        hosts_files(spec(mirror(host)), {})
    assert refusal.value.path == "spec.registries.mirrors[0].host"


@pytest.mark.parametrize(
    "endpoint", ["", "a:5000", "ftp://a", 'http://a/"x', "http://a\n", "http://u:p@a", "http://a?x"]
)
def test_endpoint_that_is_no_plain_url_is_reported(endpoint: str) -> None:
    with pytest.raises(InvalidSpec) as refusal:
        hosts_files(spec({"host": "a", "endpoints": ["http://b", endpoint]}), {})
    assert refusal.value.path == "spec.registries.mirrors[0].endpoints[1]"


@pytest.mark.parametrize("endpoints", [[], None, ["http://a"] * 9])
def test_number_of_endpoints_is_bounded(endpoints: Any) -> None:
    with pytest.raises(InvalidSpec):
        hosts_files(spec({"host": "a", "endpoints": endpoints}), {})


def test_number_of_mirrors_is_bounded() -> None:
    assert len(hosts_files(spec(*(mirror(f"h{n}") for n in range(16))), {})) == 16
    with pytest.raises(InvalidSpec):
        hosts_files(spec(*(mirror(f"h{n}") for n in range(17))), {})


@given(host=texts(max_size=20), endpoint=texts(max_size=20).map("http://{}".format), only=st.booleans())
def test_any_text_is_refused_or_stays_in_its_place(host: str, endpoint: str, only: bool) -> None:
    try:
        files = hosts_files(spec(mirror(host, endpoint, only=only)), {})
    except InvalidSpec:
        return
    ((path, text),) = files.items()
    assert path.removeprefix(f"{CERTS}/").count("/") == 1
    assert ".." not in path
    toml = tomllib.loads(text)
    assert [*toml.get("host", ()), *filter(None, [toml.get("server")])] == [endpoint.rstrip("/")]


# --- containerd's configuration ---


def test_folder_is_set_for_either_version_of_containerds_configuration() -> None:
    three, two = map(tomllib.loads, containerd_patches(spec(mirror())))
    assert two == {"version": 2, "plugins": {"io.containerd.grpc.v1.cri": {"registry": {"config_path": CERTS}}}}
    assert three == {"version": 3, "plugins": {"io.containerd.cri.v1.images": {"registry": {"config_path": CERTS}}}}


INLINE = '[plugins."io.containerd.grpc.v1.cri".registry.mirrors."a"]\nendpoint = ["http://b"]\n'
NUMBER = f'[plugins."io.containerd.grpc.v1.cri".registry]\nconfig_path = 0x{"f" * 5000}\n'
FOLDER = '[plugins."io.containerd.grpc.v1.cri".registry]\nconfig_path = "{}"\n'


@pytest.mark.parametrize(
    "patch", [INLINE, INLINE.replace("grpc.v1.cri", "cri.v1.images"), FOLDER.format("/etc/other"), NUMBER]
)
def test_patch_that_contradicts_the_mirrors_is_reported(patch: str) -> None:
    check_containerd_patches({"containerdConfigPatches": [patch]})
    with pytest.raises(InvalidSpec) as refusal:
        check_containerd_patches(spec(mirror(), containerdConfigPatches=["[debug]\n", patch]))
    assert refusal.value.path == "spec.containerdConfigPatches[1]"


@pytest.mark.parametrize(
    "patch", ["[debug]\n", "- ]", FOLDER.format(CERTS), FOLDER.format(f"{CERTS}:/etc/docker/certs.d")]
)
def test_patch_that_agrees_with_the_mirrors_passes(patch: str) -> None:
    check_containerd_patches(spec(mirror(), containerdConfigPatches=[patch]))

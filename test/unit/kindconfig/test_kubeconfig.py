import base64
import textwrap
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from capk.kindconfig.kubeconfig import BadKubeconfig, config_secret, kubeconfig_secret, read_kubeconfig, secret_digest
from capk.kindconfig.yamlio import dump
from test.unit.characters import texts

EXPIRY = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
AUTHORITY = trustme.CA()


def certificate(common_name: str, not_after: datetime = EXPIRY) -> str:
    return issued(common_name, not_after)[0]


def issued(common_name: str, not_after: datetime = EXPIRY) -> tuple[str, str]:
    made = AUTHORITY.issue_cert(common_name, common_name=common_name, not_after=not_after)
    return made.cert_chain_pems[0].bytes().decode(), made.private_key_pem.bytes().decode()


CA = AUTHORITY.cert_pem.bytes().decode()
CLIENT, KEY_PEM = issued("kubernetes-admin")


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def kubeconfig(server: str = "https://127.0.0.1:36443", ca: str = CA, **user: Any) -> dict[str, Any]:
    login = user or {"client-certificate-data": b64(CLIENT), "client-key-data": b64(KEY_PEM)}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "kind-dev",
        "contexts": [{"name": "kind-dev", "context": {"cluster": "kind-dev", "user": "kind-dev"}}],
        "clusters": [{"name": "kind-dev", "cluster": {"server": server, "certificate-authority-data": b64(ca)}}],
        "users": [{"name": "kind-dev", "user": login}],
    }


def test_facts_of_a_kubeconfig() -> None:
    facts = read_kubeconfig(dump(kubeconfig()))
    assert facts.server == "https://127.0.0.1:36443"
    assert (facts.host, facts.port) == ("127.0.0.1", 36443)
    assert facts.not_after == EXPIRY
    assert facts.fingerprint.startswith("sha256:")
    assert len(facts.fingerprint) == 71


@pytest.mark.parametrize(
    ("server", "address"),
    [
        ("https://dev-control-plane:6443", ("dev-control-plane", 6443)),
        ("https://[fc00:f853:ccd::2]:6443", ("fc00:f853:ccd::2", 6443)),
        ("https://example.org/path", ("example.org", 443)),
    ],
)
def test_address_of_the_server(server: str, address: tuple[str, int]) -> None:
    facts = read_kubeconfig(dump(kubeconfig(server)))
    assert (facts.host, facts.port) == address


def test_fingerprint_identifies_the_authority_not_its_layout() -> None:
    plain = read_kubeconfig(dump(kubeconfig())).fingerprint
    spaced = read_kubeconfig(dump(kubeconfig(ca=f"# comment\n{CA}\n\n"))).fingerprint
    internal = read_kubeconfig(dump(kubeconfig("https://dev-control-plane:6443"))).fingerprint
    other = read_kubeconfig(dump(kubeconfig(ca=certificate("another")))).fingerprint
    assert plain == spaced == internal
    assert other != plain


def test_wrapped_base64_is_read() -> None:
    document = kubeconfig()
    cluster = document["clusters"][0]["cluster"]
    cluster["certificate-authority-data"] = "\n".join(textwrap.wrap(cluster["certificate-authority-data"], 64))
    assert read_kubeconfig(dump(document)).not_after == EXPIRY


@pytest.mark.rule("C15")
def test_expiry_is_that_of_the_first_certificate_to_expire() -> None:
    sooner = EXPIRY - timedelta(days=100)
    chain = CLIENT + certificate("issuer", sooner)
    login = {"client-certificate-data": b64(chain), "client-key-data": b64(KEY_PEM)}
    assert read_kubeconfig(dump(kubeconfig(**login))).not_after == sooner


def test_token_never_expires_as_far_as_one_can_see() -> None:
    assert read_kubeconfig(dump(kubeconfig(token="abc"))).not_after is None


@pytest.mark.rule("C14")
@pytest.mark.parametrize("plugin", ["exec", "auth-provider", "tokenFile", "client-key", "username"])
def test_login_by_plugin_or_file_alone_is_refused(plugin: str) -> None:
    with pytest.raises(BadKubeconfig, match=f"logs in by {plugin};"):
        read_kubeconfig(dump(kubeconfig(**{plugin: "hush"})))


def broken(*path: Any, value: Any = None) -> str:
    """Return a kubeconfig with one value replaced or removed."""
    document = kubeconfig()
    place: Any = document
    for step in path[:-1]:
        place = place[step]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return dump(document)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\0",
        "{unclosed: [hush",
        "just text hush",
        "- a\n- list\n- hush",
        "&a [*a, hush",
        broken("kind", value="Pod"),
        broken("current-context"),
        broken("current-context", value="other"),
        broken("clusters"),
        broken("clusters", value="hush"),
        broken("clusters", value=["hush"]),
        broken("clusters", 0, "cluster", value=["hush"]),
        broken("clusters", 0, "cluster", "server"),
        broken("clusters", 0, "cluster", "server", value=7),
        broken("clusters", 0, "cluster", "server", value="http://127.0.0.1:80"),
        broken("clusters", 0, "cluster", "server", value="https://"),
        broken("clusters", 0, "cluster", "server", value="https://host:port"),
        broken("clusters", 0, "cluster", "server", value="https://[hush"),
        broken("clusters", 0, "cluster", "certificate-authority-data"),
        broken("clusters", 0, "cluster", "certificate-authority-data", value="hush!"),
        broken("clusters", 0, "cluster", "certificate-authority-data", value=b64("hush")),
        broken("clusters", 0, "cluster", "certificate-authority-data", value=7),
        broken("users"),
        broken("users", 0, "user", value={"username": "hush"}),
        broken("users", 0, "user", "client-key-data"),
        broken("users", 0, "user", "client-certificate-data"),
        broken("users", 0, "user", "client-certificate-data", value=b64("hush")),
    ],
)
def test_garbage_is_refused_without_quoting_it(text: str) -> None:
    with pytest.raises(BadKubeconfig) as raised:
        read_kubeconfig(text)
    assert "hush" not in str(raised.value)
    assert raised.value.__cause__ is None


@given(texts())
def test_any_text_is_refused_clearly(text: str) -> None:
    with pytest.raises(BadKubeconfig):
        read_kubeconfig(text)


OWNER = {"apiVersion": "v1", "kind": "KINDCluster", "name": "dev", "uid": "u1"}


@pytest.mark.rule("C14", "C26")
def test_kubeconfig_secret_is_what_cluster_api_reads() -> None:
    secret = kubeconfig_secret(
        cluster="my", namespace="default", kind_cluster="dev", kubeconfig="text ü", owner_references=[OWNER]
    )
    assert base64.b64decode(secret["data"].pop("value")).decode() == "text ü"
    assert secret == {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": "my-kubeconfig",
            "namespace": "default",
            "labels": {
                "cluster.x-k8s.io/cluster-name": "my",
                "kind.infrastructure.cluster.x-k8s.io/cluster-name": "dev",
            },
            "ownerReferences": [OWNER],
        },
        "type": "cluster.x-k8s.io/secret",
        "data": {},
    }


def test_config_secret_is_for_people() -> None:
    secret = config_secret(namespace="default", kind_cluster="dev", kubeconfig="text", owner_references=[OWNER])
    assert secret["metadata"]["name"] == "dev-config"
    assert secret["metadata"]["labels"] == {"kind.infrastructure.cluster.x-k8s.io/cluster-name": "dev"}
    assert secret["metadata"]["ownerReferences"] == [OWNER]
    assert secret["type"] == "Opaque"
    assert secret["data"] == {"config": b64("text")}


data_maps = st.dictionaries(texts(max_size=4), texts(max_size=4), max_size=4)


@given(data_maps, data_maps)
def test_digest_is_equal_if_and_only_if_the_data_is(one: dict[str, str], other: dict[str, str]) -> None:
    assert (secret_digest(one) == secret_digest(other)) == (one == other)


@given(data_maps)
def test_digest_does_not_depend_on_the_order(data: dict[str, str]) -> None:
    assert secret_digest(data) == secret_digest(dict(reversed(data.items())))


def test_digest_of_no_data() -> None:
    assert secret_digest(None) == secret_digest({})

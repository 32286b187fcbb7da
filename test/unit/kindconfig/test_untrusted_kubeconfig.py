"""An untrusted kubeconfig from a node: only the necessary parts are parsed and written again."""

import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as forms
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from capk.kindconfig import kubeconfigfields
from capk.kindconfig.kubeconfig import BadKubeconfig, Kubeconfig, parse, read_kubeconfig, render, server_url
from capk.kindconfig.yamlio import dump
from test.unit.characters import texts

EXPIRY = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
BEGIN = EXPIRY - timedelta(days=365)
KEY = ec.generate_private_key(ec.SECP256R1())
OTHER = ec.generate_private_key(ec.SECP256R1())
RSA = rsa.generate_private_key(65537, 2048)
TRADITIONAL, PKCS8 = forms.PrivateFormat.TraditionalOpenSSL, forms.PrivateFormat.PKCS8
SERVER = "https://127.0.0.1:40001"


def pem(key: Any, form: Any = PKCS8, encryption: Any = None) -> str:
    return key.private_bytes(forms.Encoding.PEM, form, encryption or forms.NoEncryption()).decode()


def certificate(key: Any = KEY, expiry: datetime = EXPIRY) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubernetes-admin")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(BEGIN).not_valid_after(expiry)
    built = builder.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    return built.public_bytes(forms.Encoding.PEM).decode()


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


CERTIFICATE = certificate()
LOGIN = {"client-certificate-data": b64(CERTIFICATE), "client-key-data": b64(pem(KEY, TRADITIONAL))}


def admin_conf(
    user: dict[str, Any] | None = None, cluster: dict[str, Any] | None = None, **fields: Any
) -> dict[str, Any]:
    at = {"server": SERVER, "certificate-authority-data": b64(CERTIFICATE), **(cluster or {})}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "kind-dev",
        "contexts": [{"name": "kind-dev", "context": {"cluster": "kind-dev", "user": "kind-dev"}}],
        "clusters": [{"name": "kind-dev", "cluster": at}],
        "users": [{"name": "kind-dev", "user": LOGIN if user is None else user}],
        **fields,
    }


def rebuilt(document: dict[str, Any]) -> Any:
    return yaml.load(render(parse(dump(document)), server=SERVER, name="dev"), yaml.CSafeLoader)


PLAIN = rebuilt(admin_conf())


def test_rendered_kubeconfig_is_the_one_of_kind() -> None:
    assert admin_conf() == PLAIN


HOSTILE_USER = {
    "tokenFile": "/var/run/secrets/kubernetes.io/serviceaccount/token",
    "exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "curl"},
    "auth-provider": {"name": "gcp", "config": {"cmd-path": "curl"}},
    "as": "system:admin",
    "as-uid": "0",
    "as-groups": ["system:masters"],
    "as-user-extra": {"scopes": ["all"]},
    "client-certificate": "/etc/passwd",
    "client-key": "/etc/shadow",
    "token": "elsewhere",
    "username": "root",
    "password": "hush",
    "extensions": [{"name": "x", "extension": {"a": "b"}}],
}
HOSTILE_CLUSTER = {
    "proxy-url": "http://169.254.169.254/",
    "insecure-skip-tls-verify": True,
    "tls-server-name": "elsewhere",
    "certificate-authority": "/etc/ssl/certs/ca-certificates.crt",
    "disable-compression": True,
    "extensions": [{"name": "client.authentication.k8s.io/exec", "extension": {}}],
}


@pytest.mark.rule("C14")
@pytest.mark.parametrize("field", HOSTILE_USER)
def test_field_of_a_user_that_makes_clients_do_things_is_not_passed_on(field: str) -> None:
    assert rebuilt(admin_conf({**LOGIN, field: HOSTILE_USER[field]})) == PLAIN


@pytest.mark.rule("C14")
@pytest.mark.parametrize("field", HOSTILE_CLUSTER)
def test_field_of_a_cluster_that_makes_clients_do_things_is_not_passed_on(field: str) -> None:
    assert rebuilt(admin_conf(cluster={field: HOSTILE_CLUSTER[field]})) == PLAIN


def test_other_contexts_and_preferences_are_not_passed_on() -> None:
    document = admin_conf(preferences={"colors": True}, extensions=[{"name": "x", "extension": {}}])
    document["contexts"][0]["context"]["namespace"] = "kube-system"
    others = {
        "contexts": {"name": "other", "context": {"cluster": "other", "user": "other"}},
        "clusters": {"name": "other", "cluster": {"server": "https://elsewhere"}},
        "users": {"name": "other", "user": HOSTILE_USER},
    }
    # Neither the first entry counts nor the last one.
    document |= {section: [other, *document[section], other] for section, other in others.items()}
    assert rebuilt(document) == PLAIN


def test_names_and_server_are_the_callers() -> None:
    document = admin_conf(cluster={"server": "https://elsewhere:1"})
    document["contexts"] = [{"name": "<script>", "context": {"cluster": "kind-dev", "user": "kind-dev"}}]
    document["current-context"] = "<script>"
    assert rebuilt(document) == PLAIN


KEYS = texts(max_size=12) | st.sampled_from([*HOSTILE_USER, *HOSTILE_CLUSTER, "namespace"])
JUNK = st.dictionaries(KEYS, texts(max_size=8) | st.booleans() | st.lists(texts(max_size=4), max_size=2), max_size=6)


@given(JUNK, JUNK, JUNK, JUNK)
def test_whatever_fields_it_has_the_rendered_kubeconfig_has_the_allowed_ones_only(
    top: dict[str, Any], cluster: dict[str, Any], context: dict[str, Any], user: dict[str, Any]
) -> None:
    document = {**top, **admin_conf({**user, **LOGIN})}
    document["clusters"][0]["cluster"] = {**cluster, **document["clusters"][0]["cluster"]}
    document["contexts"][0]["context"] = {**context, **document["contexts"][0]["context"]}
    assert rebuilt(document) == PLAIN


@pytest.mark.parametrize(
    ("key", "header"),
    [
        (KEY, "-----BEGIN EC PRIVATE KEY-----"),
        (ec.generate_private_key(ec.SECP384R1()), "-----BEGIN EC PRIVATE KEY-----"),
        (RSA, "-----BEGIN RSA PRIVATE KEY-----"),
        (ed25519.Ed25519PrivateKey.generate(), "-----BEGIN PRIVATE KEY-----"),
    ],
)
def test_keys_of_all_usual_kinds_are_written_again(key: Any, header: str) -> None:
    around = f"hush # the admin's key\n{pem(key)}\nhush"
    login = {"client-certificate-data": b64(certificate(key)), "client-key-data": b64(around)}
    found = parse(dump(admin_conf(login)))
    assert found.client_key.startswith(header)
    assert "hush" not in found.client_key
    loaded = forms.load_pem_private_key(found.client_key.encode(), None)
    assert pem(loaded) == pem(key)


def test_certificates_are_written_again() -> None:
    login = {**LOGIN, "client-certificate-data": b64(f"hush\n{CERTIFICATE}hush\n{CERTIFICATE}hush")}
    found = parse(dump(admin_conf(login, {"certificate-authority-data": b64(f"hush\n{CERTIFICATE}")})))
    assert found.client_certificate == CERTIFICATE * 2
    assert found.authority == CERTIFICATE


def refused(document: dict[str, Any], why: str) -> None:
    with pytest.raises(BadKubeconfig, match=why) as raised:
        parse(dump(document))
    assert "hush" not in str(raised.value)
    assert raised.value.__cause__ is None


def inconsistent_rsa_key() -> str:
    """Return a certificate's key with the primes of another key."""
    body = base64.b64decode("".join(pem(RSA, TRADITIONAL).splitlines()[1:-1]))
    other = RSA.private_numbers().p
    length = (other.bit_length() + 7) // 8
    changed = body.replace(other.to_bytes(length, "big"), (other - 2).to_bytes(length, "big"))
    lines = base64.encodebytes(changed).decode()
    return f"-----BEGIN RSA PRIVATE KEY-----\n{lines}-----END RSA PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("hush", "not an unencrypted private key"),
        (CERTIFICATE, "not an unencrypted private key"),
        (pem(KEY, PKCS8, forms.BestAvailableEncryption(b"hush")), "not an unencrypted private key"),
        (pem(OTHER), "does not belong to its client certificate"),
        (pem(RSA), "does not belong to its client certificate"),
        (lambda: pem(dsa.generate_private_key(1024)), "not an RSA, EC or Ed25519 key of a supported size"),
        (pem(ec.generate_private_key(ec.BrainpoolP256R1())), "not an RSA, EC or Ed25519 key of a supported size"),
        (inconsistent_rsa_key(), "not an"),
        (pem(KEY) + "hush" * 5000, "too long"),
    ],
)
def test_key_that_is_not_the_one_of_the_certificate_is_refused(key: str | Callable[[], str], why: str) -> None:
    # A DSA key takes so long that it is generated only for its test, not by each process that collects the tests.
    text = key if isinstance(key, str) else key()
    refused(admin_conf({**LOGIN, "client-key-data": b64(text)}), why)


def dsa_key(form: str) -> str:
    """Return a key for DSA; only its algorithm and its size are right."""
    number = b"\x02\x82\x06\x00" + b"\x7f" * 1536
    parameters = b"\x30\x82\x12\x0c" + 3 * number
    algorithm = b"\x30\x82\x12\x19\x06\x07\x2a\x86\x48\xce\x38\x04\x01" + parameters
    body = b"\x02\x01\x00" + algorithm + b"\x04\x82\x06\x04" + number
    lines = base64.encodebytes(b"\x30\x82" + len(body).to_bytes(2, "big") + body).decode()
    return f"-----BEGIN {form}PRIVATE KEY-----\n{lines}-----END {form}PRIVATE KEY-----\n"


@pytest.mark.parametrize("key", [dsa_key(""), dsa_key("DSA "), pem(KEY) + dsa_key("")])
def test_key_of_another_algorithm_is_not_even_loaded(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key for DSA of a few kilobytes takes half a minute, in which nothing else happens."""
    monkeypatch.setattr(kubeconfigfields, "load_pem_private_key", lambda *_, **__: pytest.fail("it was loaded"))
    refused(admin_conf({**LOGIN, "client-key-data": b64(key)}), "not an RSA, EC or Ed25519 key of a supported size")


def test_more_than_sixteen_certificates_are_refused() -> None:
    parse(dump(admin_conf({**LOGIN, "client-certificate-data": b64(CERTIFICATE * 16)})))
    refused(admin_conf({**LOGIN, "client-certificate-data": b64(CERTIFICATE * 17)}), "more than 16 certificates")
    refused(admin_conf(cluster={"certificate-authority-data": b64(CERTIFICATE * 17)}), "more than 16 certificates")


def test_certificate_of_a_year_that_does_not_exist_is_refused() -> None:
    lines = certificate(expiry=datetime(2051, 5, 6, tzinfo=UTC)).splitlines()
    body = base64.b64decode("".join(lines[1:-1])).replace(b"20510506", b"00000506")
    text = "\n".join([lines[0], base64.b64encode(body).decode(), lines[-1]])
    refused(
        admin_conf({**LOGIN, "client-certificate-data": b64(text)}), "client-certificate-data of the kubeconfig is not"
    )
    refused(
        admin_conf(cluster={"certificate-authority-data": b64(text)}),
        "certificate-authority-data of the kubeconfig is not",
    )


def test_text_of_any_size_is_refused_before_it_is_read() -> None:
    with pytest.raises(BadKubeconfig, match="larger than 256 KiB"):
        parse("[" * (256 * 1024 + 1))


def test_few_lines_that_unfold_to_gigabytes_cost_nothing() -> None:
    doubling = ["x0: &x0 {a: b}", *(f"x{n}: &x{n} {{<<: [*x{n - 1}, *x{n - 1}]}}" for n in range(1, 60))]
    with pytest.raises(BadKubeconfig):
        parse("\n".join(doubling))


def test_names_that_take_long_to_compare_are_refused() -> None:
    """They hold the same texts, but no two of their lists are the same list: each more line doubles the time."""
    chains = [[f"{name}{n}: &{name}{n} [*{name}{n - 1}, *{name}{n - 1}]" for n in range(1, 21)] for name in "ab"]
    lines = ["kind: Config", "a0: &a0 [dev]", *chains[0], "b0: &b0 [dev]", *chains[1]]
    with pytest.raises(BadKubeconfig, match="the text is not YAML"):
        parse("\n".join([*lines, "current-context: *a20", "contexts: [{name: *b20, context: {}}]"]))


def test_user_with_a_token_keeps_the_token_alone() -> None:
    document = rebuilt(admin_conf({"token": "abc.def", "tokenFile": "/etc/passwd", "as": "root"}))
    assert document["users"] == [{"name": "kind-dev", "user": {"token": "abc.def"}}]


def test_token_counts_where_the_key_is_only_a_path() -> None:
    login = {"client-certificate-data": LOGIN["client-certificate-data"], "client-key": "/etc/shadow", "token": "abc"}
    found = parse(dump(admin_conf(login)))
    assert (found.token, found.client_certificate, found.client_key) == ("abc", "", "")


@pytest.mark.parametrize("token", ["two words", "line\nbreak", "ünïcode", "x" * 8193, "\x00", ["abc"]])
def test_token_that_no_header_can_carry_is_refused(token: Any) -> None:
    refused(admin_conf({"token": token}), "token of the kubeconfig is too long or has invalid characters")


@pytest.mark.parametrize(
    "server",
    [
        "https://hush@host:1",
        "https://ho st:1",
        "https://host:0",
        "https://host:65536",
        "https://ho\u200bst",
        "https://[fe80::1%25eth0]:1",
        "https://[fe80::1%eth0]:1",
        f"https://{'a' * 254}:1",
        "https://-hush:1",
    ],
)
def test_server_that_is_not_a_host_with_a_port_is_refused(server: str) -> None:
    refused(admin_conf(cluster={"server": server}), "not an https URL with a host")


def test_secrets_are_not_in_what_is_printed_of_it() -> None:
    found = parse(dump(admin_conf()))
    printed = repr(found)
    assert "BEGIN" not in printed
    assert "hush" not in repr(Kubeconfig("host", 1, "ca", "sha256:", token="hush"))
    assert (found.host, found.port, found.not_before, found.not_after) == ("127.0.0.1", 40001, BEGIN, EXPIRY)
    assert found.lifetime == timedelta(days=365)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("::1", "https://[::1]:40001"),
        ("fc00:f853:ccd::2", "https://[fc00:f853:ccd::2]:40001"),
        ("127.0.0.1", "https://127.0.0.1:40001"),
        ("dev-control-plane", "https://dev-control-plane:40001"),
    ],
)
def test_url_of_a_server_has_brackets_where_they_belong(host: str, url: str) -> None:
    assert server_url(host, 40001) == url
    assert read_kubeconfig(dump(admin_conf(cluster={"server": url}))).server == url

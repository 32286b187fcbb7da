import base64
import json

import pytest

from capk.redaction import REMOVED, redact

PEM = "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmg\nAwIBAgIRAN\n-----END CERTIFICATE-----"
ENCODED = base64.b64encode(PEM.encode()).decode()
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrOHMifQ.c2lnbmF0dXJl"
KUBECONFIG = f"""\
users:
- name: kind-dev
  user:
    client-certificate-data: {ENCODED}
    client-key-data: bm90IGEgcGVtIGJsb2Nr
    token: 'plain-token'
"""


@pytest.mark.parametrize(
    ("text", "secrets"),
    [
        (PEM, ["MIIBszCCAVmg"]),
        (f"before {PEM} between {PEM} after", ["MIIBszCCAVmg"]),
        (PEM[:50], ["MIIBszCCAVmg"]),
        (json.dumps({"ca": PEM}), ["MIIBszCCAVmg"]),
        (repr(PEM.encode()), ["MIIBszCCAVmg"]),
        (ENCODED, [ENCODED[20:40]]),
        (KUBECONFIG, [ENCODED[20:40], "bm90IGEg", "plain-token"]),
        (json.dumps({"log": json.dumps({"client-key-data": "bm90IGEgcGVtIGJsb2Nr"})}), ["bm90IGEg"]),
        (f"Authorization: Bearer {JWT}", ["eyJ", "c2lnbmF0dXJl"]),
        (f"got {JWT} instead", ["c2lnbmF0dXJl"]),
        ("Authorization: Basic dXNlcjpwYXNz", ["dXNlcjpwYXNz"]),
        ("kubeadm join 172.18.0.2:6443 --token abcdef.0123456789abcdef", ["0123456789abcdef"]),
        ("--certificate-key 9b1c5c0f6c1d9b1c5c0f6c1d", ["9b1c5c0f"]),
        ("password=hunter2, user=me", ["hunter2"]),
        ("-----BEGIN EC PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7q8Zs3cret", ["Zs3cret"]),
        ("q8Zs3cret\n-----END RSA PRIVATE KEY-----\nafter", ["Zs3cret"]),
        ('{"token": "sq8Zs3cretcret", "password":"hunter22222"}', ["Zs3cret", "hunter2"]),
        ('{"clientSecret":"sq8Zs3cretcret"}', ["Zs3cret"]),
        ("CLIENT_SECRET=sq8Zs3cretcret", ["Zs3cret"]),
        ("Get https://user:hunter22222@registry.example/v2/: denied", ["hunter2"]),
        ("HTTPS_PROXY=http://me:hunter22222@proxy:3128", ["hunter2"]),
        ("curl --oauth-token sq8Zs3cretcret --verbose", ["Zs3cret"]),
        ("MIIEpAIBAAKCAQEA7q8Zs3cret" * 3, ["Zs3cret"]),
    ],
)
def test_secret_is_removed(text: str, secrets: list[str]) -> None:
    cleaned = redact(text)
    assert REMOVED in cleaned
    for secret in secrets:
        assert secret in text
        assert secret not in cleaned


def test_text_around_a_secret_stays() -> None:
    assert redact(f"before {PEM} after") == f"before {REMOVED} after"
    assert redact(KUBECONFIG).startswith("users:\n- name: kind-dev\n  user:\n    client-certificate-data: [removed]")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Creating cluster dev: token is missing",
        'ERROR: failed to create cluster: command "docker run" failed with error: exit status 125',
        "port is already allocated: 127.0.0.1:6443 -> 6443/tcp",
        "image kindest/node:v1.34.0@sha256:7416a61b42b1662ca6ca89f02028ac133a309a2a30ba309614e8ec94d976dc5a",
        "the secret default/dev-kubeconfig was written",
        "secret: the API server refused it",
        "kind create cluster --name dev --config /var/lib/capk/logs/dev/kind.yaml --retain",
        "container 91454501081c1965d2f9d34fbdf2164960f4e6d1cb9ce0247727f624303876c0 is gone",
        "Get https://registry.example/v2/: denied",
        "get apis/infrastructure/v1alpha1/namespaces/default/kindclusters/dev/status/conditions",
        "x" * 500,
        "uid 0a1b2c3d-1111-2222-3333-444455556666",
    ],
)
def test_text_without_secrets_stays_as_it_is(text: str) -> None:
    assert redact(text) == text


def test_several_secrets_of_a_line_are_removed() -> None:
    line = f"a {JWT} b password=hunter2 c --token abcdef.0123456789abcdef d https://me:pw1234@host/x"
    assert redact(line) == (f"a {REMOVED} b password={REMOVED} c --token {REMOVED} d https://{REMOVED}@host/x")


def test_redaction_is_stable() -> None:
    once = redact(f"{KUBECONFIG} {PEM} password=hunter2 Bearer {JWT} https://me:pw1234@host/x --token abcdefabcdef")
    assert redact(once) == once

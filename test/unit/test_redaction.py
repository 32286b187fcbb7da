import base64
import json
import textwrap
from pathlib import Path

import pytest

from capk.redaction import REMOVED, redact
from test.unit.growth import assert_linear

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
        # Logins of registries.
        ('{"auths": {"ghcr.io": {"auth": "dXNlcjpwYXNz", "email": "a@b"}}}', ["dXNlcjpwYXNz"]),
        (json.dumps({"x": json.dumps({"auths": {"ghcr.io": {"auth": "dXNlcjpwYXNz"}}})}), ["dXNlcjpwYXNz"]),
        ("  auth: dXNlcjpwYXNz", ["dXNlcjpwYXNz"]),
        ("  auth = 'dXNlcjpwYXNz'", ["dXNlcjpwYXNz"]),
        ("//registry.example/:_auth=dXNlcjpwYXNz", ["dXNlcjpwYXNz"]),
        ("//registry.example/:_authToken=sq8Zs3cretcret", ["Zs3cret"]),
        (".dockerconfigjson: eyJhdXRocyI6eyJ4Ijp7fX19", ["eyJhdXRocyI6eyJ4"]),
        ("got eyJhdXRocyI6eyJ4Ijp7fX19 instead", ["eyJhdXRocyI6eyJ4"]),
        ("X-Registry-Auth: eyJ1c2VybmFtZSI6ImEifQ==", ["eyJ1c2VybmFtZSI6ImEifQ"]),
        # An EncryptionConfiguration.
        ("keys:\n- name: key1\n  secret: c2VjcmV0IGlzIHNlY3VyZQ==", ["c2VjcmV0"]),
        ("{name: key1, secret: c2VjcmV0IGlzIHNlY3VyZQ==}", ["c2VjcmV0"]),
        # Clouds and forges.
        ("AccessDenied for AKIAIOSFODNN7EXAMPLE", ["AKIAIOSFODNN7EXAMPLE"]),
        ("aws_access_key_id = ASIAIOSFODNN7EXAMPLE", ["ASIAIOSFODNN7EXAMPLE"]),
        ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", ["wJalr", "bPxRfi"]),
        ('"SecretAccessKey": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"', ["wJalr", "bPxRfi"]),
        ("AccountKey=Zs3cret+abc/def==;EndpointSuffix=core", ["Zs3cret", "abc/def"]),
        ("https://store.example/blob?sv=1&sig=Zs3cret%2Babc", ["Zs3cret"]),
        ("https://s3.example/blob?X-Amz-Signature=0123abcdef&x=y", ["0123abcdef"]),
        ("denied: ghp_0123456789abcdefghijABCDEFGHIJ012345", ["ghp_0123"]),
        ("denied: glpat-0123456789abcdefghij", ["glpat-0123"]),
        ("denied: dckr_pat_0123456789abcdefghij", ["dckr_pat_0123"]),
        # Other names, and other ways to write a value.
        ("api_key=Zs3cret", ["Zs3cret"]),
        ("apikey: Zs3cret", ["Zs3cret"]),
        ('"apiKey":"Zs3cret"', ["Zs3cret"]),
        ("X-Api-Key: Zs3cret", ["Zs3cret"]),
        ("SSH_PASSPHRASE=Zs3cret", ["Zs3cret"]),
        ("DB_PWD=Zs3cret", ["Zs3cret"]),
        ("Server=db;User=sa;Pwd=Zs3cret;Timeout=3", ["Zs3cret"]),
        ('password: "correct horse battery"', ["correct", "horse", "battery"]),
        ("password = 'correct horse battery'", ["correct", "horse", "battery"]),
        ('{"password": "correct \\"horse battery", "x": 1}', ["correct", "horse", "battery"]),
        (json.dumps({"x": json.dumps({"password": 'correct "horse'})}), ["correct", "horse"]),
        ('password: "correct horse batt', ["correct", "horse", "batt"]),
        ("  password: correct horse battery", ["correct", "horse", "battery"]),
        ("password=corr,ect;horse", ["corr", "ect", "horse"]),
        ('docker login --password "correct horse" ghcr.io', ["correct", "horse"]),
        # Values on the lines below their names.
        ("user:\n  token: |\n    Zs3cret\n    battery\n  name: x", ["Zs3cret", "battery"]),
        ("- token: >-\n    Zs3cret\n\n    battery\n- name: x", ["Zs3cret", "battery"]),
        ("password:\n  Zs3cret\n", ["Zs3cret"]),
        (json.dumps({"x": "token: |\n  Zs3cret\n  battery\n"}), ["Zs3cret", "battery"]),
        ("kind: Secret\nstringData:\n  mine: Zs3cret\n  other: battery\ntype: Opaque", ["Zs3cret", "battery"]),
        ('{"kind":"Secret","data":{"mine":"WnMzY3JldA=="}}', ["WnMzY3JldA"]),
        (f"key: |\n{textwrap.indent(PEM, '  ')}", ["MIIBszCCAVmg", "AwIBAgIRAN"]),
        ("12:30:00 q8Zs3cret\nAwIBAg+/IRAN\n-----END RSA PRIVATE KEY-----", ["q8Zs3cret", "AwIBAg"]),
        # Headers.
        ("Authorization: Bearer Zs3cret", ["Zs3cret"]),
        ('"Authorization": ["Basic dXNlcjpwYXNz"]', ["dXNlcjpwYXNz"]),
        ('-H "authorization: token Zs3cret"', ["Zs3cret"]),
        ("Proxy-Authorization: Digest username=me, response=Zs3cret", ["Zs3cret"]),
        ("Set-Cookie: session=Zs3cret; Path=/", ["Zs3cret"]),
        # Addresses.
        ("https://me:hun@ter22222@registry.example/v2/: denied", ["hun", "ter2"]),
        (f"https://me:{'hunter2' * 60}@registry.example", ["hunter2"]),
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
        "Basic authentication is not supported; bearer tokens are",
        "secret: PermissionDenied",
        "auth: unauthorized",
        "auth: Required",
        "PWD=/home/me OLDPWD=/",
        "private_key: /etc/kubernetes/pki/sa.key",
        "token: null",
        "--authorization-mode=Node,RBAC --service-account-signing-key-file=/etc/kubernetes/pki/sa.key",
        "authorization:\n  mode: Webhook",
        "secret:\n  secretName: certificates",
        "could not get the token:\n  no such file",
        "kind: ConfigMap\ndata:\n  a: b",
        "image: registry:5000/node@sha256:7416a61b42b1662ca6ca89f02028ac133a309a2a30ba309614e8ec94d976dc5a",
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


def test_text_below_a_secret_of_several_lines_stays() -> None:
    text = "user:\n- token: |\n    Zs3cret\n  name: x\nafter: y"
    assert redact("user:\n  token: |\n    Zs3cret\n  name: x") == f"user:\n  token: |\n    {REMOVED}\n  name: x"
    assert redact(text) == f"user:\n- token: |\n    {REMOVED}\n  name: x\nafter: y"


def test_quotation_marks_around_a_secret_stay() -> None:
    assert json.loads(redact('{"password": "correct horse", "x": "y"}')) == {"password": REMOVED, "x": "y"}


FIXTURES = Path(__file__).parents[1] / "fixtures"


@pytest.mark.parametrize("folder", ["kind", "engines"])
def test_what_kind_and_the_engines_print_stays_as_it_is(folder: str) -> None:
    files = [file for file in (FIXTURES / folder).rglob("*") if file.suffix in (".txt", ".json")]
    assert files
    for file in files:
        printed = file.read_text(errors="replace")
        assert redact(printed) == printed, file


@pytest.mark.parametrize(
    "piece",
    [
        'password="',
        "password='\"",
        "password=,",
        "password=a,b",
        "token: |\n ",
        "token:\n",
        "- token:\n - ",
        "auth: a",
        "secret: aA",
        "://a@",
        "-----BEGIN x-----",
        "AAAA -----END ",
        "-----END x",
        "authorization: basic ",
        "cookie=",
        "LS0tLS1CRUdJTi",
        "eyJhbGci.",
        "ghp_",
        '\\"password',
        'password: \\\\"',
        "- ",
        " ",
        'kind: Secret "data":{',
        "kind: Secret\ndata:\n a: b\n",
        "Aa1",
    ],
)
def test_work_grows_with_the_length_of_the_text_only(piece: str) -> None:
    assert_linear(lambda length: redact((piece * (length // len(piece) + 1))[:length]), 32 * 1024)

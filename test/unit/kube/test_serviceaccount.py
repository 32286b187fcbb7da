"""The files and variables of a pod's service account. `test_client.py` has its requests to a server."""

from pathlib import Path

import pytest

from capk.errors import Unreachable
from capk.kube import credentials, serviceaccount
from capk.kube.client import KubeClient
from capkdev.certificates import Authority

AUTHORITY = Authority("unit tests").certificate


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The directory that the kubelet mounts."""
    (tmp_path / "token").write_text("hush\n")
    (tmp_path / "ca.crt").write_bytes(AUTHORITY)
    monkeypatch.setattr(credentials, "TOKEN_FILE", tmp_path / "token")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    return tmp_path


@pytest.mark.parametrize(
    ("host", "server"),
    [
        ("10.96.0.1", "https://10.96.0.1:443"),
        ("fd00:10:96::1", "https://[fd00:10:96::1]:443"),
        ("kubernetes.default", "https://kubernetes.default:443"),
    ],
)
def test_server_is_the_service_of_the_api_server(
    account: Path, monkeypatch: pytest.MonkeyPatch, host: str, server: str
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    assert serviceaccount.log_in().server == server


@pytest.mark.parametrize("no_proxy", ["", "10.96.0.0/12"])
def test_proxy_is_that_of_the_environment(account: Path, monkeypatch: pytest.MonkeyPatch, no_proxy: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    monkeypatch.delenv("no_proxy", raising=False)
    assert serviceaccount.log_in().proxy == (None if no_proxy else "http://proxy.example:3128")


def test_only_the_authority_of_the_pod_is_trusted(account: Path) -> None:
    assert len(serviceaccount.log_in().ssl_context.get_ca_certs()) == 1


@pytest.mark.parametrize(
    ("name", "content", "cause"),
    [
        ("token", None, "token cannot be read: No such file or directory"),
        ("token", b"", "token is empty"),
        ("token", b" \n", "token is empty"),
        ("token", b"hush\nX-Remote-User: hush", "token does not contain a token"),
        ("token", b"hush\xff", "token does not contain a token"),
        ("ca.crt", None, "ca.crt cannot be read: No such file or directory"),
        ("ca.crt", b"", "ca.crt does not contain a certificate"),
        ("ca.crt", b"hush", "ca.crt does not contain a certificate"),
        ("ca.crt", AUTHORITY[:200], "ca.crt does not contain a certificate"),
        ("ca.crt", b"hush\xff", "ca.crt does not contain a certificate"),
    ],
)
async def test_unusable_file_is_named_without_its_content(
    account: Path, name: str, content: bytes | None, cause: str
) -> None:
    (account / name).unlink()
    if content is not None:
        (account / name).write_bytes(content)
    with pytest.raises(Unreachable) as raised:
        await KubeClient.connect(in_cluster=True)
    assert str(raised.value).endswith(f"the service account of the pod cannot be used: {account}/{cause}")
    assert "hush" not in str(raised.value)


async def test_directory_in_place_of_the_token_is_named(account: Path) -> None:
    (account / "token").unlink()
    (account / "token").mkdir()
    with pytest.raises(Unreachable, match="token cannot be read: Is a directory"):
        await KubeClient.connect(in_cluster=True)


@pytest.mark.parametrize("name", ["KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"])
@pytest.mark.parametrize("value", [None, ""])
async def test_missing_variable_is_named(
    account: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str | None
) -> None:
    if value is None:
        monkeypatch.delenv(name)
    else:
        monkeypatch.setenv(name, value)
    with pytest.raises(Unreachable, match=f"cannot be used: {name} is not set"):
        await KubeClient.connect(in_cluster=True)


async def test_port_that_is_not_a_number_is_refused(account: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "tcp://10.96.0.1:443")
    with pytest.raises(Unreachable, match="its server is not an http or https URL of a host"):
        await KubeClient.connect(in_cluster=True)

"""What each login imports of the official client. One process, because each import of it takes a second."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest
import yaml

from capkdev.certificates import Authority

SCRIPT = """
import asyncio, contextlib, io, json, pathlib, sys
import capk.cli, capk.manager.process
from capk.kube import credentials
from capk.kube.transport import Transport

folder = sys.argv[1]

def print_modules():
    print(json.dumps(list(sys.modules)))

async def log_in(chosen):
    transport = Transport(chosen, timeout_seconds=1, pool_size=1)
    await transport.open()
    print(transport.server)
    await transport.close()
    print_modules()

with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    sys.argv = ["capk", "explain", "Ready"]  # the command that does least reads its command line as `capk run` does
    capk.cli.main()
print_modules()
credentials.TOKEN_FILE = pathlib.Path(folder, "token")
asyncio.run(log_in(credentials.Credentials(in_cluster=True)))
asyncio.run(log_in(credentials.Credentials(str(pathlib.Path(folder, "config")))))
import kubernetes.client, kubernetes.aio.client as aio
print(kubernetes.client.V1ObjectMeta.__name__, aio.ApiClient.__name__)
"""


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What the process prints: modules, then server and modules of each login, then names in the official client."""
    folder = tmp_path_factory.mktemp("account")
    (folder / "token").write_text("t")
    (folder / "ca.crt").write_bytes(Authority("unit tests").certificate)
    (folder / "config").write_text(yaml.safe_dump(kubeconfig(str(folder / "ca.crt"))))
    command = [sys.executable, "-c", SCRIPT, str(folder)]
    pod = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    ended = subprocess.run(command, env={**os.environ, **pod}, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


def kubeconfig(authority: str) -> dict[str, Any]:
    return {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://api.example", "certificate-authority": authority}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }


def packages(modules: str) -> set[str]:
    return {name.partition(".")[0] for name in json.loads(modules)}


def test_provider_in_a_pod_needs_nothing_of_the_official_client(printed: list[str]) -> None:
    modules, server, after_login, *_ = printed
    assert server == "https://10.96.0.1:443"
    for loaded in (modules, after_login):
        assert "kopf" in packages(loaded)
        assert not {"kubernetes", "pydantic", "pydantic_core", "aiohttp_retry"} & packages(loaded)


def test_login_with_a_kubeconfig_imports_its_loader_and_not_the_whole_official_client(printed: list[str]) -> None:
    assert printed[3] == "https://api.example"
    loaded = set(json.loads(printed[4]))
    assert "kubernetes.aio.config.kube_config" in loaded
    assert not {"kubernetes.client", "kubernetes.dynamic", "kubernetes.stream", "kubernetes.aio.dynamic"} & loaded


def test_modules_of_the_official_client_can_be_imported_afterwards(printed: list[str]) -> None:
    assert printed[5] == "V1ObjectMeta ApiClient"

"""What the provider imports of the official client. One process, because each import of it takes a second."""

import subprocess
import sys

import pytest

SCRIPT = """
import sys, capk.manager.process
print(*(name for name in sys.modules if name.startswith("kubernetes")))
import kubernetes.client, kubernetes.aio.client as aio
print(aio.ApiClient.__name__)
"""


@pytest.fixture(scope="module")
def printed() -> list[str]:
    """What the provider has loaded, and then the name of a class of the official client."""
    ended = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


def test_provider_imports_the_loaders_and_not_the_whole_official_client(printed: list[str]) -> None:
    loaded = set(printed[0].split())
    assert "kubernetes.aio.config.kube_config" in loaded
    assert not {"kubernetes.dynamic", "kubernetes.stream", "kubernetes.aio.dynamic"} & loaded


def test_modules_of_the_official_client_can_be_imported_afterwards(printed: list[str]) -> None:
    assert printed[1] == "ApiClient"

"""What the provider imports of the official client."""

import subprocess
import sys

SCRIPT = "import sys, capk.manager.process; print(*(name for name in sys.modules if name.startswith('kubernetes')))"


def test_provider_imports_the_loaders_and_not_the_whole_official_client() -> None:
    loaded = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True).stdout.split()
    assert "kubernetes.aio.config.kube_config" in loaded
    assert not {"kubernetes.dynamic", "kubernetes.stream", "kubernetes.aio.dynamic"} & set(loaded)


def test_modules_of_the_official_client_can_be_imported_afterwards() -> None:
    script = "import capk.manager, kubernetes.client, kubernetes.aio.client as aio; print(aio.ApiClient.__name__)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "ApiClient"

"""The fake kind without processes: its own home, instant mode."""

from pathlib import Path

import pytest

from capkdev.fakekind.clusters import Home
from capkdev.fakekind.create import MODE_VARIABLE
from capkdev.fakekind.listing import HOME_VARIABLE


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "kind"))
    monkeypatch.setenv(MODE_VARIABLE, "instant")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    return Home(tmp_path / "kind")

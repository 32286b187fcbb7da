"""Settings that follow from where the provider runs."""

import pytest

from capk.settings import Settings


@pytest.mark.parametrize(
    ("in_pod", "allowed", "paths"),
    [
        (True, None, ()),
        (False, None, ("/",)),
        (True, ("/srv",), ("/srv",)),
        (False, (), ()),
        (False, ("/srv",), ("/srv",)),
    ],
)
def test_in_a_pod_no_path_of_the_host_is_mounted_unless_allowed(monkeypatch, in_pod, allowed, paths):
    if in_pod:
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    else:
        monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert Settings(allowed_host_paths=allowed).host_paths == paths

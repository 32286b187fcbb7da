"""Settings that follow from where the provider runs."""

import pytest

from capk.settings import Settings, default_concurrent_creates, machine


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


@pytest.mark.parametrize(
    ("cores", "memory_gib", "creates"), [(8, 31.3, 8), (16, 7.7, 7), (1, 64.0, 2), (4, 0.9, 2)], ids=str
)
def test_creations_at_once_follow_from_cores_and_memory(cores, memory_gib, creates):
    assert default_concurrent_creates(cores, memory_gib) == creates


def test_this_machine_has_cores_and_memory():
    cores, memory_gib = machine()
    assert cores >= 1
    assert memory_gib > 0

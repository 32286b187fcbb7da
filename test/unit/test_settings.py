import pytest

from capk.settings import default_concurrent_creates, machine


@pytest.mark.parametrize(
    ("cores", "memory_gib", "creates"), [(8, 31.3, 8), (16, 7.7, 7), (1, 64.0, 2), (4, 0.9, 2)], ids=str
)
def test_creations_at_once_follow_from_cores_and_memory(cores, memory_gib, creates):
    assert default_concurrent_creates(cores, memory_gib) == creates


def test_this_machine_has_cores_and_memory():
    cores, memory_gib = machine()
    assert cores >= 1
    assert memory_gib > 0

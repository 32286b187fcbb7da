"""Each workload cluster keeps a connection, so the soft limit of open files is raised."""

import resource

import pytest

from capk.runtime.openfiles import MOST_OPEN_FILES, raise_open_files

INFINITE = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("limits", "soft"),
    [
        ((1024, 4096), 4096),
        ((1024, 1 << 20), MOST_OPEN_FILES),
        ((256, INFINITE), MOST_OPEN_FILES),
        ((4096, 4096), None),
        ((1 << 20, 1 << 20), None),
        ((INFINITE, INFINITE), None),
    ],
)
def test_soft_limit_becomes_the_hard_one_within_bounds(
    limits: tuple[int, int], soft: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    raised: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda kind: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda kind, new: raised.append(new))
    raise_open_files()
    assert raised == ([] if soft is None else [(soft, limits[1])])


def test_system_that_refuses_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(kind: int, new: tuple[int, int]) -> None:
        raise ValueError("current limit exceeds maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda kind: (256, INFINITE))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    raise_open_files()

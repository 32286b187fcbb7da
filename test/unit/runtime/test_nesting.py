"""How deeply nested JSON may be; test_deep_objects.py has a provider read it."""

import json
import resource
import sys
from collections.abc import Iterator

import pytest

from capk.runtime.nesting import MOST_LEVELS, allow_deep_documents


@pytest.fixture(autouse=True)
def usual_limit() -> Iterator[None]:
    """Python's own limit, whatever a test before has set."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(1000)
    yield
    sys.setrecursionlimit(limit)


@pytest.mark.parametrize(("opening", "closing"), [('{"a":', "}"), ("[", "]")])
def test_document_with_as_many_levels_as_the_api_server_accepts_is_read(opening: str, closing: str) -> None:
    text = f"{opening * MOST_LEVELS}1{closing * MOST_LEVELS}"
    with pytest.raises(RecursionError):
        json.loads(text)
    allow_deep_documents()
    assert json.dumps(json.loads(text), separators=(",", ":")) == text


@pytest.mark.parametrize(("kib", "changes"), [(1024, False), (8192, True), (-1, True)])
def test_small_stack_does_not_become_the_end_of_the_process(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, kib: int, changes: bool
) -> None:
    stack = resource.RLIM_INFINITY if kib < 0 else kib * 1024
    monkeypatch.setattr(resource, "getrlimit", lambda _: (stack, stack))
    before = sys.getrecursionlimit()
    allow_deep_documents()
    assert (sys.getrecursionlimit() > before) is changes
    assert ("The stack has only 1024 KiB" in caplog.text) is not changes

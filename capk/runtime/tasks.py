"""Runs tasks beside a body, and reports each that fails."""

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from capk.errors import CapkError, LostLease

Named = tuple[str, Coroutine[Any, Any, object]]
"""The name of a task, as in `watch on the container engine`, and its coroutine."""

log = logging.getLogger(__name__)


@asynccontextmanager
async def supervised(*named: Named) -> AsyncIterator[None]:
    """Run tasks beside the body. When the body ends, cancel them and wait for them.

    If a task raises, its traceback is logged, the body is cancelled, and the context raises a CapkError that names the
    task and the cause; LostLease keeps its type. A task may return early. Exceptions of the body pass through. Only the
    first of several failures is raised.
    """
    failures: list[Exception] = []
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_watched(name, work, failures), name=name) for name, work in named]
            try:
                yield
            except Exception as error:
                failures.append(error)
                raise
            for task in tasks:
                task.cancel()
    except ExceptionGroup:
        raise failures[0] from failures[0].__cause__
    finally:
        for _, work in named:
            work.close()  # some have not begun if the body ended first


async def _watched(name: str, work: Coroutine[Any, Any, object], failures: list[Exception]) -> None:
    try:
        await _noticing_cancellation(work)
    except Exception as error:
        log.critical("The %s failed; the provider exits.", name, exc_info=error)
        failures.append(_failure(name, error))
        raise


async def _noticing_cancellation(work: Coroutine[Any, Any, object]) -> None:
    """Await the work; raises CapkError if something that it awaits was cancelled, but not the work itself."""
    try:
        await work
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise CapkError("what it waited for was cancelled") from error


def _failure(name: str, error: Exception) -> CapkError:
    """Return the error to report; a LostLease unchanged, because it has its own exit status."""
    leaves = list(_leaves(error))
    lost = next((leaf for leaf in leaves if isinstance(leaf, LostLease)), None)
    if lost is not None:
        return lost
    cause = leaves[0]
    words = str(cause) if isinstance(cause, CapkError) else f"{type(cause).__name__}: {cause}"
    return CapkError(f"the {name} failed: {words}")


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]

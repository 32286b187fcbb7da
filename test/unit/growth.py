"""Checks that work grows with the length of its input only, by the CPU time of this process."""

import time
from collections.abc import Callable


def assert_linear(work: Callable[[int], object], length: int) -> None:
    """Fail if `work` takes more than linear time: four times the length is four times the work, sixteen if quadratic.

    length: the larger one of the two that are compared. The constant part prevents that the clock's resolution decides
    about a few milliseconds. Only a measurement that fails is repeated, because the machine may be busy.
    """
    if (large := _seconds(work, length)) < 0.05:
        return
    small = min(_seconds(work, length // 4) for _ in range(3))
    if large >= 9 * small + 0.05:
        large = min(_seconds(work, length) for _ in range(3))
    assert large < 9 * small + 0.05


def _seconds(work: Callable[[int], object], length: int) -> float:
    began = time.process_time()
    work(length)
    return time.process_time() - began

"""Raises the limit of open files and connections, because each workload cluster keeps a connection."""

import contextlib
import logging
import resource
from typing import Final

MOST_OPEN_FILES: Final = 65536
"""More than any number of clusters needs. Commands that we start inherit the limit, and some loop up to it."""

log = logging.getLogger(__name__)


def raise_open_files() -> None:
    """Raise the soft limit of open files, often 1,024 or 256, to the hard limit, but at most to MOST_OPEN_FILES."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_OPEN_FILES)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    # macOS has a further limit that it does not report here. The soft limit suffices for some hundred clusters.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        log.debug("up to %d files may be open, instead of %d", wanted, soft)

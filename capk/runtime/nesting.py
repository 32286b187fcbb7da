"""Lets JSON be as deeply nested as the API server accepts it.

Everyone who may edit an object can nest its managedFields some thousand levels deep, and everyone who watches objects
of that kind gets them. Python refuses a thousand levels, and each start of the provider would end there.
"""

import logging
import resource
import sys
from typing import Final

MOST_LEVELS: Final = 10_000
"""What the API server accepts. Source: sigs.k8s.io/json internal/golang/encoding/json/scanner.go (maxNestingDepth)."""
_OWN_LEVELS: Final = 2000
"""Of calls, and of what the API server puts around an object."""
_LEAST_STACK: Final = 4 << 20
"""Bytes of the stack; reading, writing and comparing so many levels takes less than two MiB."""

log = logging.getLogger(__name__)


def allow_deep_documents() -> None:
    """Raise Python's limit of recursion, unless the stack of this process is unusually small."""
    stack = resource.getrlimit(resource.RLIMIT_STACK)[0]
    if stack != resource.RLIM_INFINITY and stack < _LEAST_STACK:
        log.warning("The stack has only %d KiB; a deeply nested object would end the provider.", stack >> 10)
        return
    sys.setrecursionlimit(max(sys.getrecursionlimit(), MOST_LEVELS + _OWN_LEVELS))

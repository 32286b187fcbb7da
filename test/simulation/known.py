"""Known faults of the provider: excluded from lives by seed until they are fixed.

Each entry gives the reason. `python -m test.simulation --everything` excludes nothing.
"""

from typing import Final

NOT_YET: Final[frozenset[str]] = frozenset()
"""Kinds of steps of `generate.KINDS`, and `world:` with an option of the world."""
SILENT: Final[frozenset[str]] = frozenset()
"""Checks of `invariants.CHECKS`."""
UNMENDED: Final[frozenset[str]] = frozenset()
"""Failing scripts of `scripts_known`."""

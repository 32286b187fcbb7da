"""What the provider is known not to bear yet: left out of lives by seed until it is mended.

Each entry is a kind of step of `generate.KINDS`, `world:` with an option of the world, or the name of a check.
"""

from typing import Final

from test.simulation.scripts_known import SCRIPTS

NOT_YET: Final[frozenset[str]] = frozenset()
"""Kinds of steps and worlds."""
SILENT: Final[frozenset[str]] = frozenset()
"""Checks of `invariants.CHECKS`."""
UNMENDED: Final[frozenset[str]] = frozenset(SCRIPTS)
"""Scripts of `scripts_known` that fail."""

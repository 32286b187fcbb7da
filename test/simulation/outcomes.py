"""Words for what the truth about an object is."""

from typing import Final

UNTOUCHED: Final = "left alone"
STOPPED: Final = "not all of its nodes run"
SILENT: Final = "it does not answer"
RESTS: Final = "it is to be stopped"
EITHER: Final = "ready or not"
"""Both are correct: the provider cannot know the problem, or the kind cluster is not its cause."""

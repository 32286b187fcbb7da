"""The scripts in hack/ find their modules next to themselves; the tests do as well."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "hack"))

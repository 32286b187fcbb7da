"""The modules of hack/ are imported from the root of the repository; they are not installed."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

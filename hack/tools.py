#!/usr/bin/env python3
"""Bring the external programs that tools/versions.toml pins into bin/.

Needs Python 3.11 and nothing else; `make tools` and the targets that need a program call it.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from hack.externaltools.cli import main

if __name__ == "__main__":
    sys.exit(main())

"""Writes generated files, or reports which of them are out of date; every generator of `hack` ends here."""

import sys
from collections.abc import Mapping
from pathlib import Path


def keep(files: Mapping[Path, str], root: Path, *, check: bool) -> int:
    """Write the files that differ from their wanted text; return the exit status.

    files: path -> wanted text. root: messages name the paths relative to it.
    check: write nothing, name each file that is out of date on standard error, and return 1 if there is one.
    """
    stale = {
        path: text for path, text in files.items() if not path.exists() or path.read_text(encoding="utf-8") != text
    }
    for path, text in stale.items():
        if check:
            print(f"{path.relative_to(root)} is out of date: run `make generate`", file=sys.stderr)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return 1 if check and stale else 0

"""Files that only their owner may read, and that are written atomically."""

import os
from pathlib import Path


def write_private(path: Path, content: bytes) -> None:
    """Write a file atomically, readable only by its owner."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with open(temporary, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(content)
    temporary.replace(path)


def remove_tree(directory: Path) -> None:
    """Remove a directory with its contents; parts may be gone already."""
    import shutil

    shutil.rmtree(directory, ignore_errors=True)

"""Inotify limits of the kernel that suffice for a machine with many nodes.

Source: kind's known issues, "pod errors due to too many open files".
"""

from typing import Final

INSTANCES: Final = 512
WATCHES: Final = 524288


def command(instances: int = INSTANCES, watches: int = WATCHES) -> str:
    """Return the command that sets the limits."""
    return f"sysctl fs.inotify.max_user_instances={instances} fs.inotify.max_user_watches={watches}"

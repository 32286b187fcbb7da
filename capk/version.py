"""The version of this package. pyproject.toml has it; nothing else repeats it."""

from typing import Final

_DISTRIBUTION: Final = "cluster-api-provider-kind"


def version() -> str:
    """Return the version of the installed package, as in `0.1.0`; `unknown` if only its sources are on the path."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed(_DISTRIBUTION)
    except PackageNotFoundError:
        return "unknown"

"""Structured logging with secrets removed, as text for people or as JSON for collectors."""

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, TextIO

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from capk.redaction import redact, visible


class LogFormat(StrEnum):
    """Format of a line."""

    TEXT = "text"
    JSON = "json"


_TEXT: Final = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
_QUIET: Final = {
    "kopf.objects": logging.WARNING,  # logs every event that it received (K43)
    "aiohttp.access": logging.WARNING,
    "kubernetes": logging.WARNING,
}

_NO_KEYS: Final[Mapping[str, str]] = MappingProxyType({})
_context: ContextVar[Mapping[str, str]] = ContextVar("capk_log_context", default=_NO_KEYS)


@contextmanager
def context(**keys: str) -> Iterator[None]:
    """Add keys to every line that the current task logs, as in `context(KINDCluster="default/dev")`."""
    token = _context.set({**_context.get(), **keys})
    try:
        yield
    finally:
        _context.reset(token)


def configure(
    format: LogFormat | str = LogFormat.TEXT, level: str | int = "INFO", stream: TextIO | None = None
) -> None:
    """Make all loggers of the process write to one stream, by default standard error. It may be called again.

    Raises ValueError for an unknown format or level.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_JsonFormatter() if LogFormat(format) is LogFormat.JSON else _TextFormatter(_TEXT))
    handler.addFilter(_add_context)
    root = logging.getLogger()
    for previous in root.handlers[:]:
        root.removeHandler(previous)
    root.setLevel(level.upper() if isinstance(level, str) else level)
    root.addHandler(handler)
    for name, quiet in _QUIET.items():
        logging.getLogger(name).setLevel(max(quiet, root.level))


def _add_context(record: logging.LogRecord) -> bool:
    for key, value in _context.get().items():
        if key not in record.__dict__:
            setattr(record, key, value)
    return True


class _TextFormatter(logging.Formatter):
    """One line: the message, then the keys of the record. A traceback follows below, indented.

    Messages quote what others write. So nothing in them looks like another line, or controls the terminal.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the line without traceback."""
        keys = "".join(f" {key}={value}" for key, value in record.__dict__.items() if key not in _STANDARD)
        # First without secrets: the line breaks between the name of a secret and its value matter.
        return visible(redact(super().formatMessage(record) + keys))

    def formatException(self, ei: Any) -> str:
        """Return the traceback, indented: no line of it looks like a line of the log."""
        return "\n".join(f"  {visible(line)}" for line in super().formatException(ei).splitlines())

    def format(self, record: logging.LogRecord) -> str:
        """Return the line and the traceback, without secrets.

        It cleans the finished text, which contains message, arguments, keys and exception. Other handlers, such as
        those of tests, still get the original record.
        """
        return redact(super().format(record))


class _JsonFormatter(JsonFormatter):
    """One JSON object per line."""

    def __init__(self) -> None:
        super().__init__(
            "%(levelname)s %(name)s %(message)s",
            rename_fields={"levelname": "level", "name": "logger", "exc_info": "exception"},
            timestamp="time",
        )

    def process_log_record(self, log_record: dict[str, Any]) -> dict[str, Any]:
        """Return the fields without secrets. Each is cleaned separately, so that the line stays valid JSON."""
        return {key: redact(value) if isinstance(value, str) else value for key, value in log_record.items()}


_STANDARD: Final = frozenset(RESERVED_ATTRS) | {"taskName", "color_message"}

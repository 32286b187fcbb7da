"""Extracts the reported error from a command's output, fit to show: one line, without secrets and varying parts.

Pure. Only `capk.diagnosis.patterns` recognises causes. Output is untrusted: each function reads a bounded part of it,
in linear time.
"""

import re
import string
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from capk.redaction import redact, visible

MAX_OUTPUT: Final = 128 * 1024
"""Characters at the end of an output that are searched: the kept tails of both streams."""
MAX_CAUSE: Final = 1200
_MAX_LINE: Final = 2 * MAX_CAUSE
_MAX_LINES: Final = 200
"""Number of last lines that are searched for the relevant ones."""
_LINES_SHOWN: Final = 4
_END: Final = 8192

_VARYING: Final = (
    (re.compile(r"\x1b\[[0-9;?]{0,40}[A-Za-z]"), ""),
    # the head of a line of klog: severity, date, time, process id, file and line
    (re.compile(r"(?m)^[IWEF]\d{4} [\d:.]{1,20}\s{1,10}\d{1,10} [\w.-]{1,80}:\d{1,6}\] "), ""),
    (re.compile(r"\d{4}[-/]\d{2}[-/]\d{2}[T ][\d:.,]{1,30}(Z|[+-]\d{2}:?\d{2})?"), "(time)"),
    (re.compile(r"\s{0,10}\([0-9a-f]{12,64}\)"), ""),
    (re.compile(r"\b(sha256:)?[0-9a-f]{64}\b|\b(?=[0-9a-f]{0,12}\d)(?=[0-9a-f]{0,12}[a-f])[0-9a-f]{12}\b"), "(id)"),
    (re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "(id)"),
    (re.compile(r"\b(\d{1,12}(\.\d{1,12})?(h|ms|m|s|µs)){1,6}\b"), "(time)"),
    (re.compile(r"(?<=[\d\]a-z]):(3276[89]|327[7-9]\d|32[89]\d\d|3[3-9]\d{3}|[4-6]\d{4})\b"), ":(port)"),
    (re.compile(r"calls-\w{1,80}/call-\w{1,80}"), "(call)"),
)
"""Colours, times, ids of containers and networks, durations, ephemeral ports, the private directory of a call (C18)."""

_CHATTER: Final = re.compile(r"^I\d{4} [\d:.]{1,20} .*\n?", re.MULTILINE)
_WRAPPED: Final = re.compile(r'^(failed to (create|delete) cluster( "[^"\n]{1,200}")?: ){1,4}')
_ORIGIN: Final = re.compile(r"^(docker: |Error: ){0,4}(Error response from daemon: )?")
_STEP: Final = re.compile(r"^ • (?P<title>.{1,200}?)\s{1,10}\.\.\.$", re.MULTILINE)
_PICTURES: Final = re.compile(r"[^\x00-\x7f≤]+")
_FATAL: Final = re.compile(r"^\s{0,8}\[ERROR (?P<check>[^\]\n]{1,100})\]: (?P<why>.*)$", re.MULTILINE)
_ERROR: Final = re.compile(r"^error: (error execution phase )?(?P<why>.+)$", re.MULTILINE)
_NOISE: Final = re.compile(
    r"(Run|See) 'docker run --help'.*|\(id\)|no stack trace"
    # warnings: kubeadm's, podman's, logrus'
    r"|W\d{4} .*|\s*\[WARNING .*|WARN(ING)?\b.*|.*\bWARNING: Ignored configuration document.*"
    r'|time="[^"]{1,60}" level=(warning|info|debug) .*'
    # a stack trace of Go: function, then file and line
    r"|\s+\S+\.(go|s):\d+( \+0x[0-9a-f]+)?|[\w@~-]{1,80}([./][\w@~()*·\[\]-]{1,80}){1,30}|goroutine \d+ .*"
)
"""Lines that are never the cause if there are others."""
_TROUBLE: Final = re.compile(r"error|fail", re.IGNORECASE)
_FOLD: Final = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


@dataclass(frozen=True)
class Output:
    """The output of a command, prepared for searching.

    whole: the end of all output, with secrets.
    text: the same without secrets and without kubeadm's chatter, nine tenths of its output.
    """

    whole: str
    text: str

    @cached_property
    def folded(self) -> str:
        """The text in lower case, with every character at the same position."""
        return self.text.translate(_FOLD)

    @cached_property
    def end(self) -> str:
        """The last lines of all output, chatter included, in lower case and without secrets."""
        return redact(self.whole[-_END:]).translate(_FOLD)


def prepared(output: str) -> Output:
    """Prepare an output for the other functions."""
    whole = output[-MAX_OUTPUT:]
    return Output(whole, redact(_CHATTER.sub("", whole)))


def clean(text: str) -> str:
    """Return text as one line, without parts that differ from run to run."""
    for pattern, instead in _VARYING:
        text = pattern.sub(instead, text)
    return " ".join(visible(text).split())


def cause(output: Output) -> str:
    """Return the error that a command reported, shortened; empty if it reported none.

    For kind: the output of the command that it ran and that failed, otherwise kind's own error. For other commands: the
    last lines.
    """
    error, below = _kind_error(output)
    return _said(below) or _noise(below) or _shortened(clean(_WRAPPED.sub("", error)))


def kubeadm_cause(output: Output) -> str:
    """Return why kubeadm failed, from its verbose output. Warnings count only if there is nothing else."""
    if fatal := [(found["check"], found["why"]) for found in _FATAL.finditer(output.text[-_END:])][:20]:
        return _shortened(clean("; ".join(f"{check}: {why[:MAX_CAUSE]}" for check, why in fatal)))
    if error := _ERROR.search(output.text):
        return _shortened(clean(error["why"][:_MAX_LINE]))
    _, below = _kind_error(output)
    return _said(below) or _last_trouble(output) or cause(output)


def last_step(output: Output) -> str:
    """Return the step that kind announced last; empty if it announced none."""
    title = ""
    for found in _STEP.finditer(output.text):
        title = found["title"]
    return clean(_PICTURES.sub(" ", title))


def _kind_error(output: Output) -> tuple[str, str]:
    """Return kind's own error and the output of the command that it ran; other commands have only the latter."""
    before, marker, error = output.text.rpartition("ERROR: ")
    if not marker:
        return "", before or error
    said, _, below = error.partition("\nCommand Output:")
    return said[:_MAX_LINE], below


def _said(text: str) -> str:
    """Return the last relevant lines."""
    shown: list[str] = []
    for line in reversed(_lines(text)):
        if _NOISE.fullmatch(line) or not (said := _ORIGIN.sub("", clean(line))) or _NOISE.fullmatch(said):
            continue
        shown.insert(0, said)
        if len(shown) == _LINES_SHOWN:
            break
    return _shortened("; ".join(shown))


def _noise(text: str) -> str:
    """Return the last lines, relevant or not."""
    said = [clean(line) for line in _lines(text)[-_LINES_SHOWN:]]
    return _shortened("; ".join(line for line in said if line and line != "(id)"))


def _last_trouble(output: Output) -> str:
    """Return the last line of a program's log that reports an error."""
    lines = [line for line in _lines(redact(output.whole[-_END:])) if _CHATTER.match(line) and _TROUBLE.search(line)]
    return _shortened(clean(lines[-1])) if lines else ""


def _lines(text: str) -> list[str]:
    return [line[:_MAX_LINE] for line in text.splitlines()[-_MAX_LINES:] if line and not line.isspace()]


def _shortened(text: str) -> str:
    text = text.rstrip(". ")
    return text if len(text) <= MAX_CAUSE else f"{text[:MAX_CAUSE]}…"

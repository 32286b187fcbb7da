"""What a command printed -> what it said about its failure, fit to be shown: one line, no secrets, nothing that varies.

Pure. It recognises no causes: that is the business of `capk.diagnosis.patterns`.
"""

import re
from typing import Final

MAX_CAUSE: Final = 1200

_SECRETS: Final = (
    (re.compile(r"-----BEGIN [^-]+-----.*?(-----END [^-]+-----|\Z)", re.DOTALL), "(removed)"),
    (
        re.compile(
            r"(?i)\b([\w.-]{0,40}(?:token|password|passwd|secret|(?:key|certificate|authority)-data)\"?\s*[:=]\s*\"?)"
            r"[^\s\",;]{6,}"
        ),
        r"\1(removed)",
    ),
    (re.compile(r"(?i)(--[\w-]{0,40}(?:token|password|key)[\w-]{0,40}\s+)[^\s-]\S{5,}"), r"\1(removed)"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{6,}"), r"\1 (removed)"),
    (re.compile(r"://[^\s/@]{1,200}@"), "://(removed)@"),
    (re.compile(r"\b[a-z0-9]{6}\.[a-z0-9]{16}\b"), "(removed)"),
    (re.compile(r"(?<![\w/.:-])(?=[A-Za-z0-9])(?![0-9a-f]{64}\b)[A-Za-z0-9+/]{60,}={0,2}"), "(removed)"),
)
"""Private keys, kubeconfig fields, tokens, passwords, credentials in addresses, kubeadm's tokens, long base64."""

_VARYING: Final = (
    (re.compile(r"\x1b\[[0-9;?]*[A-Za-z]"), ""),
    # the head of a line of klog: severity, date, time, process id, file and line
    (re.compile(r"(?m)^[IWEF]\d{4} [\d:.]+\s+\d+ [\w.-]+:\d+\] "), ""),
    (re.compile(r"\d{4}[-/]\d{2}[-/]\d{2}[T ][\d:.,]+(Z|[+-]\d{2}:?\d{2})?"), "(time)"),
    (re.compile(r"\s*\([0-9a-f]{12,64}\)"), ""),
    (re.compile(r"\b(sha256:)?[0-9a-f]{64}\b|\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{12}\b"), "(id)"),
    (re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "(id)"),
    (re.compile(r"\b(\d+(\.\d+)?(h|ms|m|s|µs))+\b"), "(time)"),
    (re.compile(r"(?<=[\d\]a-z]):(3276[89]|327[7-9]\d|32[89]\d\d|3[3-9]\d{3}|[4-6]\d{4})\b"), ":(port)"),
    (re.compile(r"calls-\w+/call-\w+"), "(call)"),
)
"""Colours, times, ids of containers and networks, durations, ephemeral ports, the private directory of a call (C18)."""

_CHATTER: Final = re.compile(r"^I\d{4} [\d:.]+ .*\n?", re.MULTILINE)
_WRAPPED: Final = re.compile(r'^(failed to (create|delete) cluster( "[^"]*")?: )+')
_NOISE: Final = re.compile(r"(Run|See) 'docker run --help'.*|\(id\)|no stack trace")
_ORIGIN: Final = re.compile(r"^(docker: |Error: )*(Error response from daemon: )?")
_STEP: Final = re.compile(r"^ • (?P<title>.+?)\s+\.\.\.$", re.MULTILINE)
_PICTURES: Final = re.compile(r"[^\x00-\x7f≤]+")
_FATAL: Final = re.compile(r"^\s*\[ERROR (?P<check>[^\]]+)\]: (?P<why>.*)$", re.MULTILINE)
_ERROR: Final = re.compile(r"^error: (error execution phase )?(?P<why>.+)$", re.MULTILINE)


def reduced(output: str) -> str:
    """Return output without secrets and without the chatter of kubeadm, nine tenths of what it prints.

    Comes before anything that takes the output apart.
    """
    output = _CHATTER.sub("", output)
    for pattern, instead in _SECRETS:
        output = pattern.sub(instead, output)
    return output


def clean(text: str) -> str:
    """Return text as one line, without what differs from run to run."""
    for pattern, instead in _VARYING:
        text = pattern.sub(instead, text)
    return " ".join(text.split())


def cause(output: str) -> str:
    """Return what a command said about its failure, shortened; empty when it said nothing.

    Of kind the output of the command that failed below it, else its own error; of other commands the last lines.
    """
    before, marker, error = output.rpartition("ERROR: ")
    if not marker:
        return _joined((before or error).splitlines())
    said, _, below = error.partition("\nCommand Output:")
    return _joined(below.splitlines()) or _shortened(clean(_WRAPPED.sub("", said)))


def kubeadm_cause(output: str) -> str:
    """Return at what kubeadm failed, from its verbose output."""
    if fatal := _FATAL.findall(output):
        return _shortened(clean("; ".join(f"{check}: {why}" for check, why in fatal)))
    error = _ERROR.search(output)
    return _shortened(clean(error["why"])) if error else cause(output)


def last_step(output: str) -> str:
    """Return the step that kind announced last; empty when it announced none."""
    titles = _STEP.findall(output)
    return clean(_PICTURES.sub(" ", titles[-1])) if titles else ""


def _joined(lines: list[str]) -> str:
    said = [_ORIGIN.sub("", clean(line)) for line in lines]
    meaningful = [line for line in said if line and not _NOISE.fullmatch(line)]
    return _shortened("; ".join(meaningful[-4:]))


def _shortened(text: str) -> str:
    text = text.rstrip(". ")
    return text if len(text) <= MAX_CAUSE else f"{text[:MAX_CAUSE]}…"

"""What a command printed -> the part that says why, fit to be shown: one line, no secrets, nothing that varies. Pure."""

import re
from typing import Final

MAX_CAUSE: Final = 1200

_SECRETS: Final = (
    (re.compile(r"-----BEGIN [^-]+-----.*?(-----END [^-]+-----|\Z)", re.DOTALL), "(removed)"),
    (
        re.compile(
            r"(?i)\b([\w.-]*(?:token|password|passwd|secret|certificate-key|(?:key|certificate|authority)-data))"
            r"(\"?\s*[:=]\s*\"?|\s+)(?!not\b|is\b|was\b|in\b|file\b)[^\s\",;]{6,}"
        ),
        r"\1\2(removed)",
    ),
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{6,}"), r"\1 (removed)"),
    (re.compile(r"://[^\s/@]+@"), "://(removed)@"),
    (re.compile(r"\b[a-z0-9]{6}\.[a-z0-9]{16}\b"), "(removed)"),
    (re.compile(r"(?<![\w/.:-])[A-Za-z0-9+/]{60,}={0,2}"), "(removed)"),
)
"""Private keys, kubeconfig fields, tokens and passwords, credentials in addresses, kubeadm tokens, long base64."""

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
    (re.compile(r"/\S*/calls-\w+/call-\w+/"), ""),
)
"""Colours, times, ids of containers and networks, durations, ephemeral ports, the private directory of a call (C18)."""

_RUN: Final = re.compile(
    r'command "(?P<what>\S+ \S+)[^\n]*?(?:\n(?!Command Output)[^\n]*)*?" failed with error: (?P<how>[^\n]*)'
)
_NOISE: Final = re.compile(r"Run 'docker run --help'.*|See 'docker run --help'.*|\(?id\)?|no stack trace|goroutine .*")
_STEP: Final = re.compile(r"^ • (?P<title>.+?)\s+\.\.\.$", re.MULTILINE)
_PICTURES: Final = re.compile(r"[^\x00-\x7f≤]+")
_PHASE: Final = re.compile(r"^error: error execution phase (?P<phase>[\w/-]+):? ?(?P<why>.*)$", re.MULTILINE)
_FATAL: Final = re.compile(r"^\s*\[ERROR (?P<check>[^\]]+)\]: (?P<why>.*)$", re.MULTILINE)
_ERROR: Final = re.compile(r"^error: (?P<why>.+)$", re.MULTILINE)

_WAITING: Final = ("wait-control-plane", "kubelet-start", "kubelet-wait-bootstrap", "control-plane-join", "check-etcd")
"""Phases that end by waiting in vain: what they say last depends on chance, seen three ways for one cause."""


def clean(text: str) -> str:
    """Return text as one line without secrets and without what differs from run to run."""
    for pattern, instead in (*_SECRETS, *_VARYING):
        text = pattern.sub(instead, text)
    return " ".join(text.split())


def cause(output: str) -> str:
    """Return what a command said about its failure, shortened; empty when it said nothing.

    kind's last line that begins with ERROR, and the output of the command that failed below it; of other commands the
    last lines.
    """
    head, marker, error = output.rpartition("ERROR: ")
    if not marker:
        return _joined(head.splitlines() or error.splitlines())
    said, _, below = error.partition("\nCommand Output:")
    said = re.sub(r"^(failed to (create|delete) cluster( \"[^\"]*\")?: )+", "", said)
    said = _RUN.sub(lambda run: f"`{run['what']}` failed ({run['how']})", said)
    return _shortened(". ".join(part for part in (clean(said), _joined(below.splitlines())) if part))


def kubeadm_cause(output: str) -> str:
    """Return at what kubeadm failed, from its verbose output."""
    if fatal := _FATAL.findall(output):
        return _shortened("kubeadm refuses the node: " + "; ".join(clean(f"{check}: {why}") for check, why in fatal))
    if phase := _PHASE.search(output):
        if phase["phase"].split("/")[0] in _WAITING:
            return f"Kubernetes did not come up in a node (kubeadm, phase {phase['phase']})"
        return _shortened(clean(f"kubeadm failed in phase {phase['phase']}: {phase['why']}"))
    if error := _ERROR.search(output):
        return _shortened(clean(f"kubeadm refuses its configuration: {error['why']}"))
    return "kubeadm could not set a node up"


def last_step(output: str) -> str:
    """Return the step that kind announced last; empty when it announced none."""
    titles = _STEP.findall(output)
    return clean(_PICTURES.sub(" ", titles[-1])) if titles else ""


def _joined(lines: list[str]) -> str:
    said = [clean(line) for line in lines]
    meaningful = [line for line in said if line and not _NOISE.fullmatch(line)]
    return _shortened(" ".join(meaningful[-4:]))


def _shortened(text: str) -> str:
    text = text.rstrip(". ")
    return text if len(text) <= MAX_CAUSE else f"{text[:MAX_CAUSE]}…"

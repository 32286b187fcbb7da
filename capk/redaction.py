"""The one list of what a secret looks like: removes secrets from log lines, events and condition messages.

Pure; knows shapes, not where a text comes from. It is the last line of defence: code that holds a secret must not print
it. The work grows with the length of the text only, whatever the text: no expression repeats a repetition that has no
bound, and an expression runs only if the text has one of its words.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

REMOVED: Final = "[removed]"


@dataclass(frozen=True)
class _Shape:
    """words: in lower case; a text without any of them has no secret of this shape."""

    words: tuple[str, ...]
    expression: re.Pattern[str]
    replacement: str | Callable[[re.Match[str]], str]


def _hide_flag(found: re.Match[str]) -> str:
    is_secret = _SECRET_FLAG.search(found["flag"])
    return f"--{found['flag']}{found['space']}{REMOVED}" if is_secret else found[0]


_SECRET_FLAG: Final = re.compile(r"token|password|passwd|secret|key", re.IGNORECASE)

SHAPES: Final = (
    # A PEM block; one whose end was cut off reaches to the end of the text, one whose head was cut off to its end.
    _Shape(
        ("-----begin ",),
        re.compile(r"-----BEGIN [^-\n]{1,80}-----.*?(?:-----END [^-\n]{1,80}-----|\Z)", re.DOTALL),
        REMOVED,
    ),
    _Shape(("-----end ",), re.compile(r"\A[^-]*-----END [^-\n]{1,80}-----"), REMOVED),
    # The same in base64, as kubeconfigs and Secrets hold it, wrapped or not: "-----BEGIN" encodes to this prefix.
    _Shape(
        ("ls0tls1crudjti",),
        re.compile(r"LS0tLS1CRUdJTi[A-Za-z0-9+/=]*(?:\s{1,40}[A-Za-z0-9+/=]{48,400})*"),
        REMOVED,
    ),
    # A key of a kubeconfig, a Secret, an exec plugin or an environment and its value, in YAML, JSON and JSON in JSON.
    _Shape(
        ("-data", "keydata", "certificatedata", "token", "passw", "secret", "certificate-key", "certificatekey"),
        re.compile(
            r"(?P<key>(?:key|certificate|authority)-data|clientKeyData|clientCertificateData|certificate-?key"
            r"|token|password|passwd|(?<=[\w-])secret|secret(?=[\\\"']{0,8}\s{0,8}=|[\\\"']{1,8}\s{0,8}:))"
            r"(?P<sep>[\\\"']{0,8}\s{0,8}[:=]\s{0,8}[\\\"']{0,8}|\s{1,8}(?=[A-Za-z0-9+/=_.-]{16}))[^\s\\\"',;}]+",
            re.IGNORECASE,
        ),
        rf"\g<key>\g<sep>{REMOVED}",
    ),
    # The value behind a flag of a command.
    _Shape(
        ("--",),
        re.compile(r"(?<!-)--(?P<flag>[A-Za-z]\w{0,30}(?:-\w{1,30}){0,5})(?P<space>[ \t]{1,8})[^\s-]\S{5,}"),
        _hide_flag,
    ),
    _Shape(
        ("bearer", "basic"),
        re.compile(r"\b(Bearer|Basic)\s{1,8}[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE),
        rf"\1 {REMOVED}",
    ),
    # User and password in an address.
    _Shape(("://",), re.compile(r"://[^\s/@]{1,200}@"), f"://{REMOVED}@"),
    # A JSON Web Token: two or three base64url parts, the first one a JSON object.
    _Shape(
        ("eyj",),
        re.compile(r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?"),
        REMOVED,
    ),
    # kubeadm's bootstrap token, printed in its "kubeadm join" hint.
    _Shape((".",), re.compile(r"\b[a-z0-9]{6}\.[a-z0-9]{16}\b"), REMOVED),
    # Long base64: small letters, capitals and digits, which tells it from a path, a digest or the id of a container.
    _Shape(
        ("",),
        re.compile(
            r"(?<![\w/.:-])(?=[a-z0-9+/]{0,59}[A-Z])(?=[A-Z0-9+/]{0,59}[a-z])(?=[A-Za-z+/]{0,59}\d)"
            r"[A-Za-z0-9][A-Za-z0-9+/]{59,}={0,2}"
        ),
        REMOVED,
    ),
)


def redact(text: str) -> str:
    """Return the text with everything that looks like a key, a certificate, a token or a password replaced."""
    folded = text.lower()
    for shape in SHAPES:
        if any(word in folded for word in shape.words):
            text = shape.expression.sub(shape.replacement, text)
    return text

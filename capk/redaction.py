"""Removes secrets from text that leaves the process: log lines, events, condition messages.

Pure; knows what secrets look like, not where they come from. It is the last line of defence: code that has a secret in
its hands must not print it.
"""

import re
from typing import Final

REMOVED: Final = "[removed]"

_SHAPES: Final = (
    # A PEM block; one whose end was cut off reaches to the end of the text.
    (re.compile(r"-----BEGIN [A-Z0-9 ]+-----.*?(?:-----END [A-Z0-9 ]+-----|\Z)", re.DOTALL), REMOVED),
    # The same in base64, as kubeconfigs and Secrets hold it, wrapped or not: "-----BEGIN" encodes to this prefix.
    (re.compile(r"LS0tLS1CRUdJTi[A-Za-z0-9+/=]*(?:\s+[A-Za-z0-9+/=]{48,})*"), REMOVED),
    # A key of a kubeconfig, a Secret or an exec plugin and its value, in YAML, in JSON and in JSON inside JSON.
    (
        re.compile(
            r"(?P<key>(?:client-key|client-certificate|certificate-authority)-data|clientKeyData|clientCertificateData"
            r"|id-token|refresh-token|access-token|client-secret|certificate-key|certificateKey|password|passwd|token)"
            r"(?P<sep>[\\\"']*\s*[:=]\s*[\\\"']*|\s+(?=[A-Za-z0-9+/=_.-]{16}))[^\s\\\"',;}]+",
            re.IGNORECASE,
        ),
        rf"\g<key>\g<sep>{REMOVED}",
    ),
    (re.compile(r"\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE), rf"\1 {REMOVED}"),
    # A JSON Web Token: two or three base64url parts, the first one a JSON object.
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?"), REMOVED),
    # kubeadm's bootstrap token, printed in its "kubeadm join" hint.
    (re.compile(r"\b[a-z0-9]{6}\.[a-z0-9]{16}\b"), REMOVED),
)


def redact(text: str) -> str:
    """Return the text with everything that looks like a key, a certificate, a token or a password replaced."""
    for shape, replacement in _SHAPES:
        text = shape.sub(replacement, text)
    return text

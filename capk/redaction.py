"""Removes secrets from log lines, Events and condition messages; the only list of the shapes of secrets.

Pure; knows shapes, not the origin of a text. It is the last line of defence: code that holds a secret must not print
it. The cost depends on the length of the text alone: no expression repeats an unbounded repetition, and an expression
runs only if the text has one of its words.
Source of names and prefixes: the rules of gitleaks (config/gitleaks.toml), the plugins of detect-secrets.
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


def _hide_value(found: re.Match[str]) -> str:
    """Keep name and quotation marks, so that the text around the value stays readable."""
    quote = found["quote"] or ""
    return f"{found['key']}{found['sep']}{quote}{REMOVED}{quote}"


_SECRET_FLAG: Final = re.compile(r"token|passw|passphrase|secret|key|credential", re.IGNORECASE)

_KEY: Final = (
    r"(?:key|certificate|authority)-data|clientKeyData|clientCertificateData|certificate-?key"
    r"|token|password|passwd|passphrase|(?<!old)pwd"
    r"|(?:api|secret|access|private|account|encryption|signing|master|shared|auth)[_-]?key(?:[_-]?id)?"
    r"|\.docker(?:configjson|cfg)|(?<=[?&])(?:sig|signature)|x-(?:amz|goog)-signature"
)
"""How the name of a secret ends, in kubeconfigs, Secrets, configurations of registries and clouds, and addresses."""
_KEY_WORDS: Final = (
    *("-data", "keydata", "certificatedata", "token", "passw", "passphrase", "pwd", "secret", "key", ".docker"),
    *("sig=", "signature"),
)
_QUOTE: Final = r"\\{0,7}[\"']"
"""Each level of JSON in JSON adds backslashes before a quotation mark."""
_QUOTED: Final = rf"(?P<quote>{_QUOTE})(?!(?P=quote))[^\n]*?(?:(?<!\\)(?P=quote)|$)"
"""Up to the closing quotation mark, or to the end of the line if that mark was cut off."""
_PLAIN: Final = r"(?:[^\s\\\"',;}]|[,;](?![\s\\\"']|[\w.-]{1,40}[:=]|$))+"
"""A comma or semicolon belongs to the value, unless another value begins after it."""
_NO_SECRET: Final = (
    r"(?:[\"']?(?:(?:true|false|null|nil|none)\b|/(?:etc|var|run|root|home|kind|usr|tmp|opt|mnt|srv)(?:/|$))"
    r"|[|>][-+\d]{0,3}[ \t]{0,8}$)"
)
"""A switch, an empty value, the path of a file, or the mark of a block."""
_ASSIGNED: Final = rf"(?P<sep>(?:{_QUOTE})?[ \t]{{0,8}}(?:[:=]|=>)[ \t]{{0,8}})"
_ENCODED: Final = rf"(?P<quote>{_QUOTE})?(?:[A-Za-z0-9+/_-]{{4,4096}}+={{0,2}}(?![\w.:+/=-])|\[removed\])"

SHAPES: Final = (
    # A PEM block; one whose end was cut off reaches to the end of the text, one whose head was cut off to its end.
    _Shape(
        ("-----begin ",),
        re.compile(r"-----BEGIN [^-\n]{1,80}-----.*?(?:-----END [^-\n]{1,80}-----|\Z)", re.DOTALL),
        REMOVED,
    ),
    _Shape(
        ("-----end ",),
        re.compile(
            r"(?:\A[^-]*|(?<![A-Za-z0-9+/=\s\\])[A-Za-z0-9+/=\s\\]*+)-----END [^-\n]{1,80}-----",
        ),
        REMOVED,
    ),
    # The same in base64, as kubeconfigs and Secrets hold it, wrapped or not: "-----BEGIN" encodes to this prefix.
    _Shape(
        ("ls0tls1crudjti",),
        re.compile(r"LS0tLS1CRUdJTi[A-Za-z0-9+/=]*(?:\s{1,40}[A-Za-z0-9+/=]{48,400})*"),
        REMOVED,
    ),
    # The logins of registries in base64: `{"auths":` encodes to this prefix.
    _Shape(("eyjhdxrocyi6",), re.compile(r"eyJhdXRocyI6[A-Za-z0-9+/=]*"), REMOVED),
    # A header that logs in, with or without a scheme before its value.
    _Shape(
        ("authorization", "x-registry-", "cookie"),
        re.compile(
            rf"(?P<key>authorization|x-registry-(?:auth|config)|cookie)(?P<sep>(?:{_QUOTE})?[ \t]{{0,8}}[:=]"
            r"[ \t\[\\\"']{0,12})"
            r"(?:(?:bearer|basic|digest|negotiate|ntlm|token|apikey|aws4-hmac-sha256)[ \t]{1,8}[^\n\"'\\]+"
            r"|[A-Za-z0-9._~-]{1,60}=[^\s\"'\\]+|[A-Za-z0-9+/=._~-]{16,})",
            re.IGNORECASE,
        ),
        rf"\g<key>\g<sep>{REMOVED}",
    ),
    # The name of a secret and its value, in YAML, JSON, JSON in JSON, TOML, environments and addresses.
    _Shape(
        _KEY_WORDS,
        re.compile(
            rf"(?P<key>{_KEY}|(?<=[\w-])secret|secret(?=(?:{_QUOTE})?[ \t]{{0,8}}=|{_QUOTE}[ \t]{{0,8}}:))"
            rf"{_ASSIGNED}(?!{_NO_SECRET})(?:{_QUOTED}|{_PLAIN})",
            re.IGNORECASE | re.MULTILINE,
        ),
        _hide_value,
    ),
    # A name that is also a common word: only if base64 follows it.
    _Shape(
        ("auth",),
        re.compile(
            rf"(?P<key>(?<![A-Za-z-])_?auth){_ASSIGNED}(?=[\\\"']{{0,8}}[A-Za-z0-9][a-z]{{0,60}}[A-Z0-9=+/]){_ENCODED}"
        ),
        _hide_value,
    ),
    _Shape(
        ("secret",),
        re.compile(
            rf"(?P<key>(?<![\w-])secret){_ASSIGNED}(?=[\\\"']{{0,8}}[a-z0-9/_-]{{0,60}}[A-Z+=])(?=\S{{22}}){_ENCODED}"
        ),
        _hide_value,
    ),
    # A name and its value with only space between them; a value has more than lower-case letters.
    _Shape(
        ("-data", "certificate-key", "token", "passw"),
        re.compile(
            r"(?P<key>(?:key|certificate|authority)-data|certificate-key|token|password|passwd)(?P<space>\s{1,8})"
            r"(?=[A-Za-z0-9+/=_.-]{16})(?=(?-i:[A-Za-z0-9][a-z.-]{0,60}[A-Z0-9=+_]))[^\s\\\"',;}]+",
            re.IGNORECASE,
        ),
        rf"\g<key>\g<space>{REMOVED}",
    ),
    # The value of a command's flag.
    _Shape(
        ("--",),
        re.compile(
            r"(?<!-)--(?P<flag>[A-Za-z]\w{0,30}(?:-\w{1,30}){0,5})(?P<space>[ \t]{1,8})"
            r"(?:\"[^\"\n]*\"?|'[^'\n]*'?|[^\s-]\S{5,})"
        ),
        _hide_flag,
    ),
    _Shape(
        ("bearer", "basic"),
        re.compile(
            r"\b(Bearer|Basic)\s{1,8}(?!(?:auth\w{0,12}|tokens?|credentials?)\b)[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE
        ),
        rf"\1 {REMOVED}",
    ),
    # A password in YAML that has spaces and no quotation marks.
    _Shape(
        ("passw", "passphrase"),
        re.compile(
            r"^(?P<key>[ \t-]{0,200}+[\w.-]{0,60}?(?:password|passwd|passphrase):[ \t]{1,8})[^\s\"'].*$",
            re.IGNORECASE | re.MULTILINE,
        ),
        rf"\g<key>{REMOVED}",
    ),
    # User and password in an address; a password may hold an @.
    _Shape(("://",), re.compile(r"://(?:[^\s/@]*+@)+"), f"://{REMOVED}@"),
    # A JSON Web Token: two or three base64url parts, the first one a JSON object.
    _Shape(
        ("eyj",),
        re.compile(r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?"),
        REMOVED,
    ),
    # Tokens of clouds, forges and registries, by their prefixes.
    _Shape(
        ("akia", "asia", "abia", "acca", "a3t"),
        re.compile(r"(?<![A-Za-z0-9])(?:A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Za-z0-9])"),
        REMOVED,
    ),
    _Shape(
        ("gh", "glpat-", "dckr_", "xox", "aiza", "npm_", "hvs.", "age-secret-key-"),
        re.compile(
            r"\b(?:gh[opsur]_\w{30,}|github_pat_\w{22,}|glpat-[\w-]{20,}|dckr_(?:pat|oat)_[\w-]{20,}|xox[a-z]-[\w-]{10,}"
            r"|AIza[\w-]{35}|npm_\w{36}|hvs\.[\w-]{20,}|AGE-SECRET-KEY-\w{20,})"
        ),
        REMOVED,
    ),
    # kubeadm's bootstrap token, printed in its "kubeadm join" hint.
    _Shape((".",), re.compile(r"\b[a-z0-9]{6}\.[a-z0-9]{16}\b"), REMOVED),
    # Long base64 with lower case, upper case and digits, unlike a path, a digest or the id of a container.
    _Shape(
        ("",),
        re.compile(
            r"(?<![\w/.:-])(?=[a-z0-9+/]{0,59}[A-Z])(?=[A-Z0-9+/]{0,59}[a-z])(?=[A-Za-z+/]{0,59}\d)"
            r"[A-Za-z0-9][A-Za-z0-9+/]{59,}={0,2}"
        ),
        REMOVED,
    ),
)

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")
"""Control characters such as line breaks and the beginning of escape sequences, and marks of the writing direction."""
_BREAK: Final = re.compile(r"(\r?\n|\\{1,7}n)")
"""The end of a line, also in text that is quoted in JSON."""
_BLOCK_WORDS: Final = (*_KEY_WORDS, "auth")
_BLOCK_KEY: Final = rf"(?:{_KEY}|secret|(?<![A-Za-z-])_?auth)(?:{_QUOTE})?[ \t]{{0,8}}:[ \t]{{0,8}}"
_MARKED: Final = re.compile(rf"{_BLOCK_KEY}[|>][-+\d]{{0,3}}[ \t]{{0,8}}$", re.IGNORECASE)
_NAME_ALONE: Final = re.compile(rf"[ \t-]{{0,200}}+[\"']?[\w.-]{{0,60}}?{_BLOCK_KEY}", re.IGNORECASE)
_SCALAR: Final = re.compile(r"\s*+(?![-#{\[]\s)(?:[^:]|:(?!\s|$))*+")
"""A line that is not a list, a map or a comment."""
_MOST_OF_A_NAME: Final = 200
_SECRET_DATA: Final = re.compile(r"[ \t-]{0,200}+(?:data|stringData):[ \t]{0,8}")
_IS_SECRET: Final = re.compile(r"\bkind[\\\"']{0,8}:[ \t]{0,8}[\\\"']{0,8}Secret\b")
_JSON_SECRET_DATA: Final = re.compile(r"(?P<head>(?:data|stringData)\\{0,7}\":[ \t]{0,8})\{[^{}]{0,65536}\}")


def redact(text: str) -> str:
    """Replace everything in a text that looks like a key, a certificate, a token or a password."""
    folded = text.lower()
    text = _without_blocks(text, folded)
    for shape in SHAPES:
        if any(word in folded for word in shape.words):
            text = shape.expression.sub(shape.replacement, text)
    return text


def one_line(text: str) -> str:
    """Return a text of any origin as one line, as `visible` does, without space around it."""
    return visible(text).strip()


def visible(text: str) -> str:
    """Return a text with spaces in place of line breaks and of what would control a terminal or reorder its signs."""
    return _CONTROL.sub(" ", text)


def _without_blocks(text: str, folded: str) -> str:
    """Remove secrets on lines of their own, below their names and indented deeper."""
    if not any(word in folded for word in _BLOCK_WORDS):
        return text
    is_secret = _IS_SECRET.search(text) is not None
    if is_secret:
        text = _JSON_SECRET_DATA.sub(rf"\g<head>{{{REMOVED}}}", text)
    pieces, block = _BREAK.split(text), None
    for at in range(0, len(pieces), 2):
        line = pieces[at]
        if block and line.strip():
            if block.holds(line):
                pieces[at] = f"{line[: _depth(line)]}{REMOVED}"
                continue
            block = None
        block = block or _block_below(line, is_secret=is_secret)
    return "".join(pieces)


@dataclass(frozen=True)
class _Block:
    """Lines below the name of a secret. depth: of the name; is_marked: whether anything deeper belongs to it."""

    depth: int
    is_marked: bool

    def holds(self, line: str) -> bool:
        return _depth(line) > self.depth and (self.is_marked or _SCALAR.fullmatch(line) is not None)


def _block_below(line: str, *, is_secret: bool) -> _Block | None:
    """Return the block that begins below a line if it is a secret. is_secret: whether `data` is that of a Secret."""
    depth = len(line) - len(line.lstrip(" \t-"))
    end = line[-_MOST_OF_A_NAME:]
    if _MARKED.search(end) or (is_secret and _SECRET_DATA.fullmatch(line)):
        return _Block(depth, is_marked=True)
    return _Block(depth, is_marked=False) if _NAME_ALONE.fullmatch(line) else None


def _depth(line: str) -> int:
    return len(line) - len(line.lstrip())

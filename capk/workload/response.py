"""Reads HTTP/1.1 responses of an untrusted server: bounded, and rejects anything unusual. Pure."""

import re
from dataclasses import dataclass
from typing import Final

MOST_BYTES: Final = 64 * 1024
"""Maximum size of head and body together."""
MOST_HEAD_BYTES: Final = 16 * 1024
MOST_LINES: Final = 128
"""Lines of a head. Each piece that arrives causes head and chunks to be parsed again, so the number must be small."""
MOST_CHUNKS: Final = 256
"""The chunks of an API server have some KiB each."""

_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([2-5]\d\d)(?: [^\r\n]*)?")
_LENGTH: Final = re.compile(rb"\d{1,5}")
_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,5})(?:;[^\r\n]{0,100})?\r\n")


class BadResponse(ValueError):
    """The response is too large or is not HTTP; the message gives the reason, and quotes nothing."""


@dataclass(frozen=True)
class Response:
    """One HTTP response.

    status: 200 to 599. body: as it was sent. reusable: whether the connection can carry another request.
    """

    status: int
    body: bytes
    reusable: bool


def read_response(data: bytes, *, ended: bool) -> Response | None:
    """Return the response in the bytes of a connection; None while it is incomplete.

    ended: the server has closed the connection. Raises BadResponse, also for a truncated response.
    """
    head, separator, rest = data.partition(b"\r\n\r\n")
    if len(head) > MOST_HEAD_BYTES or len(data) > MOST_BYTES:
        raise BadResponse(f"the answer is larger than {MOST_BYTES // 1024} KiB, or its head than 16 KiB")
    if separator:
        response = _response(head, rest, ended)
        if response is not None:
            return response
    if ended:
        raise BadResponse("the answer is cut off" if data else "the connection was closed without an answer")
    return None


def _response(head: bytes, rest: bytes, ended: bool) -> Response | None:
    first, *lines = head.split(b"\r\n", MOST_LINES + 1)
    if len(lines) > MOST_LINES:
        raise BadResponse(f"the answer has more than {MOST_LINES} header lines")
    if not (line := _STATUS_LINE.fullmatch(first)):
        raise BadResponse("the answer is not HTTP/1.1")
    fields = (line.lower().partition(b":") for line in lines)
    headers = {name.strip(): value.strip() for name, _, value in fields}
    status, is_kept = int(line[2]), line[1] == b"1" and headers.get(b"connection") != b"close" and not ended
    if b"transfer-encoding" in headers:
        return _chunked(status, rest, is_kept)
    if b"content-length" in headers:
        return _sized(status, rest, headers[b"content-length"], is_kept)
    if status in (204, 304):
        return Response(status, b"", is_kept and not rest)
    return Response(status, rest, False) if ended else None


def _sized(status: int, rest: bytes, length: bytes, is_kept: bool) -> Response | None:
    if not _LENGTH.fullmatch(length) or int(length) > MOST_BYTES:
        raise BadResponse("the answer is too large, or its length is not a number")
    # A server that sends more than it announced is not trusted with another request.
    size = int(length)
    return Response(status, rest[:size], is_kept and len(rest) == size) if len(rest) >= size else None


def _chunked(status: int, rest: bytes, is_kept: bool) -> Response | None:
    parts: list[bytes] = []
    position = 0
    while chunk := _CHUNK.match(rest, position):
        size, begin = int(chunk[1], 16), chunk.end()
        if size == 0:
            # We request no trailers, so they end the use of the connection.
            return Response(status, b"".join(parts), is_kept and rest[begin:] == b"\r\n")
        if len(rest) < begin + size + 2:
            return None
        if rest[begin + size : begin + size + 2] != b"\r\n":
            break
        parts.append(rest[begin : begin + size])
        if len(parts) > MOST_CHUNKS:
            raise BadResponse(f"the answer has more than {MOST_CHUNKS} chunks")
        position = begin + size + 2
    if len(rest) - position > 120 or b"\r\n" in rest[position:]:
        raise BadResponse("the chunks of the answer are malformed")
    return None

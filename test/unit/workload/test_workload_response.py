from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capk.workload.response import BadResponse, Response, read_response

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nKube\r\n7;a=b\r\nrnetes\n\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "response"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", Response(200, b"ok", True)),
        (b"HTTP/1.1 200\r\ncontent-length:2\r\n\r\nok", Response(200, b"ok", True)),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", Response(200, b"ok", False)),
        (b"HTTP/1.1 500 Oh no\r\nContent-Length: 2\r\nConnection: Close\r\n\r\nno", Response(500, b"no", False)),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok, and more", Response(200, b"ok", False)),
        (b"HTTP/1.1 204 No Content\r\n\r\n", Response(204, b"", True)),
        (CHUNKED, Response(200, b"Kubernetes\n"[:4] + b"rnetes\n", True)),
        (CHUNKED + b"more", Response(200, b"Kubernetes\n"[:4] + b"rnetes\n", False)),
        (CHUNKED[:-2] + b"Trailer: x\r\n\r\n", Response(200, b"Kubernetes\n"[:4] + b"rnetes\n", False)),
    ],
)
def test_response_is_read_as_soon_as_it_is_complete(data: bytes, response: Response) -> None:
    assert read_response(data, ended=False) == response


@pytest.mark.parametrize("whole", [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", CHUNKED[:-2]])
def test_part_of_a_response_waits_for_the_rest_and_fails_at_the_end(whole: bytes) -> None:
    for length in range(len(whole)):
        assert read_response(whole[:length], ended=False) is None
        with pytest.raises(BadResponse):
            read_response(whole[:length], ended=True)


def test_response_without_a_length_ends_with_its_connection() -> None:
    data = b"HTTP/1.1 200 OK\r\n\r\nok"
    assert read_response(data, ended=False) is None
    assert read_response(data, ended=True) == Response(200, b"ok", False)


HEADS = st.sampled_from([b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 500 x\r\n", b"HTTP/1.1 302 Found\r\n", b""])
FIELDS = st.sampled_from([b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b": \r\n", b"", b"\r\r\n"])
CHUNKS = st.sampled_from([b"3\r\nabc\r\n0\r\n\r\n", b"3\r\nabcd\r\n", b"3\n", b"FFFFFF\r\n", b"-1\r\n"])


@given(HEADS, FIELDS, st.binary(max_size=40) | CHUNKS, st.booleans())
def test_any_bytes_are_a_response_or_refused(head: bytes, field: bytes, body: bytes, ended: bool) -> None:
    response = None
    with suppress(BadResponse):
        response = read_response(head + field + b"\r\n" + body, ended=ended)
        assert response is not None or not ended
    assert response is None or len(response.body) <= len(body)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\n" + b"a:\r\n" * 200 + b"Content-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 300,
    ],
)
def test_response_of_very_many_parts_is_refused_as_each_piece_has_it_read_again(data: bytes) -> None:
    with pytest.raises(BadResponse, match="has more than"):
        read_response(data, ended=False)


def test_response_of_as_many_parts_as_servers_use_is_read() -> None:
    head = b"HTTP/1.1 200 OK\r\n" + b"a:\r\n" * 100 + b"Transfer-Encoding: chunked\r\n\r\n"
    assert read_response(head + b"1\r\na\r\n" * 200 + b"0\r\n\r\n", ended=False) == Response(200, b"a" * 200, True)

import io
import json
import logging
from collections.abc import Iterator

import pytest

from capk.runtime import logs

KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7\n-----END RSA PRIVATE KEY-----"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """A stream for the configuration of logging, which is restored afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield io.StringIO()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.parametrize("format", ["text", "json"])
def test_no_secret_gets_through_message_arguments_keys_or_exception(format: str, stream: io.StringIO) -> None:
    logs.configure(format, "DEBUG", stream)
    log = logging.getLogger("capk.test")
    log.info("in the message %s", KEY)
    log.info("token: %s", "s3cretvalue", extra={"header": "Bearer abcdefghijklmnop"})
    try:
        raise ValueError(f"client-key-data: {'QUJD' * 10}")
    except ValueError:
        log.exception("failed", extra={"nested": f"password={KEY}"})
    output = stream.getvalue()
    for secret in ("MIIEpAIBAAKCAQEA7", "s3cretvalue", "abcdefghijklmnop", "QUJDQUJD"):
        assert secret not in output
    assert output.count("[removed]") >= 5
    assert "ValueError" in output


def test_json_lines_carry_level_logger_time_and_keys(stream: io.StringIO) -> None:
    logs.configure("json", "INFO", stream)
    with logs.context(KINDCluster="default/dev", Cluster="default/c"):
        logging.getLogger("capk.test").warning("hello %s", "you", extra={"Cluster": "default/own"})
    logging.getLogger("capk.test").info("after")
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert first.pop("time")
    assert first == {
        "level": "WARNING",
        "logger": "capk.test",
        "message": "hello you",
        "KINDCluster": "default/dev",
        "Cluster": "default/own",
    }
    assert "KINDCluster" not in second


def test_json_exception_has_its_own_field(stream: io.StringIO) -> None:
    logs.configure("json", "INFO", stream)
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("capk.test").exception("failed")
    assert "ValueError: broken" in json.loads(stream.getvalue())["exception"]


def test_text_lines_carry_the_keys_behind_the_message(stream: io.StringIO) -> None:
    logs.configure("text", "INFO", stream)
    with logs.context(KINDCluster="default/dev"):
        logging.getLogger("capk.test").info("hello")
    assert stream.getvalue().endswith("INFO    capk.test: hello KINDCluster=default/dev\n")


@pytest.mark.rule("K43")
def test_loggers_that_tell_of_every_event_are_quiet(stream: io.StringIO) -> None:
    logs.configure("text", "DEBUG", stream)
    logging.getLogger("kopf.objects").info("Handler 'seen' succeeded.")
    logging.getLogger("kopf.objects").warning("trouble")
    assert "succeeded" not in stream.getvalue()
    assert "trouble" in stream.getvalue()


def test_configuring_again_does_not_double_lines(stream: io.StringIO) -> None:
    logs.configure("text", "info", stream)
    logs.configure("text", "INFO", stream)
    logging.getLogger("capk.test").info("once")
    assert stream.getvalue().count("once") == 1


@pytest.mark.parametrize(("format", "level"), [("xml", "INFO"), ("text", "LOUD")])
def test_unknown_format_or_level_is_refused(format: str, level: str, stream: io.StringIO) -> None:
    with pytest.raises(ValueError, match=r"xml|LOUD"):
        logs.configure(format, level, stream)


FORGED = "2026-01-01 00:00:00,000 ERROR   capk.kube: all clusters were deleted"


@pytest.mark.parametrize(
    "control", ["\n", "\r\n", "\x1b[2K\x1b[1A", "\x9b2J", "\u2028", "\x1b]0;title\x07", "\u202e", "\u200f"]
)
def test_what_others_write_is_neither_a_line_of_its_own_nor_controls_the_terminal(
    control: str, stream: io.StringIO
) -> None:
    logs.configure("text", "INFO", stream)
    logging.getLogger("capk.test").warning("refused: %s", f"a{control}{FORGED}", extra={"key": f"a{control}b"})
    try:
        raise ValueError(f"a{control}{FORGED}")
    except ValueError:
        logging.getLogger("capk.test").exception("failed")
    first, second, *traceback = stream.getvalue().splitlines()
    assert "refused: a" in first
    assert "failed" in second
    assert traceback
    assert all(line.startswith("  ") for line in traceback)
    assert not {*stream.getvalue()} & {"\x1b", "\x9b", "\x07", "\u202e", "\u2028", "\r"}


def test_secret_on_a_line_below_its_name_is_removed_before_the_lines_are_joined(stream: io.StringIO) -> None:
    logs.configure("text", "INFO", stream)
    logging.getLogger("capk.test").warning("webhook: %s", "spec:\n  password: |\n    correct horse battery\n  name: x")
    assert "horse" not in stream.getvalue()
    assert "name: x" in stream.getvalue()

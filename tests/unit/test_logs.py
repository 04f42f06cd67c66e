"""What reaches the log stream, in which form, and what must never reach it."""

import io
import json
import logging
import warnings
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
import structlog

from consumer.telemetry.logs import LibraryHandler, configure


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class ClosedPipe(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError(f"{len(text)} characters that no process reads")


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    yield
    structlog.reset_defaults()
    logging.captureWarnings(False)
    root = logging.getLogger()
    for bridge in [handler for handler in root.handlers if isinstance(handler, LibraryHandler)]:
        root.removeHandler(bridge)


def events(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_line_of_json() -> None:
    stream = io.StringIO()
    configure("INFO", "auto", stream)
    structlog.get_logger().bind(worker_id="w-1").info("shard.claimed", lease_epoch=7)
    (event,) = events(stream)
    assert list(event) == ["timestamp", "level", "event", "worker_id", "lease_epoch"]
    assert datetime.fromisoformat(event.pop("timestamp")).utcoffset() == timedelta(0)
    assert event == {"level": "info", "event": "shard.claimed", "worker_id": "w-1", "lease_epoch": 7}


def test_a_terminal_gets_pretty_lines_whose_values_cannot_steer_it() -> None:
    stream = Terminal()
    configure("INFO", "auto", stream)
    structlog.get_logger().info("shard.claimed", shard_id="\x1b[2J")
    assert "shard.claimed" in stream.getvalue()
    assert "\x1b[2J" not in stream.getvalue()


@pytest.mark.parametrize(("chosen", "is_json"), [("json", True), ("pretty", False)])
def test_the_format_can_be_chosen(chosen: Any, is_json: bool) -> None:
    stream = Terminal() if is_json else io.StringIO()
    configure("INFO", chosen, stream)
    structlog.get_logger().info("shard.claimed")
    assert stream.getvalue().startswith("{") is is_json
    assert "\x1b" not in stream.getvalue()


def test_what_is_below_the_level_is_not_logged() -> None:
    stream = io.StringIO()
    configure("WARNING", "json", stream)
    log = structlog.get_logger()
    log.info("unit.committed")
    log.warning("call.retry_scheduled")
    assert [event["event"] for event in events(stream)] == ["call.retry_scheduled"]


def test_a_new_configuration_reaches_loggers_made_before() -> None:
    log = structlog.get_logger()
    first, second = io.StringIO(), io.StringIO()
    configure("INFO", "json", first)
    log.info("one")
    configure("DEBUG", "json", second)
    log.debug("two")
    assert [event["event"] for event in events(first) + events(second)] == ["one", "two"]


def test_an_exception_is_a_field_without_local_variables() -> None:
    stream = io.StringIO()
    configure("INFO", "json", stream)
    confidential = "wJalrXUtnFEMI"
    try:
        raise ValueError(len(confidential))
    except ValueError:
        structlog.get_logger().error("health.broken", exc_info=True)
    (event,) = events(stream)
    assert "ValueError: 13" in event["exception"]
    assert confidential not in stream.getvalue()


def test_warnings_of_libraries_are_events_once() -> None:
    stream = io.StringIO()
    logging.getLogger().handlers.clear()  # pytest's own fail on arguments that do not fit
    configure("INFO", "json", io.StringIO())
    configure("INFO", "json", stream)
    logging.getLogger("botocore.utils").warning("no %s", "role")
    logging.getLogger("urllib3").error("pool of %d is full", "many")
    logging.getLogger("botocore").info("found credentials")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("this Python is old", UserWarning, stacklevel=1)
    reported = [(event["level"], event["event"], event["logger"]) for event in events(stream)]
    assert reported == [
        ("warning", "library.logged", "botocore.utils"),
        ("error", "library.logged", "urllib3"),
        ("warning", "library.logged", "py.warnings"),
    ]
    assert [event["message"] for event in events(stream)][:2] == ["no role", "pool of %d is full"]


@pytest.mark.parametrize("chosen", ["json", "pretty"])
def test_credentials_are_hidden(chosen: Any) -> None:
    stream = io.StringIO()
    configure("DEBUG", chosen, stream)
    log = structlog.get_logger()
    log.info("client.made", aws_secret_access_key="SEEN1", session={"SessionToken": "SEEN2"}, Authorization="SEEN3")
    log.info(
        "client.made", key="AKIAIOSFODNN7EXAMPLE", url="https://x/?X-Amz-Security-Token=SEEN4&X-Amz-Signature=SEEN5"
    )
    log.info("client.made", header="AWS4-HMAC-SHA256 Credential=SEEN6/20260131/eu-west-1, Signature=SEEN7")
    logging.getLogger("botocore").error('{"SecretAccessKey" : "SEEN8", "AccessKeyId": "ASIAIOSFODNN7EXAMPLE"}')
    try:
        raise ValueError("aws_session_token=SEEN9")
    except ValueError:
        log.exception("client.failed")
    assert "client.failed" in stream.getvalue()
    assert "SEEN" not in stream.getvalue()
    assert "7EXAMPLE" not in stream.getvalue()


def test_what_is_no_credential_is_not_hidden() -> None:
    stream = io.StringIO()
    configure("INFO", "json", stream)
    fields = {
        "token": "abc",
        "shard_id": "shardId-00000001",
        "detail": "no credentials: set AWS_PROFILE",
        "key": "AKIA",
    }
    structlog.get_logger().info("x", **fields)
    (event,) = events(stream)
    assert {name: event[name] for name in fields} == fields


def test_a_stream_that_is_closed_does_not_fail_the_caller() -> None:
    stream = ClosedPipe()
    configure("INFO", "json", stream)
    structlog.get_logger().info("unit.committed")
    stream.close()
    structlog.get_logger().info("unit.committed")

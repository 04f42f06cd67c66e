"""What reaches the log stream, in which form, and what must never reach it."""

import errno
import fcntl
import io
import json
import logging
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import pytest
import structlog

from consumer.telemetry import logs
from consumer.telemetry.logs import LibraryHandler, Sink, configure, unblock


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


# --- a worker's log never waits ---

PIPE_BYTES = 4096


class Pipe:
    """A log that something else reads, or not."""

    def __init__(self) -> None:
        self._reading, self.writing = os.pipe()
        fcntl.fcntl(self.writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._stream = os.fdopen(self.writing, "w")
        self._lines = os.fdopen(self._reading, "r")

    def log_to(self) -> Sink:
        configure("INFO", "json", self._stream)
        return unblock()

    def fill(self) -> None:
        os.write(self.writing, b"\n" * PIPE_BYTES)

    def read_until(self, event: str) -> list[dict[str, Any]]:
        """The events up to that one."""
        found: list[dict[str, Any]] = []
        while not found or found[-1]["event"] != event:
            if line := self._lines.readline().strip():
                found.append(json.loads(line))
        return found

    def close(self) -> None:
        for file in (self._lines, self._stream):
            with suppress(BrokenPipeError):
                file.close()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.close()


def names(found: list[dict[str, Any]]) -> list[str]:
    return [event["event"] for event in found]


def test_lines_that_find_the_queue_full_are_dropped_counted_and_reported(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "MOST_QUEUED_LINES", 3)
    sink = pipe.log_to()
    pipe.fill()
    for number in range(20):
        structlog.get_logger().info("unit.committed", number=number)
    assert sink.dropped >= 20 - 2 * 3, "three in the queue, three with the thread"
    *kept, report = pipe.read_until("log.lines_dropped")
    assert report["lines"] == sink.dropped == 20 - len(kept)
    assert [event["number"] for event in kept] == list(range(len(kept))), "the oldest ones, in order"
    structlog.get_logger().info("unit.committed", number=20)
    assert pipe.read_until("unit.committed")[-1]["number"] == 20


def test_the_last_line_waits_for_a_log_that_blocks_but_not_for_long(pipe: Pipe) -> None:
    pipe.log_to()
    pipe.fill()
    since = time.monotonic()
    structlog.get_logger().critical("worker.stalled")
    assert logs.FLUSH_SECONDS <= time.monotonic() - since < logs.FLUSH_SECONDS + 1


def test_the_last_line_is_written_when_its_call_returns(pipe: Pipe) -> None:
    pipe.log_to()
    structlog.get_logger().info("unit.committed")
    structlog.get_logger().critical("worker.stalled")
    os.set_blocking(pipe._reading, False)
    assert names(pipe.read_until("worker.stalled")) == ["unit.committed", "worker.stalled"]


@pytest.mark.parametrize("path", ["/dev/full", None], ids=["full disk", "pipe without a reader"])
def test_lines_that_cannot_be_written_are_counted_and_no_call_fails(path: str | None) -> None:
    if path is None:
        reading, writing = os.pipe()
        os.close(reading)
    else:
        writing = os.open(path, os.O_WRONLY)
    with os.fdopen(writing, "w") as stream:
        configure("INFO", "json", stream)
        sink = unblock()
        structlog.get_logger().info("unit.committed")
        structlog.get_logger().critical("worker.stalled")
        assert sink.dropped == 2, "and no report, which would be dropped again and again"


def test_after_a_torn_line_the_next_one_stands_alone(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = pipe.log_to()
    write = os.write
    outcomes = iter([7, OSError(errno.ENOSPC, "No space left on device")])

    def fill_up(file: int, data: bytes) -> int:
        match next(outcomes, None):
            case OSError() as failure:
                raise failure
            case int(length):
                return write(file, data[:length])
            case _:
                return write(file, data)

    monkeypatch.setattr(os, "write", fill_up)
    structlog.get_logger().critical("unit.committed")
    assert sink.dropped == 1
    structlog.get_logger().critical("worker.stalled")
    assert pipe._lines.readline() == '{"times\n'
    assert names(pipe.read_until("log.lines_dropped")) == ["worker.stalled", "log.lines_dropped"]


def test_a_pipe_that_another_process_made_non_blocking_loses_nothing(pipe: Pipe) -> None:
    os.set_blocking(pipe.writing, False)
    sink = pipe.log_to()
    for number in range(500):
        structlog.get_logger().info("unit.committed", number=number)
    structlog.get_logger().info("worker.stopped")
    assert len(pipe.read_until("worker.stopped")) == 501
    assert sink.dropped == 0


def test_a_process_that_ends_leaves_its_whole_log_in_order() -> None:
    """A whole process: what its writer has not written yet at the end, it still writes."""
    code = (
        "import structlog; from consumer.telemetry.logs import configure, unblock\n"
        "configure('INFO', 'json'); unblock()\n"
        "for number in range(3_000): structlog.get_logger().info('unit.committed', number=number)\n"
        "raise SystemExit(4)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, timeout=30)
    assert ended.returncode == 4
    assert [json.loads(line)["number"] for line in ended.stderr.splitlines()] == list(range(3_000))


def test_a_log_in_memory_needs_no_thread() -> None:
    stream = io.StringIO()
    configure("INFO", "json", stream)
    unblock()
    structlog.get_logger().info("unit.committed")
    assert names(events(stream)) == ["unit.committed"]

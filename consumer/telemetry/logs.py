"""Logs: one event per line on stderr, JSON for machines, pretty on a terminal. Credentials are never written.

Whatever becomes of the stream (closed, full, a pipe that nothing reads), a log call never fails. Commands write their
lines at once. A worker does not wait for them either: after `unblock` a thread writes, and a line that finds the queue
full is dropped and counted.
"""

import atexit
import logging
import os
import re
import select
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Final, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor

HIDDEN: Final = "***"
SECRET_NAMES: Final = re.compile(r"(?i)secret|password|authorization|credential|access_?key|session_?token|signature")
SECRET_TEXTS: Final = re.compile(
    r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}"
    r"|(?i:((?:credential|signature|security-token)=|(?:secret_?access_?key|session_?token)[\"'\\]*\s*[:=]\s*[\"'\\]*)"
    r"[^\s,&\"'\\]+)"
)
"""Access key ids, and the values in a signed request or in stored credentials."""

MOST_QUEUED_LINES: Final = 5_000
"""About 2 MB: what a worker logs in a minute at DEBUG, in days at INFO."""
BATCH_CHARACTERS: Final = 32_768
"""Lines are written together: among busy threads the writer's turn comes rarely."""
FLUSH_SECONDS: Final = 0.3
"""How long the end of the process waits for its last lines."""


def configure(level: str, format: Literal["auto", "json", "pretty"], stream: TextIO | None = None) -> None:  # noqa: A002 - the setting's name
    """Sends structlog's events of at least `level`, and warnings of libraries, to `stream` (None: stderr)."""
    sink = Sink(stream or sys.stderr)
    pretty = sink.pretty = format == "pretty" or (format == "auto" and sink.terminal)
    chain: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _hide_fields,
    ]
    if pretty:
        colors = sink.terminal and "NO_COLOR" not in os.environ
        plain = structlog.dev.plain_traceback  # the rich one shows local variables
        chain.append(structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=plain, repr_native_str=True))
    else:
        chain += [_standard_fields_first, structlog.processors.JSONRenderer()]
    structlog.configure(
        processors=[*chain, _hide_texts],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=lambda *_: sink,
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    for bridge in [handler for handler in root.handlers if isinstance(handler, LibraryHandler)]:
        root.removeHandler(bridge)
    root.addHandler(LibraryHandler(logging.WARNING))
    logging.captureWarnings(True)


class Sink:
    """Writes whole lines to a stream. A stream that is closed or full loses lines; it never fails the caller."""

    dropped = 0
    """How many lines were lost; counted only where a thread writes."""
    pretty = False
    """Whether lines are pretty, and not JSON."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.RLock()  # a signal handler may log while its thread is in `write`
        self.terminal = stream.isatty()

    def write(self, line: str) -> None:
        """Writes a line, or loses it."""
        with self._lock, suppress(OSError, ValueError, RuntimeError):
            self._stream.write(line + "\n")
            self._stream.flush()

    def unblocked(self) -> "Sink":
        """A sink on the same file whose callers never wait; itself where the stream is memory, which never blocks."""
        try:
            queued = QueuedSink(self._stream)
        except (OSError, ValueError):
            return self
        queued.pretty = self.pretty
        return queued

    def debug(self, line: str) -> None:
        """The methods of structlog's levels."""
        self.write(line)

    info = warning = error = critical = debug


class QueuedSink(Sink):
    """Lines go through a bounded queue to a thread, the only one that ever waits for the file.

    The thread uses the file descriptor: a lock of `sys.stderr`, held in a write that never ends, would abort the
    interpreter's exit. O_NONBLOCK is not set: other processes share the file, and it would hold for them too.
    """

    def __init__(self, stream: TextIO) -> None:
        """Raises OSError where the stream is no file."""
        super().__init__(stream)
        self._file = stream.fileno()
        self._queue: SimpleQueue[str | threading.Event] = SimpleQueue()  # its `put` is safe in signal handlers
        self._reported = 0
        self._torn = False
        threading.Thread(target=self._run, name="log", daemon=True).start()

    def write(self, line: str) -> None:
        """Queues a line, or drops it."""
        if self._queue.qsize() < MOST_QUEUED_LINES:
            self._queue.put(line + "\n")
        else:
            self._drop(1)

    def critical(self, line: str) -> None:
        """A line before the process ends."""
        self.write(line)
        self.flush()

    def flush(self) -> None:
        """Waits until the lines so far are written, but for FLUSH_SECONDS at most. Safe in a signal handler."""
        reached = threading.Event()
        self._queue.put(reached)
        reached.wait(FLUSH_SECONDS)

    def _drop(self, lines: int) -> None:
        with self._lock:
            self.dropped += lines

    def _run(self) -> None:
        while True:
            lines, reached = self._take()
            rest = self._write_all("".join(lines).encode(errors="backslashreplace"))
            if rest:
                self._drop(min(len(lines), rest.count(b"\n")))
            if reached is not None:
                reached.set()
            missing = self.dropped - self._reported
            if missing and lines and not rest and self._queue.qsize() < MOST_QUEUED_LINES:  # it moves again
                self._reported += missing
                structlog.get_logger().warning("log.lines_dropped", lines=missing)

    def _take(self) -> tuple[list[str], threading.Event | None]:
        """The next lines, after waiting for the first one, up to a `flush` that waits for them."""
        lines: list[str] = []
        characters = 0
        item = self._queue.get()
        with suppress(Empty):
            while not isinstance(item, threading.Event):
                lines.append(item)
                characters += len(item)
                if characters >= BATCH_CHARACTERS:
                    return lines, None
                item = self._queue.get_nowait()
            return lines, item
        return lines, None

    def _write_all(self, data: bytes) -> bytes:
        """What could not be written. After a line of which only a part was, the next one begins a line of its own."""
        rest = b"\n" + data if self._torn and data else data
        with suppress(OSError):
            while rest:
                try:
                    written = os.write(self._file, rest)
                except BlockingIOError:  # another process has set O_NONBLOCK
                    select.select([], [self._file], [])
                    continue
                self._torn = rest[written - 1 : written] != b"\n"
                rest = rest[written:]
        return rest


def unblock() -> Sink:
    """From now on no log call waits; the end of the process does, for FLUSH_SECONDS at most. Where lines go to now.

    To be called when logs are configured.
    """
    configured: Sink = structlog.get_config()["logger_factory"]()
    sink = configured.unblocked()
    structlog.configure(logger_factory=lambda *_: sink)
    if isinstance(sink, QueuedSink):
        atexit.register(sink.flush)
    return sink


def report_refusal(sentence: str, exit_code: int) -> None:
    """Why a worker does not start or go on, as its last line: an event among JSON, else a sentence.

    To be called when logs are configured.
    """
    sink: Sink = structlog.get_config()["logger_factory"]()
    if sink.pretty:
        sink.critical(sentence)
    else:
        structlog.get_logger().critical("consumer.refused", exit_code=exit_code, detail=sentence)


class LibraryHandler(logging.Handler):
    """Turns the warnings and errors that libraries log into events."""

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler."""
        try:
            message = record.getMessage()
        except (TypeError, ValueError, KeyError):  # its arguments do not fit: a log call never fails its caller
            message = str(record.msg)
        log = structlog.get_logger()
        emit = log.error if record.levelno >= logging.ERROR else log.warning
        emit("library.logged", logger=record.name, message=message, exc_info=record.exc_info)


def _hide_fields(_logger: Any, _method: str, event: EventDict) -> EventDict:
    return {name: _hidden(name, value) for name, value in event.items()}


def _hidden(name: object, value: Any) -> Any:
    if SECRET_NAMES.search(str(name)):
        return HIDDEN
    if isinstance(value, Mapping):
        return {inner: _hidden(inner, part) for inner, part in value.items()}
    return value


def _hide_texts(_logger: Any, _method: str, line: Any) -> str:
    return SECRET_TEXTS.sub(lambda found: (found[1] or "") + HIDDEN, str(line))


def _standard_fields_first(_logger: Any, _method: str, event: EventDict) -> EventDict:
    first = {name: event.pop(name) for name in ("timestamp", "level", "event")}
    return {**first, **event}

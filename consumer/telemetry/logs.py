"""Logs: one event per line on stderr, JSON for machines, pretty on a terminal. Credentials are never written."""

import logging
import os
import re
import sys
import threading
from collections.abc import Mapping
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


def configure(level: str, format: Literal["auto", "json", "pretty"], stream: TextIO | None = None) -> None:  # noqa: A002 - the setting's name
    """Sends structlog's events of at least `level`, and warnings of libraries, to `stream` (None: stderr)."""
    sink = _Sink(stream or sys.stderr)
    pretty = format == "pretty" or (format == "auto" and sink.terminal)
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


class _Sink:
    """Writes whole lines to a stream. A stream that is closed or full loses lines; it never fails the caller."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.RLock()  # a signal handler may log while its thread is in `write`
        self.terminal = stream.isatty()

    def write(self, line: str) -> None:
        with self._lock:
            try:
                self._stream.write(line + "\n")
                self._stream.flush()
            except (OSError, ValueError, RuntimeError):
                return

    debug = info = warning = error = critical = write


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

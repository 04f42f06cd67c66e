"""The command line: one file per command. What a command needs is imported when it runs, so that `--help` is quick."""

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from consumer.domain.errors import ConsumerError


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs one command and ends the process with its exit code; errors go to stderr."""
    try:
        _run_healthcheck(sys.argv[1:] if arguments is None else list(arguments))
        from consumer.cli.app import app

        app(args=arguments, prog_name="consumer")
    except ConsumerError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:  # noqa: BLE001 - the outermost frame: nothing is swallowed, the process ends here
        _report_unexpected(error)
        sys.exit(1)
    sys.exit(0)


def _run_healthcheck(arguments: list[str]) -> None:
    """The short cut of `consumer healthcheck`, which runs every few seconds: no settings, no command line library."""
    if arguments != ["healthcheck"]:
        return
    from consumer.cli.healthcheck import plain_address, print_health

    if address := plain_address(os.environ):
        sys.exit(print_health(*address))


def _report_unexpected(error: Exception) -> None:
    """One clear line; the traceback only at the log level DEBUG."""
    import structlog

    if structlog.is_configured():
        log = structlog.get_logger()
        log.error("consumer.unexpected", kind=type(error).__name__, error=str(error))
        log.debug("consumer.traceback", exc_info=error)
        return
    print(f"consumer: unexpected {type(error).__name__}: {error}", file=sys.stderr)
    if os.environ.get("CONSUMER_LOG_LEVEL") == "DEBUG":
        import traceback

        traceback.print_exception(error)

"""The entry of `consumer`, and of `python -m consumer`. It catches signals before it imports anything that takes time.

As process 1 of a container it would never see a signal that it does not catch: the kernel drops those.
"""

import os
import signal
import sys
from contextlib import suppress

INTERRUPTED = 130
CLEAN_UP_SECONDS = 3.0
"""How long a command may go on after a signal: it may stand in a write to a full pipe, or wait for a lost reply."""
LAST_OUTPUT_SECONDS = 0.3
"""How long the output of an interrupted command may take, once the command has ended."""


def _caught(_number: int, _frame: object) -> None:
    """Ends a worker at once: it holds nothing before it catches signals itself. Interrupts any other command."""
    if sys.argv[1:2] == ["run"]:
        os._exit(0)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    _end_within(CLEAN_UP_SECONDS, INTERRUPTED)
    raise KeyboardInterrupt


for number in (signal.SIGTERM, signal.SIGINT):
    if signal.getsignal(number) is not signal.SIG_IGN:  # a shell's job in the background ignores Ctrl-C
        signal.signal(number, _caught)


def _end_within(seconds: float, exit_code: int) -> None:
    signal.signal(signal.SIGALRM, lambda *_: os._exit(exit_code))
    signal.setitimer(signal.ITIMER_REAL, seconds)


def _is_interrupted() -> bool:
    return callable(signal.getsignal(signal.SIGALRM))


def main() -> None:
    """Runs one command and ends the process, also where its output cannot be written."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed at the start: a connection would get its number
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115, PTH123
    exit_code = _run()
    try:
        if _is_interrupted():
            _end_within(LAST_OUTPUT_SECONDS, exit_code)
        exit_code = _flush_output(exit_code)
    except KeyboardInterrupt:
        os._exit(INTERRUPTED)
    if _is_interrupted():
        os._exit(exit_code)  # the interpreter would wait for calls in flight
    sys.exit(exit_code)


def _run() -> int:
    """The command's exit code."""
    try:
        if sys.argv[1:] == ["healthcheck"]:  # every few seconds, in each container: without the command line's library
            from consumer.cli.healthcheck import healthcheck
            from consumer.domain.errors import UsageFault

            with suppress(UsageFault):  # the command below says what is wrong
                return healthcheck()
        from consumer.cli.app import main as run_command

        run_command()
    except KeyboardInterrupt:
        return INTERRUPTED
    except SystemExit as ended:
        return int(ended.code or 0)


def _flush_output(exit_code: int) -> int:
    """The exit code; 1 where stdout is closed or full, so that its last part is lost."""
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes it once more
        if exit_code != 1 and not isinstance(error, BrokenPipeError):
            sys.stderr.write(f"consumer: standard output cannot be written: {error.strerror}\n")
        return 1
    return exit_code


if __name__ == "__main__":
    main()

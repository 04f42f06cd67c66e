"""The command line: what all commands share, and those that are too small for a module of their own."""

import os
import sys
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from functools import partial, wraps
from importlib import import_module
from math import nan
from textwrap import wrap
from typing import Any, Final, NoReturn

import click

from consumer.cli.healthcheck import SETTINGS, print_health
from consumer.domain.errors import ConsumerError, UsageFault
from consumer.settings import OPTIONS, Settings, flag, load, variable

COMMANDS: Final = (
    "run",
    "init",
    "status",
    "top",
    "verify",
    "quarantine",
    "replay",
    "resume",
    "checkpoint",
    "gaps",
    "audit-log",
    "healthcheck",
    "demo",
)
TABLES: Final = ("leaderboard_table", "lease_table", "quarantine_table")
RULES: Final = (
    *("player_attribute", "score_attribute", "timestamp_attribute", "timestamp_format", "max_future_seconds"),
    "corrections",
)
"""How records are read. Operators' commands use these where the lease table has no accepted rules: without flags."""
RETENTION: Final = "quarantine_retention_days"
LOGS: Final = ("log_level", "log_format")

MOST: Final = 1_000_000_000
HELP_COLUMNS: Final = 46
"""Width of the help beside the flags on a terminal of 80 columns."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs one command and ends the process with its exit code; errors go to stderr."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        sys.exit(app.main(arguments, prog_name="consumer", standalone_mode=False))
    except click.ClickException as fault:
        _report_refusal(fault.format_message(), fault.exit_code, fault.show, given)
        sys.exit(fault.exit_code)
    except ConsumerError as error:
        _report_refusal(str(error), error.exit_code, partial(print, error, file=sys.stderr), given)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except Exception as error:  # noqa: BLE001 - the outermost frame: nothing is swallowed, the process ends here
        _report_unexpected(error, given)
        sys.exit(1)


def _begin_log(arguments: Sequence[str]) -> bool:
    """Whether this is a worker whose log is for machines: what it says before its settings are read is an event too.

    An operator's command replies with a sentence.
    """
    formats = [os.environ.get(variable("log_format"))]
    for argument, following in zip(arguments, [*arguments[1:], None], strict=False):
        name, given, value = argument.partition("=")
        if name == flag("log_format"):
            formats.append(value if given else following)
    if arguments[:1] != ["run"] or formats[-1] == "pretty" or (formats[-1] != "json" and sys.stderr.isatty()):
        return False
    from consumer.telemetry.logs import configure

    configure("INFO", "json")
    return True


def _report_refusal(sentence: str, exit_code: int, show: Callable[[], object], arguments: Sequence[str]) -> None:
    if not _begin_log(arguments):
        show()
        return
    from consumer.telemetry.logs import report_refusal

    report_refusal(sentence, exit_code)


def _report_unexpected(error: Exception, arguments: Sequence[str]) -> None:
    """One clear line; the traceback only at the log level DEBUG."""
    import structlog

    if structlog.is_configured() or _begin_log(arguments):
        log = structlog.get_logger()
        log.error("consumer.unexpected", kind=type(error).__name__, error=str(error))
        log.debug("consumer.traceback", exc_info=error)
        return
    print(f"consumer: unexpected {type(error).__name__}: {error}", file=sys.stderr)
    if os.environ.get("CONSUMER_LOG_LEVEL") == "DEBUG":
        import traceback

        traceback.print_exception(error)


class Commands(click.Group):
    """Imports a command's module, which has the command's name, when the command is needed: so starting is quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """See click.Group."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """See click.Group."""
        name = cmd_name.replace("-", "_")
        if cmd_name in self.commands or cmd_name not in COMMANDS:
            command = super().get_command(ctx, cmd_name)
        else:
            command = getattr(import_module(f"consumer.cli.{name}"), name)
        for each in (command, *getattr(command, "commands", {}).values()):
            if each is not None:  # in a list of commands click would cut this sentence
                each.short_help = (each.help or "").partition("\n\n")[0]
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """See click.Group. Ctrl-C ends a command without a word: click would print an empty line."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            ctx.exit(130)


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from consumer import __version__

        print(f"consumer {__version__}")
        ctx.exit()


@click.group(cls=Commands, context_settings={"show_default": True})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show the version."
)
def app() -> None:
    """An exactly-once leaderboard consumer for DynamoDB Streams."""


def with_settings(
    *names: str,
    needs: Collection[str] = (),
    without_flags: Collection[str] = (),
    only_with: tuple[str, Collection[str]] = ("", ()),
) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Gives a command, which takes `settings` first and returns its exit code, the flags of the settings `names`.

    Without names: of all settings. A flag's value is text here, so that `load` can check all of them at once, together
    with the environment; other settings are not read. Logs are configured before the command begins, when their
    settings are among `names`. Of the settings `without_flags` it has the variables. `only_with`: a switch, and the
    settings that are read only when it is given.
    """
    shown = names or tuple(OPTIONS)
    switch_name, conditional = only_with

    def decorate(command: Callable[..., int]) -> Callable[..., int]:
        @wraps(command)
        def run(**values: Any) -> int:
            flags = {name: values.pop(name) for name in (*shown, *conditional)}
            given = {name: text for name, text in flags.items() if text is not None}
            also = conditional if values.get(switch_name) else ()
            for name in given.keys() - {*shown, *also}:
                raise UsageFault(f"{flag(name)} says nothing here without {flag(switch_name)}")
            settings = load(given, needs=needs, uses=(*shown, *without_flags, *also))
            if "log_level" in shown:
                from consumer.telemetry.logs import configure

                configure(settings.log_level, settings.log_format)
            return command(settings, **values)

        return decorated(run, *map(_setting, (*shown, *conditional)))

    return decorate


def decorated(command: Callable[..., int], *options: Callable[..., Any]) -> Callable[..., int]:
    """The command with these options, in this order."""
    for option in reversed(options):
        command = option(command)
    return command


def _setting(name: str) -> Callable[..., Any]:
    option = OPTIONS[name]
    default = option.default_text
    lines = [*wrap(option.meaning, HELP_COLUMNS), variable(name) + (f"={default}" if default else "")]
    kind = option.kind or name.rpartition("_")[2].upper()
    return click.option(flag(name), name, metavar=kind, help="\b\n" + "\n".join(lines))


class Number(click.ParamType[float]):
    """A number from `least` to MOST, which an operator knows as `what`."""

    name = "number"

    def __init__(self, kind: type[int | float], least: int, what: str) -> None:
        self._kind, self._least, self._what = kind, least, what

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """See click.ParamType."""
        number = nan
        with suppress(ValueError):
            number = self._kind(value)
        if not self._least <= number <= MOST:
            self.fail(f"{str(value)[:80]!r} is not {self._what} from {self._least} to {MOST}.", param, ctx)
        return number


switch = partial(click.option, is_flag=True)
"""An option without a value."""
positive = partial(click.option, type=Number(int, 1, "a whole number"), metavar="NUMBER")
"""An option whose value is a whole number above 0."""

_ONLY: Final = "on stdout and nothing else."
json_array = switch("--json", help=f"One JSON array {_ONLY}")
json_object = switch("--json", help=f"One JSON object {_ONLY}")
json_document = switch("--json", help=f"One JSON document {_ONLY}")
yes = switch("--yes", help="Do not ask: for scripts.")
dry_run = switch("--dry-run", help="Print what each player would get, and change nothing.")
limit = positive("--limit", help="How many are shown at most.")
shard_argument = click.argument("shard", metavar="SHARD", help="A shard's id, or LABEL/ID.")


@app.command()
@with_settings(needs={"stream"})
def run(settings: Settings) -> int:
    """Keeps the leaderboard up to date from the table's stream, until SIGTERM.

    Needs the tables that `consumer init` creates. Every setting is a flag or an environment variable, named below with
    its default; the flag wins. One of --source-table and --stream-arn must be set. Region, credentials and endpoints
    are the AWS SDK's own (AWS_REGION, AWS_ENDPOINT_URL_DYNAMODB, ...).

    \b
    Example:
      consumer run --source-table GameEvents --start-position LATEST

    \b
    Exit codes:
      0  stopped by SIGTERM             4  refused: going on could count twice
      1  unexpected                     6  no progress, or a thread of it died
      2  wrong flags or settings        7  second signal
      3  AWS refuses or is not there
    """
    from consumer.wiring.worker import run as run_worker

    return run_worker(settings)


@app.command()
@with_settings(*SETTINGS)
def healthcheck(settings: Settings) -> int:
    """Asks the worker in this container whether it is alive: 0 when it is, 1 when not.

    It asks /livez where the worker listens by the same settings, for 2 seconds at most. In a task definition:
    ["CMD", "consumer", "healthcheck"]. Readiness (lag, leases, failed calls to AWS) is not checked: a restart cures
    none of it.

    \b
    Example:
      consumer healthcheck --http-port 9464
    """
    return print_health(settings)


@app.command()
@positive("--games", default=20_000, help="How many games are played.")
@positive("--players", default=500, help="How many players play them.")
@switch("--keep", help="Leave engine, tables and worker running until Ctrl-C, to play with.")
def demo(games: int, players: int, keep: bool) -> int:
    """Plays games on an embedded engine, kills the worker half-way, and compares the board digit by digit.

    \b
    Example:
      consumer demo --games 20000 --players 500
    """
    from consumer.demo import play

    return play(games=games, players=players, keep=keep)

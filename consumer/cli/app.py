"""The command line's app: all commands, and those that are too small for a file of their own."""

import typer

from consumer.cli.audit_log import audit_log
from consumer.cli.checkpoint import checkpoint
from consumer.cli.flags import with_settings
from consumer.cli.healthcheck import print_health
from consumer.cli.init import init
from consumer.cli.quarantine import quarantine
from consumer.cli.replay import replay
from consumer.cli.resume import resume
from consumer.cli.status import status
from consumer.cli.top import top
from consumer.settings import Settings


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


@with_settings("http_host", "http_port")
def healthcheck(settings: Settings) -> int:
    """Asks the worker in this container whether it is alive: 0 when it is, 1 when not.

    It asks /livez where the worker listens by the same settings, for 2 seconds at most. In a task definition:
    ["CMD", "consumer", "healthcheck"]. Readiness (lag, leases, failed calls to AWS) is not checked: a restart cures
    none of it.

    \b
    Example:
      consumer healthcheck --http-port 9464
    """
    return print_health(settings.http_host, settings.http_port)


def demo(
    games: int = typer.Option(20_000, min=1, metavar="NUMBER", help="How many games are played."),
    players: int = typer.Option(500, min=1, metavar="NUMBER", help="How many players play them."),
) -> None:
    """Plays games on an embedded engine, kills the worker half-way, and compares the board digit by digit.

    \b
    Example:
      consumer demo --games 20000 --players 500
    """
    from consumer.demo import play

    raise typer.Exit(play(games=games, players=players))


app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)


def _print_version(wanted: bool) -> None:
    if wanted:
        from consumer import __version__

        print(f"consumer {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", is_eager=True, callback=_print_version, help="Show the version."),
) -> None:
    """An exactly-once leaderboard consumer for DynamoDB Streams."""


for command in (run, init, status, top, replay, resume, audit_log, healthcheck, demo):
    app.command()(command)
app.add_typer(quarantine)
app.add_typer(checkpoint, name="checkpoint")

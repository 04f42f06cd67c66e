"""The commands, together."""

import typer

from consumer.cli.audit_log import audit_log
from consumer.cli.checkpoint import checkpoint
from consumer.cli.demo import demo
from consumer.cli.healthcheck import healthcheck
from consumer.cli.init import init
from consumer.cli.quarantine import quarantine
from consumer.cli.replay import replay
from consumer.cli.resume import resume
from consumer.cli.run import run
from consumer.cli.status import status
from consumer.cli.top import top

app = typer.Typer(
    help="An exactly-once leaderboard consumer for DynamoDB Streams.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


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

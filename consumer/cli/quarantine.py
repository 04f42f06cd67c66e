"""`consumer quarantine`: its commands, together."""

import typer

from consumer.cli.quarantine_discard import discard
from consumer.cli.quarantine_list import list_records
from consumer.cli.quarantine_redrive import redrive
from consumer.cli.quarantine_show import show

quarantine = typer.Typer(
    name="quarantine",
    help="Records that could not be counted: list them, look at one, redrive or discard them.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

quarantine.command("list")(list_records)
for command in (show, redrive, discard):
    quarantine.command()(command)

"""`consumer audit-log`: who changed what."""

import sys
from typing import Annotated

import typer

from consumer.cli.document import JsonArray, print_array
from consumer.cli.flags import LOGS, with_settings
from consumer.cli.text import print_columns
from consumer.settings import Settings

FIXED = ("at", "who", "act", "target")


@with_settings("quarantine_table", *LOGS)
def audit_log(
    settings: Settings,
    limit: Annotated[int | None, typer.Option(min=1, metavar="NUMBER", help="How many are shown at most.")] = None,
    json: JsonArray = False,
) -> int:
    """Lists what operators did to the data, the newest first: who, when, what, and what came of it.

    \b
    Example:
      consumer audit-log --limit 20
    """
    from consumer.bootstrap.quarantine import audit_log as log_of

    rows = log_of(settings, limit)
    if json:
        print_array(rows)
    elif rows:
        print_columns(
            (*FIXED, "details"),
            [
                (
                    *(row[name] for name in FIXED),
                    ", ".join(f"{name} {value}" for name, value in row.items() if name not in FIXED),
                )
                for row in rows
            ],
        )
    else:
        print("Nobody has changed anything yet.", file=sys.stderr)
    return 0

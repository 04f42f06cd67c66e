"""`consumer audit-log`: who changed what."""

import sys

import click

from consumer.cli.app import LOGS, json_array, limit, with_settings
from consumer.cli.output import print_array, print_columns
from consumer.settings import Settings

FIXED = ("at", "who", "act", "target")


@click.command()
@limit
@json_array
@with_settings("quarantine_table", *LOGS)
def audit_log(settings: Settings, limit: int | None, json: bool) -> int:
    """Lists what operators did to the data, the newest first: who, when, what, and the outcome.

    \b
    Example:
      consumer audit-log --limit 20
    """
    from consumer.wiring.operators import audit_log as read_audit_log

    rows = read_audit_log(settings, limit)
    if json:
        print_array(rows)
    elif rows:
        print_columns((*FIXED, "details"), [(*(row[name] for name in FIXED), _details(row)) for row in rows])
    else:
        print("No operator has changed anything yet.", file=sys.stderr)
    return 0


def _details(row: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in row.items() if name not in FIXED)

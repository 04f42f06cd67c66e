"""`consumer audit-log`: who changed what."""

import sys
from collections.abc import Iterable, Iterator
from itertools import groupby

import click

from consumer.cli.app import LOGS, json_array, limit, with_settings
from consumer.cli.output import Column, print_array, print_records
from consumer.settings import Settings

COLUMNS = (Column("at"), Column("act"), Column("target", id=True), Column("who", cut=True), Column("details", cut=True))


@click.command()
@limit
@json_array
@with_settings("quarantine_table", *LOGS)
def audit_log(settings: Settings, limit: int | None, json: bool) -> int:
    """Lists what operators did to the data, the newest first: who, when, what, and the outcome.

    What one command did to many records is one line; --json has a row for each of them.

    \b
    Example:
      consumer audit-log --limit 20
    """
    from consumer.wiring.operators import audit_log as read_audit_log

    rows = read_audit_log(settings, limit, (lambda rows: rows) if json else by_command)
    if json:
        print_array(rows)
    elif rows:
        print_records(COLUMNS, {"": [(*(row[column.name] for column in COLUMNS[:-1]), _details(row)) for row in rows]})
    else:
        print("No operator has changed anything yet.", file=sys.stderr)
    return 0


def by_command(rows: Iterable[dict[str, str]]) -> Iterator[dict[str, str]]:
    """The rows, but those of one command as one: with how many there are, and the details that all of them have."""
    for command, some in groupby(rows, key=lambda row: row.get("command")):
        if command is None:
            yield from some
            continue
        first, *others = some
        shared = {name: value for name, value in first.items() if all(row.get(name) == value for row in others)}
        yield {**shared, "at": first["at"], "target": f"{1 + len(others):,} records"} if others else first


def _details(row: dict[str, str]) -> str:
    return ", ".join(
        f"{name} {value}" for name, value in row.items() if name not in {column.name for column in COLUMNS}
    )

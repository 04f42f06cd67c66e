"""`consumer init`: the tables; with `--adopt`: tables that `run` refuses, because they do not belong together."""

from functools import partial

import click

from consumer.cli.app import LOGS, RETENTION, TABLES, switch, with_settings, yes
from consumer.cli.output import confirm
from consumer.settings import Settings


@click.command()
@switch("--adopt", help="Make tables belong together that `run` refuses; asks first, creates no table.")
@yes
@with_settings(*TABLES, RETENTION, *LOGS)
def init(settings: Settings, adopt: bool, yes: bool) -> int:
    """Creates the leaderboard, lease and quarantine tables that do not exist yet, and waits until they are active.

    Run it as often as you like. A table of that name with another key is refused. A quarantine table of an older
    version gets its index, and its rows what they lack: that reads the whole table. With --adopt: when `run` refuses
    because lease, leaderboard and quarantine table do not match, prints what would be counted again or be missing,
    asks, and records that they belong together from now on. Stop all workers first. Where the source table is keyed
    by the player, games that the mark of their player's row covers are not counted again: those of players who play in
    two shards at once, and of rows without a mark, are.

    \b
    Example:
      consumer init --leaderboard-table Leaderboards
    """
    if adopt:
        return _adopt(settings, yes=yes)
    from consumer.wiring.operators import init as init_tables

    for report in init_tables(settings):
        outcome = "created" if report.created else "exists"
        print(f"{outcome:<8} {report.name}" + (f"  ({report.note})" if report.note else ""))
    return 0


def _adopt(settings: Settings, *, yes: bool) -> int:
    from consumer.wiring.operators import adopt as adopt_tables

    agree = partial(confirm, "Are these the right tables, and shall they be adopted?", yes=yes)
    adopted = adopt_tables(settings, agree)
    for stream_arn in adopted:
        print(f"adopted  {stream_arn}")
    if not adopted:
        print("There is nothing to adopt: the tables belong together.")
    return 0

"""`consumer init`: the tables; with a flag, what `run` refuses: tables that do not belong together, other rules."""

from functools import partial

import click

from consumer.cli.app import LOGS, RETENTION, RULES, TABLES, switch, with_settings, yes
from consumer.cli.output import confirm
from consumer.domain.errors import UsageFault
from consumer.settings import Settings


@click.command()
@switch("--adopt", help="Make tables belong together that `run` refuses; asks first, creates no table.")
@switch("--accept-rules", help="Let records be read by the rules of these settings; asks first, creates no table.")
@yes
@with_settings(
    *TABLES,
    RETENTION,
    *LOGS,
    only_with=("accept_rules", ("source_table", "stream_arn", *RULES, "windows", "time_zone")),
)
def init(settings: Settings, adopt: bool, accept_rules: bool, yes: bool) -> int:
    """Creates the leaderboard, lease and quarantine tables that do not exist yet, and waits until they are active.

    Run it as often as you like. A table of that name with another key is refused. A quarantine table of an older
    version gets its index, and its rows what they lack: that reads the whole table. With --adopt: when `run` refuses
    because lease, leaderboard and quarantine table do not match, prints what would be counted again or be missing,
    asks, and records that they belong together from now on. Stop all workers first. Where the source table is keyed
    by the player, games that the mark of their player's row covers are not counted again: those of players who play in
    two shards at once, and of rows without a mark, are. With --accept-rules: when `run` refuses because its rules (how
    records are read: attributes, timestamp format, windows and their zone) are not accepted, prints what differs,
    asks, and accepts those of these settings: give the workers' own. Running workers go on by theirs.

    \b
    Example:
      consumer init --leaderboard-table Leaderboards
      consumer init --accept-rules --windows day:2,week:2,month:2

    \b
    Exit codes:
      0  done, or nothing to do         3  AWS refuses or is not there
      2  wrong flags or settings        4  refused, or not confirmed
    """
    if adopt and accept_rules:
        raise UsageFault("--adopt and --accept-rules are two acts: name one of them")
    if adopt:
        return _adopt(settings, yes=yes)
    if accept_rules:
        return _accept_rules(settings, yes=yes)
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


def _accept_rules(settings: Settings, *, yes: bool) -> int:
    from consumer.wiring.operators import accept_rules

    print(accept_rules(settings, partial(confirm, "Shall records be read by these rules from now on?", yes=yes)))
    return 0

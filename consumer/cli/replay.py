"""`consumer replay`: a range of a shard, counted again or for what of it is not counted yet."""

import re
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from consumer.cli.confirm import Yes
from consumer.cli.flags import LOGS, TABLES, with_settings
from consumer.domain.errors import UsageFault
from consumer.settings import TABLE, TABLE_PATTERN, Settings, flag, variable

if TYPE_CHECKING:
    from consumer.operations.replay.plan import Wish


@with_settings(*TABLES, "player_attribute", "score_attribute", "timestamp_attribute", "max_future_seconds", *LOGS)
def replay(
    settings: Settings,
    shard: Annotated[str, typer.Argument(metavar="SHARD", help="A shard's id, or label/id.", show_default=False)],
    first: Annotated[
        str, typer.Option("--from", metavar="SEQ|TRIM_HORIZON", help="The first record.", show_default=False)
    ],
    last: Annotated[
        str, typer.Option("--to", metavar="SEQ|LATEST", help="The last one; LATEST: the shard's checkpoint of now.")
    ] = "LATEST",
    recount: Annotated[bool, typer.Option("--recount", help="Count again all of the range that counts.")] = False,
    into: Annotated[
        str | None, typer.Option("--into", metavar="TABLE", help="Count all of it into another leaderboard table.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what each player would get, and change nothing.")
    ] = False,
    children: Annotated[
        bool, typer.Option("--children", help="The shard to its end, then its children and theirs.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Also what was counted again before; gives up another, interrupted replay.")
    ] = False,
    yes: Yes = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout and nothing else.")] = False,
) -> int:
    """Replays a range of a shard, up to its checkpoint at most.

    Without a mode it counts what is not counted yet: the range's pending quarantine records, where they are good by
    now. What the worker has counted is left alone.

    --recount counts all of the range again, into a leaderboard that was reset to zero, or restored from a backup that
    was taken with all workers stopped: else games are counted twice. --into does so into another table. Where a record
    is in quarantine its row decides: applied counts as it was repaired, pending and discarded count as nothing.

    It is one more reader of the shard, and DynamoDB Streams serves two; it slows down when it is throttled. After an
    interruption the same command goes on where it stopped, and nothing is counted twice.

    \b
    Example:
      consumer replay shardId-00000001769860800000-1a2b3c4d --from TRIM_HORIZON --recount --dry-run

    \b
    Exit codes:
      0  done                          3  AWS refuses or is not there
      2  no range, or wrong flags      4  refused, not confirmed, or some did not count
      5  no such shard, or nothing of the range is left in the stream
    """
    # In one piece: its flags and what it tells of them are most of it.
    wish = _wish(settings, shard, first, last, recount=recount, into=into, children=children, again=again)
    from consumer.bootstrap.replay import replay_desk
    from consumer.cli.replay_run import Show, foresee, run

    try:
        with replay_desk(settings, into) as desk:
            plans = desk.plan(wish, children=children, acting=not dry_run)
            show = Show(settings.leaderboard_table if into is None else into, yes=yes, json=json, children=children)
            return (foresee if dry_run else run)(desk, plans, show)
    except KeyboardInterrupt:
        rest = "nothing was changed" if dry_run else "the same command goes on from here, and counts nothing twice"
        print(f"Stopped: {rest}.", file=sys.stderr)
        return 130


def _wish(
    settings: Settings,
    shard: str,
    first: str,
    last: str,
    *,
    recount: bool,
    into: str | None,
    children: bool,
    again: bool,
) -> "Wish":
    """Raises UsageFault with every fault."""
    from consumer.domain.replay import LATEST, Mode
    from consumer.operations.replay.plan import Wish

    faults = []
    if into is not None and re.fullmatch(TABLE_PATTERN, into) is None:
        faults.append(f"--into is {into[:80]!r}: {TABLE}")
    if into == settings.leaderboard_table:
        ways = f"{variable('leaderboard_table')}, {flag('leaderboard_table')}"
        faults.append(f"--into {into} is the configured leaderboard ({ways}): to count into it again, use --recount")
    if children and last != LATEST:
        faults.append(f"--children begin where the shard ends, and --to {last[:80]} ends before: leave one of them out")
    mode = Mode.RECOUNT if recount or into is not None else Mode.PENDING
    wish = Wish(shard, first, last, mode, into or settings.leaderboard_table, again, into is not None)
    try:
        wish.check()
    except UsageFault as fault:
        faults.append(str(fault))
    if faults:
        raise UsageFault("\n".join(faults))
    return wish

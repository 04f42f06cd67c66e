"""`consumer replay`: counts a range of a shard again, or what of it is not counted yet."""

import re
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from consumer.cli.flags import LOGS, RULES, TABLES, DryRun, JsonDocument, ShardArgument, Yes, with_settings
from consumer.domain.errors import UsageFault
from consumer.settings import TABLE, TABLE_PATTERN, Settings, flag, variable

if TYPE_CHECKING:
    from consumer.operations.replay_plan import ReplayRequest


@with_settings(*TABLES, *RULES, *LOGS)
def replay(
    settings: Settings,
    shard: ShardArgument,
    first: Annotated[
        str, typer.Option("--from", metavar="SEQ|TRIM_HORIZON", help="The first record.", show_default=False)
    ],
    last: Annotated[
        str, typer.Option("--to", metavar="SEQ|LATEST", help="The last one; LATEST: the shard's current checkpoint.")
    ] = "LATEST",
    recount: Annotated[bool, typer.Option("--recount", help="Count again all of the range that counts.")] = False,
    into: Annotated[
        str | None, typer.Option("--into", metavar="TABLE", help="Count all of it into another leaderboard table.")
    ] = None,
    dry_run: DryRun = False,
    children: Annotated[
        bool, typer.Option("--children", help="The shard to its end, then its children and theirs.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Also what was counted again before; gives up an interrupted replay.")
    ] = False,
    yes: Yes = False,
    json: JsonDocument = False,
) -> int:
    """Replays a range of a shard, up to its checkpoint at most.

    Without a mode it counts what is not counted yet: the range's pending quarantine records that can be counted now.
    What the worker has counted is left alone.

    --recount counts all of the range again, into a leaderboard that was reset to zero, or restored from a backup that
    was taken with all workers stopped: else games are counted twice. --into counts into another table. If a record is
    in quarantine, its row decides: applied counts as it was repaired, pending and discarded do not count.

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
    # In one piece: its flags and their help are most of it.
    request = _request(settings, shard, first, last, recount=recount, into=into, children=children, again=again)
    from consumer.cli.replay_run import Output, print_dry_run, print_replay
    from consumer.wiring.operators import replay_service

    try:
        with replay_service(settings, into) as (service, session):
            plans = session.run(service.plan(request, children=children, acting=not dry_run))
            output = Output(into or settings.leaderboard_table, yes=yes, json=json, children=children)
            return (print_dry_run if dry_run else print_replay)(service, session, plans, output)
    except KeyboardInterrupt:
        rest = "nothing was changed" if dry_run else "the same command goes on from here, and counts nothing twice"
        print(f"Stopped: {rest}.", file=sys.stderr)
        return 130


def _request(
    settings: Settings,
    shard: str,
    first: str,
    last: str,
    *,
    recount: bool,
    into: str | None,
    children: bool,
    again: bool,
) -> "ReplayRequest":
    """Raises UsageFault with every fault."""
    from consumer.domain.replay import LATEST, Mode
    from consumer.operations.replay_plan import ReplayRequest

    faults = []
    if into is not None and re.fullmatch(TABLE_PATTERN, into) is None:
        faults.append(f"--into is {into[:80]!r}: {TABLE}")
    if into == settings.leaderboard_table:
        ways = f"{variable('leaderboard_table')}, {flag('leaderboard_table')}"
        faults.append(f"--into {into} is the configured leaderboard ({ways}): to count into it again, use --recount")
    if children and last != LATEST:
        faults.append(f"--children begin where the shard ends, and --to {last[:80]} ends before: leave out one of them")
    mode = Mode.RECOUNT if recount or into is not None else Mode.PENDING
    request = ReplayRequest(shard, first, last, mode, into or settings.leaderboard_table, again, into is not None)
    try:
        request.check()
    except UsageFault as fault:
        faults.append(str(fault))
    if faults:
        raise UsageFault("\n".join(faults))
    return request

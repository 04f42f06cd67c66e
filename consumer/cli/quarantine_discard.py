"""`consumer quarantine discard`: records that shall never count."""

import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from consumer.cli.choose import (
    CodeFilter,
    NumberArgument,
    PlayerFilter,
    ShardArgument,
    ShardFilter,
    SinceFilter,
    UntilFilter,
    addressed,
    chosen,
    spread,
)
from consumer.cli.confirm import Yes, confirm
from consumer.cli.document import document
from consumer.cli.flags import LOGS, with_settings
from consumer.cli.progress import watched
from consumer.cli.text import many
from consumer.domain.errors import UsageFault
from consumer.domain.quarantine import Head
from consumer.settings import Settings

if TYPE_CHECKING:
    from consumer.operations.ward import Ward


@with_settings("quarantine_table", "lease_table", *LOGS)
def discard(
    settings: Settings,
    shard_name: ShardArgument = None,
    sequence_number: NumberArgument = None,
    why: Annotated[
        str | None, typer.Option("--reason", metavar="TEXT", help="Why they shall never count; it is kept. Required.")
    ] = None,
    shard: ShardFilter = None,
    player: PlayerFilter = None,
    reason_code: CodeFilter = None,
    since: SinceFilter = None,
    until: UntilFilter = None,
    yes: Yes = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout and nothing else.")] = False,
) -> int:
    """Marks pending records as discarded: one by SHARD SEQ, or all that match the filters. They will never count.

    Rows and records stay, with who discarded them, when and why; an audit row tells it too.

    \b
    Example:
      consumer quarantine discard --player load-test --reason "not a real player"

    \b
    Exit codes:
      0  all were discarded     4  some were not pending any more
    """
    filters = {"shard": shard, "player": player, "reason-code": reason_code, "since": since, "until": until}
    one = addressed(shard_name, sequence_number, filters)
    choice = chosen(shard=shard, player=player, reason=reason_code, since=since, until=until)
    if why is None or not why.strip():
        raise UsageFault("--reason is missing: say why these records shall never count; it is kept with them")
    if len(why) > 1000:
        raise UsageFault("--reason has more than 1,000 characters: say it shorter")
    from consumer.bootstrap.quarantine import ward
    from consumer.operations.ward import require_pending

    with ward(settings, acting=False) as open_ward:
        if one is not None:
            heads = [open_ward.find(*one)]
            require_pending(heads[0], "it cannot be discarded")
        else:
            heads = open_ward.pick(choice, partial(watched, what=f"reading {settings.quarantine_table}"))
        if heads:
            confirm(f"Discard {spread(heads)}? They will never count.", yes=yes)
        return _discard(open_ward, heads, why, one=one is not None, json=json)


def _discard(ward: "Ward", heads: list[Head], why: str, *, one: bool, json: bool) -> int:
    from consumer.operations.discard import Discarded
    from consumer.operations.ward import require_pending

    discarded, faster = 0, 0
    ended = False
    try:
        for result in watched((ward.discard(head, why) for head in heads), len(heads), "discarding"):
            if isinstance(result, Discarded):
                discarded += 1
                continue
            faster += 1
            if one:
                require_pending(result.now, "somebody was faster")
        ended = True
    except KeyboardInterrupt:
        return 130
    finally:
        if not ended and not one:
            left = len(heads) - discarded - faster
            print(
                f"Stopped: {discarded:,} discarded, {left:,} of {many(len(heads), 'record')} not tried; "
                "run it again for the rest.",
                file=sys.stderr,
            )
    if json:
        print(document({"discarded": discarded, "takenByOthers": faster}))
    else:
        print(
            f"{many(discarded, 'record')} discarded"
            + (f"; {faster:,} not pending any more: somebody was faster" if faster else "")
        )
    return 4 if faster else 0

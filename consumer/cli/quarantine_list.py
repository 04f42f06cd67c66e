"""`consumer quarantine list`: the heads."""

import sys
from enum import StrEnum
from functools import partial
from typing import Annotated

import typer

from consumer.cli.choose import PlayerFilter, ReasonFilter, ShardFilter, SinceFilter, UntilFilter, chosen
from consumer.cli.document import JsonArray, print_array
from consumer.cli.flags import LOGS, with_settings
from consumer.cli.heads import fields, told
from consumer.cli.progress import watched
from consumer.cli.text import many, print_columns
from consumer.domain.quarantine import State
from consumer.settings import Settings


class Shown(StrEnum):
    """The states that can be listed."""

    PENDING = "pending"
    APPLIED = "applied"
    DISCARDED = "discarded"
    ALL = "all"


@with_settings("quarantine_table", "lease_table", *LOGS)
def list_records(
    settings: Settings,
    shard: ShardFilter = None,
    player: PlayerFilter = None,
    reason: ReasonFilter = None,
    state: Annotated[Shown, typer.Option("--state", help="Whether they still wait for a person.")] = Shown.PENDING,
    since: SinceFilter = None,
    until: UntilFilter = None,
    limit: Annotated[int | None, typer.Option(min=1, metavar="NUMBER", help="How many are shown at most.")] = None,
    json: JsonArray = False,
) -> int:
    """Lists quarantined records by shard and sequence number.

    \b
    Example:
      consumer quarantine list --reason score_type --since 2026-01-31T12:00:00Z --limit 20
    """
    states = None if state is Shown.ALL else State(state.value)
    choice = chosen(shard=shard, player=player, reason=reason, since=since, until=until, state=states)
    from consumer.bootstrap.quarantine import ward

    with ward(settings, acting=False) as open_ward:
        heads = open_ward.pick(choice, partial(watched, what=f"reading {settings.quarantine_table}"))
    shown = heads[:limit]
    if json:
        print_array([fields(head) for head in shown])
    elif shown:
        print_columns(
            ("shardId", "sequenceNumber", "playerId", "reason", "state", "quarantinedAt", "detail"),
            [
                (
                    head.shard_id,
                    head.sequence_number,
                    head.player,
                    head.reason,
                    told(head),
                    head.quarantined_at,
                    head.detail,
                )
                for head in shown
            ],
        )
    else:
        print("Nothing in quarantine matches.", file=sys.stderr)
    if len(shown) < len(heads):
        print(f"{len(shown):,} of {many(len(heads), 'record')} shown (--limit)", file=sys.stderr)
    return 0

"""`consumer checkpoint show` and `set`: a shard's row in the lease table."""

from functools import partial

import click

from consumer.cli.app import LOGS, json_object, shard_argument, with_settings, yes
from consumer.cli.output import confirm, to_json
from consumer.domain.leases import LeaseRow
from consumer.settings import Settings


@click.group()
def checkpoint() -> None:
    """Shows or sets a shard's row in the lease table."""


@checkpoint.command()
@shard_argument
@json_object
@with_settings("lease_table", *LOGS)
def show(settings: Settings, shard: str, json: bool) -> int:
    """Shows a shard's row: how far it is committed, who owns it, and its lineage.

    \b
    Example:
      consumer checkpoint show shardId-00000001769860800000-1a2b3c4d
    """
    from consumer.wiring.operators import show_checkpoint

    fields = _fields(show_checkpoint(settings, shard))
    if json:
        print(to_json(fields))
    else:
        for name, value in fields.items():
            text = ", ".join(value) if isinstance(value, list) else value
            print(f"{name:<20} {'-' if text in (None, '') else text}")
    return 0


@checkpoint.command("set")
@shard_argument
@click.argument(
    "position",
    metavar="POSITION",
    help="What counts as done: a sequence number, TRIM_HORIZON (nothing) or, for a missing row, SHARD_END.",
)
@yes
@with_settings("lease_table", "quarantine_table", "lease_ttl_seconds", *LOGS)
def set_(settings: Settings, shard: str, position: str, yes: bool) -> int:
    """Sets how far a shard counts as done, for a row that is halted or was lost; a worker then claims it.

    Asks first. Refuses while a living worker owns the shard. Moving back counts games a second time, moving forward
    skips games: only you can know which position is right. Leaves an audit row. Pass the workers' LEASE_TTL_SECONDS.

    Where the source table is keyed by the player (`consumer status`: marked writes), a step back counts no game that
    the mark of its player's row covers. It counts again those of players who play in two shards at once, of rows
    without a mark, and of rows that were deleted or restored. So after a restore of the leaderboard a step back to a
    position before the backup is exact for the others. Games that a step forward skips are lost to the board.

    \b
    Example:
      consumer checkpoint set shardId-00000001769860800000-1a2b3c4d \\
        1234500000000000123456789

    \b
    Exit codes:
      0  done                           4  refused, or not confirmed
      2  no position                    5  no such shard
      3  AWS refuses or is not there
    """
    from consumer.wiring.operators import set_checkpoint

    after = set_checkpoint(settings, shard, position, partial(confirm, "Set it?", yes=yes)).after
    print(f"set {after.shard} to {after.checkpoint}, epoch {after.epoch}")
    return 0


def _fields(row: LeaseRow) -> dict[str, object]:
    """Keys as in the table."""
    return {
        "shardId": row.shard.shard_id,
        "streamArn": row.shard.stream_arn,
        "checkpoint": row.checkpoint,
        "checkpointCreatedAt": row.created,
        "leaseOwner": row.owner,
        "leaseEpoch": row.epoch,
        "parentShardId": row.parent,
        "childShardIds": list(row.children),
        "unlistedSince": row.unlisted_since,
        "haltedAt": row.circuit.halted_at,
        "recentPoison": row.circuit.recent.bit_count(),
        "freeTo": row.circuit.free_to,
        "resumes": row.circuit.resumes,
    }

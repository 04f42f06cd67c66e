"""`consumer resume`: closes a halted shard's circuit."""

from functools import partial
from typing import TYPE_CHECKING

import click

from consumer.cli.app import LOGS, TABLES, json_object, shard_argument, switch, with_settings, yes
from consumer.cli.output import confirm, counting, to_json
from consumer.domain.errors import UsageFault
from consumer.domain.text import many, quoted
from consumer.settings import Settings

if TYPE_CHECKING:
    from consumer.domain.leases import LeaseRow
    from consumer.operations.resume import Resumed


@click.command()
@shard_argument
@switch("--quarantine-all", help="Let everything up to the shard's current newest record pass.")
@click.option("--accept-mark", metavar="PLAYER", help="Take the mark off this player's row; asks first.")
@yes
@json_object
@with_settings(*TABLES, *LOGS)
def resume(
    settings: Settings, shard: str, *, quarantine_all: bool, accept_mark: str | None, yes: bool, json: bool
) -> int:
    """Lets a shard go on that halted: most of its last records were poison, or a row has a mark that is not known.

    The breaker counts from zero again: if the poison goes on, the shard halts again. With --quarantine-all everything
    that the shard holds at this moment passes, good records counted and poison into quarantine; then the breaker is
    armed again. The shard is read from its checkpoint for that. Its owner needs no restart and goes on at once.

    A row's mark says which games are in it. If its shard is in neither the lease table nor the stream, the shard halts
    (mark_unknown). Without a flag the row and that shard are looked up again: it halts again unless the cause is gone.
    With --accept-mark PLAYER the mark is removed, and the games that follow in this shard are added. They are counted
    twice if they are in the row already, and so are games of the mark's shard if a worker reads it after all. The
    command shows the mark and asks; it refuses if the halt names another player, or if the row has changed.

    \b
    Example:
      consumer resume shardId-00000001769860800000-00000000 --quarantine-all
      consumer resume shardId-00000001769860800000-00000000 --accept-mark ada

    \b
    Exit codes:
      0  done                           4  refused, changed meanwhile, or not confirmed
      2  wrong flags or settings        5  no such shard, or no row of that player
      3  AWS refuses or is not there
    """
    if quarantine_all and accept_mark is not None:
        raise UsageFault(
            "--quarantine-all is for a flood of poison and --accept-mark for a mark: leave out one of them"
        )
    from consumer.wiring.operators import resume_shard

    agree = partial(_agree, quarantine_all=quarantine_all, yes=yes)
    progress = partial(counting, 0, "looking for the newest record")
    done = resume_shard(settings, shard, agree, progress, quarantine_all=quarantine_all, player=accept_mark)
    if json:
        print(to_json(_fields(done)))
        return 0
    passed = ""
    if quarantine_all:
        passed = f"; {many(done.read, 'record')} up to {done.free_to} pass" if done.free_to else "; no record waits"
    if done.accepted is not None:
        passed = f"; the row of player {quoted(done.accepted.player)} has no mark any more"
    print(f"Shard {done.shard} goes on behind {done.checkpoint}{passed}")
    return 0


def _agree(row: "LeaseRow", sentences: tuple[str, ...], *, quarantine_all: bool, yes: bool) -> None:
    """Raises UnsafeRefused unless the operator agrees. `sentences`: on the mark that is to be accepted."""
    what = "let everything that it holds now into quarantine or the board" if quarantine_all else "let it go on"
    if sentences:
        what = "accept the mark, and let it go on"
    elif row.circuit.unknown_mark is not None:
        sentences = (f"{row.circuit.cause}. Without --accept-mark it halts again, unless that has changed.",)
    confirm(f"Shard {row.shard} is halted behind {row.checkpoint}: {what}?", sentences, yes=yes)


def _fields(done: "Resumed") -> dict[str, object]:
    """Keys as in the tables."""
    player, mark = done.accepted if done.accepted is not None else (None, None)
    return {
        "shardId": done.shard.shard_id,
        "checkpoint": done.checkpoint,
        "freeTo": done.free_to,
        "playerId": player,
        "appliedShard": mark and mark.shard,
        "appliedTo": mark and mark.to,
    }

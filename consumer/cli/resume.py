"""`consumer resume`: closes a halted shard's circuit."""

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from consumer.cli.confirm import Yes, confirm
from consumer.cli.document import JsonObject, document
from consumer.cli.flags import LOGS, with_settings
from consumer.cli.progress import watched
from consumer.cli.text import many
from consumer.settings import Settings

if TYPE_CHECKING:
    from consumer.domain.leases import LeaseRow


@with_settings("lease_table", "quarantine_table", *LOGS)
def resume(
    settings: Settings,
    shard: Annotated[str, typer.Argument(metavar="SHARD", help="A halted shard's id, or label/id.")],
    quarantine_all: Annotated[
        bool,
        typer.Option("--quarantine-all", help="Let everything up to the shard's newest record of now into quarantine."),
    ] = False,
    yes: Yes = False,
    json: JsonObject = False,
) -> int:
    """Lets a shard go on that halted because most of its last records were poison.

    The counters begin anew: where the flood goes on, the shard halts again. With --quarantine-all everything that the
    shard holds at this moment goes through, good records counted and poison into quarantine; then the breaker is armed
    again. The shard is read from its checkpoint for that. Its owner needs no restart and goes on at once.

    \b
    Example:
      consumer resume shardId-00000001769860800000-00000000 --quarantine-all
    """
    from consumer.bootstrap.quarantine import resume_shard

    def agree(row: "LeaseRow") -> None:
        what = "let everything that it holds now into quarantine or the board" if quarantine_all else "let it go on"
        confirm(f"Shard {row.shard} is halted behind {row.checkpoint}: {what}?", yes=yes)

    watch = partial(watched, what="looking for the newest record")
    done = resume_shard(settings, shard, agree, watch, quarantine_all=quarantine_all)
    if json:
        print(document({"shardId": done.shard.shard_id, "checkpoint": done.checkpoint, "freeTo": done.free_to}))
        return 0
    words = ""
    if quarantine_all:
        words = (
            f"; {many(done.read, 'record')} up to {done.free_to} pass" if done.free_to else "; no record waits there"
        )
    print(f"Shard {done.shard} goes on behind {done.checkpoint}{words}")
    return 0

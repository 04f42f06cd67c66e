"""`consumer resume`: closes a halted shard's circuit."""

from functools import partial
from typing import TYPE_CHECKING

import click

from consumer.cli.app import LOGS, json_object, shard_argument, switch, with_settings, yes
from consumer.cli.output import confirm, counting, to_json
from consumer.domain.text import many
from consumer.settings import Settings

if TYPE_CHECKING:
    from consumer.domain.leases import LeaseRow


@click.command()
@shard_argument
@switch("--quarantine-all", help="Let everything up to the shard's current newest record pass.")
@yes
@json_object
@with_settings("lease_table", "quarantine_table", *LOGS)
def resume(settings: Settings, shard: str, quarantine_all: bool, yes: bool, json: bool) -> int:
    """Lets a shard go on that halted because most of its last records were poison.

    The breaker counts from zero again: if the poison goes on, the shard halts again. With --quarantine-all everything
    that the shard holds at this moment passes, good records counted and poison into quarantine; then the breaker is
    armed again. The shard is read from its checkpoint for that. Its owner needs no restart and goes on at once.

    \b
    Example:
      consumer resume shardId-00000001769860800000-00000000 --quarantine-all
    """
    from consumer.wiring.operators import resume_shard

    def agree(row: "LeaseRow") -> None:
        what = "let everything that it holds now into quarantine or the board" if quarantine_all else "let it go on"
        confirm(f"Shard {row.shard} is halted behind {row.checkpoint}: {what}?", yes=yes)

    progress = partial(counting, 0, "looking for the newest record")
    done = resume_shard(settings, shard, agree, progress, quarantine_all=quarantine_all)
    if json:
        print(to_json({"shardId": done.shard.shard_id, "checkpoint": done.checkpoint, "freeTo": done.free_to}))
        return 0
    passed = ""
    if quarantine_all:
        passed = f"; {many(done.read, 'record')} up to {done.free_to} pass" if done.free_to else "; no record waits"
    print(f"Shard {done.shard} goes on behind {done.checkpoint}{passed}")
    return 0

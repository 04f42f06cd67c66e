"""`consumer status`: how things stand."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from consumer.cli.document import JsonObject, document
from consumer.cli.flags import LOGS, with_settings
from consumer.domain.errors import StartRefused, UsageFault
from consumer.operations.standing import Limits, Status
from consumer.settings import Settings

if TYPE_CHECKING:
    from consumer.bootstrap.ledger import StatusLook

SETTINGS = ("source_table", "stream_arn", "lease_table", "quarantine_table", "lease_ttl_seconds")

All = Annotated[bool, typer.Option("--all", help="Finished shards too.")]
Watch = Annotated[bool, typer.Option("--watch", help="Look again and again until Ctrl-C, which ends it with 0.")]
Every = Annotated[float, typer.Option(min=1, metavar="SECONDS", help="How often --watch looks.")]
Behind = Annotated[float, typer.Option(min=0, metavar="SECONDS", help="A lag above this is behind: exit code 10.")]
Headroom = Annotated[
    float, typer.Option(min=0, metavar="SECONDS", help="Less than this until data loss is near: exit code 11.")
]


@with_settings(*SETTINGS, *LOGS, needs={"stream"})
def status(
    settings: Settings,
    json: JsonObject = False,
    all_shards: All = False,
    watch: Watch = False,
    every: Every = 5,
    behind_seconds: Behind = 60,
    headroom_seconds: Headroom = 14_400,
) -> int:
    """Shows who owns what, every shard, the lag, the time until data loss, quarantine, gaps and halted shards.

    Reads the tables and the stream only, so it works with no worker alive. How far a shard is behind that no worker
    vouches for is unknown, and at most what is told. Pass the workers' LEASE_TTL_SECONDS.

    \b
    Example:
      consumer status --source-table GameEvents --watch

    \b
    Exit codes:
      0   healthy                       2   wrong flags or settings
      10  behind, or never begun        3   AWS refuses or is not there
      11  data loss near
      12  halted: a person must act
    """
    from consumer.bootstrap.ledger import status as look_at
    from consumer.cli.status_view import print_status, status_fields

    if json and watch:
        raise UsageFault("--json prints one document: leave --watch out, and ask again")
    limits = Limits(behind_seconds, headroom_seconds)
    with look_at(settings) as look:
        if not watch:
            now = look()
            if json:
                print(document(status_fields(now, limits)))
            else:
                print_status(now, limits, all_shards=all_shards)
            return int(now.verdict(limits))
        try:
            _watch(look, every, lambda now: print_status(now, limits, all_shards=all_shards, again=True))
        except KeyboardInterrupt:
            return 0


def _watch(look: "StatusLook", every_seconds: float, show: Callable[[Status], None]) -> NoReturn:
    """Until Ctrl-C. That the first look succeeds is asked; afterwards what is watched may be an outage."""
    show(look())
    while True:
        look.wait(every_seconds)
        try:
            now = look()
        except StartRefused as refusal:
            print(refusal, file=sys.stderr)
        else:
            show(now)

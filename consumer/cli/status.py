"""`consumer status`: who owns what, and how far behind it is."""

import sys
from collections.abc import Callable
from threading import Event
from typing import Annotated, NoReturn

import typer

from consumer.cli.flags import LOGS, JsonObject, with_settings
from consumer.cli.output import to_json
from consumer.domain.errors import StartRefused, UsageFault
from consumer.operations.status import Limits, Status
from consumer.settings import Settings

SETTINGS = ("source_table", "stream_arn", "lease_table", "quarantine_table", "lease_ttl_seconds")

All = Annotated[bool, typer.Option("--all", help="Finished shards too.")]
Watch = Annotated[bool, typer.Option("--watch", help="Read it again and again until Ctrl-C, which ends it with 0.")]
Every = Annotated[float, typer.Option(min=1, metavar="SECONDS", help="How often --watch reads.")]
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

    Reads the tables and the stream only, so it works with no worker alive. The lag of a shard that no living worker
    reports is unknown, and at most what is shown. Pass the workers' LEASE_TTL_SECONDS.

    \b
    Example:
      consumer status --source-table GameEvents --watch

    \b
    Exit codes:
      0   healthy                       2   wrong flags or settings
      10  behind, or never started        3   AWS refuses or is not there
      11  data loss near
      12  halted: the operator must act
    """
    from consumer.cli.status_view import print_status, status_fields
    from consumer.wiring.operators import status as status_of

    if json and watch:
        raise UsageFault("--json prints one document: leave out --watch")
    limits = Limits(behind_seconds, headroom_seconds)
    read = status_of(settings)
    if watch:
        try:
            _watch(read, every, lambda now: print_status(now, limits, all_shards=all_shards, again=True))
        except KeyboardInterrupt:
            return 0
    now = read()
    if json:
        print(to_json(status_fields(now, limits)))
    else:
        print_status(now, limits, all_shards=all_shards)
    return int(now.verdict(limits))


def _watch(read: Callable[[], Status], every_seconds: float, show: Callable[[Status], None]) -> NoReturn:
    """Until Ctrl-C. The first read must succeed; afterwards the operator may be watching an outage."""
    show(read())
    while True:
        Event().wait(every_seconds)
        try:
            now = read()
        except StartRefused as refusal:
            print(refusal, file=sys.stderr)
        else:
            show(now)

"""`consumer quarantine show`: one record, whole."""

import json as json_library
from typing import Annotated

import typer

from consumer.cli.choose import require_number
from consumer.cli.document import JsonObject, document
from consumer.cli.flags import LOGS, with_settings
from consumer.cli.heads import fields, told
from consumer.cli.text import visible
from consumer.settings import Settings


@with_settings("quarantine_table", "lease_table", *LOGS)
def show(
    settings: Settings,
    shard: Annotated[str, typer.Argument(metavar="SHARD", help="A shard's id, or label/id.")],
    sequence_number: Annotated[str, typer.Argument(metavar="SEQ", help="The record's sequence number.")],
    json: JsonObject = False,
) -> int:
    """Shows why a record is in quarantine, and the whole of it, as DynamoDB JSON.

    \b
    Example:
      consumer quarantine show shardId-00000001769860800000-00000000 100000000000000000000042
    """
    require_number(sequence_number)
    from consumer.bootstrap.quarantine import ward

    with ward(settings, acting=False) as open_ward:
        head = open_ward.find(shard, sequence_number)
        record = open_ward.record(head)
    if json:
        print(document({**fields(head), "record": record}))
        return 0
    print(f"shard        {visible(str(head.shard))}")
    print(f"record       {head.sequence_number}")
    print(f"player       {visible(head.player) if head.player is not None else '-'}")
    print(f"reason       {visible(head.reason)}: {visible(head.detail)}")
    print(f"state        {visible(told(head))}")
    print(f"quarantined  {visible(head.quarantined_at)}")
    print()
    print(json_library.dumps(record, indent=2) if record is not None else "The record's parts are missing or damaged.")
    return 0

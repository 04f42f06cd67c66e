"""`consumer quarantine discard`: records that shall never count."""

from typing import TYPE_CHECKING, Annotated

import typer

from consumer.cli.choose import spread
from consumer.cli.confirm import Yes, confirm
from consumer.cli.document import JsonObject, document
from consumer.cli.flags import LOGS, with_settings
from consumer.cli.progress import watched
from consumer.cli.target import Target, telling_how_far, with_target
from consumer.cli.text import many
from consumer.domain.errors import UsageFault
from consumer.domain.quarantine import Head
from consumer.settings import Settings

if TYPE_CHECKING:
    from consumer.operations.ward import Ward


@with_settings("quarantine_table", "lease_table", *LOGS)
@with_target("reason-code")
def discard(
    settings: Settings,
    target: Target,
    why: Annotated[
        str | None, typer.Option("--reason", metavar="TEXT", help="Why they shall never count; it is kept. Required.")
    ] = None,
    yes: Yes = False,
    json: JsonObject = False,
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
    if why is None or not why.strip():
        raise UsageFault("--reason is missing: say why these records shall never count; it is kept with them")
    if len(why) > 1000:
        raise UsageFault("--reason has more than 1,000 characters: say it shorter")
    from consumer.bootstrap.quarantine import ward

    with ward(settings, acting=False) as open_ward:
        heads = target.heads(open_ward, settings, "discarded")
        if heads:
            confirm(f"Discard {spread(heads)}? They will never count.", yes=yes)
        return _discard(open_ward, heads, why, one=target.one is not None, json=json)


def _discard(ward: "Ward", heads: list[Head], why: str, *, one: bool, json: bool) -> int:
    from consumer.operations.discard import Discarded
    from consumer.operations.redrive import Faster
    from consumer.operations.ward import require_pending

    discarded, faster = 0, 0
    last: Discarded | Faster | None = None

    def how_far() -> str:
        left = len(heads) - discarded - faster
        return f"{discarded:,} discarded, {left:,} of {many(len(heads), 'record')}"

    with telling_how_far(how_far):
        for last in watched((ward.discard(head, why) for head in heads), len(heads), "discarding"):
            discarded += isinstance(last, Discarded)
            faster += isinstance(last, Faster)
    if one and isinstance(last, Faster):
        require_pending(last.now, "somebody was faster")
    if json:
        print(document({"discarded": discarded, "takenByOthers": faster}))
    else:
        print(
            f"{many(discarded, 'record')} discarded"
            + (f"; {faster:,} not pending any more: somebody was faster" if faster else "")
        )
    return 4 if faster else 0

"""Which quarantined records a command is about: `SHARD SEQ`, or filters."""

from datetime import datetime
from typing import Annotated, Any

import typer

from consumer.domain.errors import UsageFault
from consumer.domain.position import is_sequence_number
from consumer.domain.quarantine import Choice, Head, State
from consumer.domain.records import Reason

ShardArgument = Annotated[
    str | None, typer.Argument(metavar="SHARD", help="A shard's id, or label/id.", show_default=False)
]
NumberArgument = Annotated[
    str | None, typer.Argument(metavar="SEQ", help="The record's sequence number.", show_default=False)
]
ShardFilter = Annotated[
    str | None, typer.Option("--shard", metavar="SHARD", help="Of this shard: its id, or label/id.")
]
PlayerFilter = Annotated[str | None, typer.Option("--player", metavar="ID", help="Of this player.")]
ReasonFilter = Annotated[
    str | None, typer.Option("--reason", "--reason-code", metavar="CODE", help="With this reason, like score_type.")
]
CodeFilter = Annotated[
    str | None, typer.Option("--reason-code", metavar="CODE", help="Quarantined for this reason, like score_type.")
]
SinceFilter = Annotated[
    str | None, typer.Option("--since", metavar="TIME", help="Quarantined at this ISO time, with a zone, or later.")
]
UntilFilter = Annotated[
    str | None, typer.Option("--until", metavar="TIME", help="Quarantined at this ISO time, with a zone, or before.")
]


def chosen(
    *,
    shard: str | None,
    player: str | None,
    reason: str | None,
    since: str | None,
    until: str | None,
    state: State | None = State.PENDING,
) -> Choice:
    """The filters together. Raises UsageFault with every fault."""
    faults: list[str] = []
    if reason is not None and reason not in list(Reason):
        faults.append(f"there is no reason {reason!r}: it is one of {', '.join(Reason)}")
    first, last = _moment("--since", since, faults), _moment("--until", until, faults)
    if first is not None and last is not None and first > last:
        faults.append(f"--since {since} is after --until {until}: nothing can match")
    if faults:
        raise UsageFault("\n".join(faults))
    return Choice(shard, player, reason, state, first, last)


def addressed(shard: str | None, sequence_number: str | None, filters: dict[str, Any]) -> tuple[str, str] | None:
    """The one record that is named; None: the filters tell. Raises UsageFault for half of one, or for both."""
    if shard is None:
        return None
    if sequence_number is None:
        raise UsageFault(f"SHARD {shard!r} without SEQ: name both, or all records of the shard with --shard")
    given = [f"--{name}" for name, value in filters.items() if value is not None]
    if given:
        raise UsageFault(f"SHARD SEQ names one record, and {', '.join(given)} picks among many: give one of the two")
    require_number(sequence_number)
    return shard, sequence_number


def require_number(text: str) -> None:
    """Raises UsageFault unless it is a sequence number."""
    if not is_sequence_number(text):
        raise UsageFault(f"{text[:80]!r} is no sequence number: it has up to 40 decimal digits and nothing else")


def spread(heads: list[Head]) -> str:
    """How many records, of how many shards, for which reasons."""
    counts: dict[str, int] = {}
    for head in heads:
        counts[head.reason] = counts.get(head.reason, 0) + 1
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in sorted(counts.items()))
    shards = len({head.shard for head in heads})
    records = "1 record" if len(heads) == 1 else f"{len(heads):,} records"
    return f"{records} of {'1 shard' if shards == 1 else f'{shards:,} shards'} ({reasons})"


def _moment(name: str, text: str | None, faults: list[str]) -> float | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        if moment.utcoffset() is not None:
            return moment.timestamp()
    except (ValueError, OverflowError):
        pass
    faults.append(f"{name} is {text[:80]!r}: it must be an ISO time with a zone, like 2026-01-31T12:00:00Z")
    return None

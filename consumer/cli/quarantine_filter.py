"""Which quarantined records a command is about: `SHARD SEQ`, or filters."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial, wraps
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from consumer.cli.output import with_count
from consumer.domain.errors import UsageFault
from consumer.domain.position import is_sequence_number
from consumer.domain.quarantine import EntryState, QuarantineEntry, QuarantineFilter
from consumer.domain.records import Reason
from consumer.settings import Settings

if TYPE_CHECKING:
    from consumer.operations.quarantine import QuarantineService
    from consumer.wiring.operators import Session

OptionalShard = Annotated[
    str | None, typer.Argument(metavar="SHARD", help="A shard's id, or LABEL/ID.", show_default=False)
]
OptionalNumber = Annotated[
    str | None, typer.Argument(metavar="SEQ", help="The record's sequence number.", show_default=False)
]
ShardFilter = Annotated[
    str | None, typer.Option("--shard", metavar="SHARD", help="Of this shard: its id, or LABEL/ID.")
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

FILTERS: Final = ("shard", "player", "reason", "since", "until")


@dataclass(frozen=True)
class Selection:
    """One record, by shard and sequence number, or else all that pass the filter."""

    one: tuple[str, str] | None
    filter_: QuarantineFilter

    def entries(
        self, service: "QuarantineService", session: "Session", settings: Settings, act: str
    ) -> list[QuarantineEntry]:
        """The records. Raises NotFound, and UnsafeRefused for one that cannot be `act` because it is not pending."""
        from consumer.operations.quarantine import require_pending

        if self.one is None:
            watch = partial(with_count, title=f"reading {settings.quarantine_table}")
            return session.run(service.select(self.filter_, watch))
        entry = session.run(service.find(*self.one))
        require_pending(entry, f"it cannot be {act}")
        return [entry]


def with_selection(reason_flag: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Gives a command, which takes settings and a Selection first, the arguments and filters that make one.

    `reason_flag`: the flag of the filter by reason, "reason" or "reason-code".
    """
    types = {
        "shard_name": OptionalShard,
        "sequence_number": OptionalNumber,
        "shard": ShardFilter,
        "player": PlayerFilter,
        "reason": ReasonFilter if reason_flag == "reason" else CodeFilter,
        "since": SinceFilter,
        "until": UntilFilter,
    }

    def decorate(command: Callable[..., int]) -> Callable[..., int]:
        @wraps(command)
        def run(settings: Settings, **values: Any) -> int:
            name, number = values.pop("shard_name"), values.pop("sequence_number")
            filters = {filter_: values.pop(filter_) for filter_ in FILTERS}
            flags = {reason_flag if filter_ == "reason" else filter_: value for filter_, value in filters.items()}
            return command(settings, Selection(one_record(name, number, flags), make_filter(**filters)), **values)

        first, _, *own = inspect.signature(command).parameters.values()
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        added = [inspect.Parameter(name, kind, default=None, annotation=type_) for name, type_ in types.items()]
        run.__signature__ = inspect.Signature([first, *added, *own])  # type: ignore[attr-defined]
        return run

    return decorate


def one_record(shard: str | None, sequence_number: str | None, filters: dict[str, Any]) -> tuple[str, str] | None:
    """The one record that is named; None: the filters select. Raises UsageFault for half of a name, or for both."""
    if shard is None:
        return None
    if sequence_number is None:
        raise UsageFault(f"SHARD {shard!r} without SEQ: name both, or all records of the shard with --shard")
    given = [f"--{name}" for name, value in filters.items() if value is not None]
    if given:
        raise UsageFault(f"SHARD SEQ names one record, and {', '.join(given)} selects several: use one of the two")
    require_number(sequence_number)
    return shard, sequence_number


def require_number(text: str) -> None:
    """Raises UsageFault unless it is a sequence number."""
    if not is_sequence_number(text):
        raise UsageFault(f"{text[:80]!r} is no sequence number: it has up to 40 decimal digits and nothing else")


def make_filter(
    *,
    shard: str | None,
    player: str | None,
    reason: str | None,
    since: str | None,
    until: str | None,
    state: EntryState | None = EntryState.PENDING,
) -> QuarantineFilter:
    """The filters together. Raises UsageFault with every fault."""
    faults: list[str] = []
    if reason is not None and reason not in list(Reason):
        faults.append(f"there is no reason {reason!r}: it is one of {', '.join(Reason)}")
    first, last = _timestamp("--since", since, faults), _timestamp("--until", until, faults)
    if first is not None and last is not None and first > last:
        faults.append(f"--since {since} is after --until {until}: nothing can match")
    if faults:
        raise UsageFault("\n".join(faults))
    return QuarantineFilter(shard, player, reason, state, first, last)


def _timestamp(name: str, text: str | None, faults: list[str]) -> float | None:
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
        if time.utcoffset() is not None:
            return time.timestamp()
    except (ValueError, OverflowError):
        pass
    faults.append(f"{name} is {text[:80]!r}: it must be an ISO time with a zone, like 2026-01-31T12:00:00Z")
    return None

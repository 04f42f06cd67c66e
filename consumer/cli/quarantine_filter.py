"""Which quarantined records a command is about: `SHARD SEQ`, or filters."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

import click

from consumer.cli.app import decorated
from consumer.cli.output import with_count
from consumer.domain.errors import UsageFault
from consumer.domain.leases import is_sequence_number
from consumer.domain.quarantine import EntryState, QuarantineEntry, QuarantineFilter
from consumer.domain.records import Reason
from consumer.settings import Settings

if TYPE_CHECKING:
    from consumer.operations.quarantine import QuarantineService
    from consumer.wiring.operators import Session


def one_record(command: Callable[..., int]) -> Callable[..., int]:
    """Gives a command the arguments that name one record."""
    return decorated(
        command,
        click.argument("name", metavar="[SHARD]", required=False, help="A shard's id, or LABEL/ID."),
        click.argument("number", metavar="[SEQ]", required=False, help="The record's sequence number."),
    )


def filters(reason_flag: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Gives a command the flags of `make_filter`. `reason_flag` is "reason", or "reason-code" if that means another."""
    reasons = [f"--{flag}" for flag in dict.fromkeys((reason_flag, "reason-code"))]
    options = (
        click.option("--shard", metavar="SHARD", help="Of this shard: its id, or LABEL/ID."),
        click.option("--player", metavar="ID", help="Of this player."),
        click.option(*reasons, "reason", metavar="CODE", help="Quarantined for this reason, like score_type."),
        click.option("--since", metavar="TIME", help="Quarantined at this ISO time, with a zone, or later."),
        click.option("--until", metavar="TIME", help="Quarantined at this ISO time, with a zone, or before."),
    )
    return lambda command: decorated(command, *options)


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


def select(values: Mapping[str, str | None], reason_flag: str) -> Selection:
    """What the arguments and flags of `one_record` and `filters` select.

    Raises UsageFault for half of a record's name, for a name beside filters, and for filters that are wrong.
    """
    shard, number = values["name"], values["number"]
    given = {name: value for name, value in values.items() if name not in ("name", "number")}
    if shard is None:
        return Selection(None, make_filter(given))
    if number is None:
        raise UsageFault(f"SHARD {shard!r} without SEQ: name both, or all records of the shard with --shard")
    flags = [f"--{reason_flag if name == 'reason' else name}" for name, value in given.items() if value is not None]
    if flags:
        raise UsageFault(f"SHARD SEQ names one record, and {', '.join(flags)} selects several: use one of the two")
    require_number(number)
    return Selection((shard, number), QuarantineFilter())


def require_number(text: str) -> None:
    """Raises UsageFault unless it is a sequence number."""
    if not is_sequence_number(text):
        raise UsageFault(f"{text[:80]!r} is no sequence number: it has up to 40 decimal digits and nothing else")


def make_filter(flags: Mapping[str, str | None], state: EntryState | None = EntryState.PENDING) -> QuarantineFilter:
    """The filter of these flags, by `filters`. Raises UsageFault with every fault."""
    shard, player, reason, since, until = (flags[name] for name in ("shard", "player", "reason", "since", "until"))
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

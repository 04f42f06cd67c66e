"""Which quarantined records a command is about: `SHARD SEQ`, filters, or all."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Final

import click

from consumer.cli.app import decorated, switch
from consumer.cli.output import with_count
from consumer.domain.errors import UsageFault
from consumer.domain.leases import is_sequence_number
from consumer.domain.quarantine import EntryState, QuarantineEntry, QuarantineFilter
from consumer.domain.records import Reason
from consumer.settings import Settings

if TYPE_CHECKING:
    from consumer.operations.quarantine import QuarantineService
    from consumer.wiring.operators import Session

FILTERS: Final = ("shard", "player", "reason", "since", "until")


def filters(command: Callable[..., int]) -> Callable[..., int]:
    """Gives a command the flags of `make_filter`."""
    return decorated(
        command,
        click.option("--shard", metavar="SHARD", help="Of this shard: its id, or LABEL/ID."),
        click.option("--player", metavar="ID", help="Of this player."),
        click.option("--reason", metavar="CODE", help="Quarantined for this reason, like score_type."),
        click.option("--since", metavar="TIME", help="Quarantined at this ISO time, with a zone, or later."),
        click.option("--until", metavar="TIME", help="Quarantined at this ISO time, with a zone, or before."),
    )


def selection(command: Callable[..., int]) -> Callable[..., int]:
    """Gives a command that changes records the arguments and flags of `select`."""
    return decorated(
        filters(command),
        click.argument("name", metavar="[SHARD]", required=False, help="A shard's id, or LABEL/ID."),
        click.argument("number", metavar="[SEQ]", required=False, help="The record's sequence number."),
        switch("--all", "everything", help="All records, without a filter."),
    )


@dataclass(frozen=True)
class Selection:
    """One record, by shard and sequence number, or else all that pass the filter."""

    one: tuple[str, str] | None
    filter_: QuarantineFilter

    def entries(
        self, service: "QuarantineService", session: "Session", settings: Settings, act: str
    ) -> list[QuarantineEntry]:
        """The records. Raises NotFound, and UnsafeRefused for one that cannot be `act` in the state that it has."""
        from consumer.operations.quarantine import require_state

        if self.one is None:
            watch = partial(with_count, title=f"reading {settings.quarantine_table}")
            return session.run(service.select(self.filter_, watch))
        entry = session.run(service.find(*self.one))
        require_state(entry, f"it cannot be {act}", self.filter_.state or EntryState.PENDING)
        return [entry]


def select(values: Mapping[str, str | None], *, everything: bool, state: EntryState = EntryState.PENDING) -> Selection:
    """What the arguments and flags of `selection` select, of the records in this state.

    Raises UsageFault when nothing is selected, for half of a record's name, for two ways to select, and for wrong
    filters. `everything` must be said: a forgotten flag must not mean all records.
    """
    shard, number = values["name"], values["number"]
    flags = [f"--{name}" for name in FILTERS if values[name] is not None]
    if shard is None:
        if not flags and not everything:
            raise UsageFault(
                f"which records? Name one (SHARD SEQ), or use a filter ({_joined(FILTERS)}), or --all for every one "
                f"that is {state}. `consumer quarantine list` shows them"
            )
        if flags and everything:
            raise UsageFault(f"--all means every record, and {', '.join(flags)} selects some: use one of the two")
        return Selection(None, make_filter(values, state))
    if number is None:
        raise UsageFault(f"SHARD {shard!r} without SEQ: name both, or all records of the shard with --shard")
    flags += ["--all"] if everything else []
    if flags:
        raise UsageFault(f"SHARD SEQ names one record, and {', '.join(flags)} selects several: use one of the two")
    require_number(number)
    return Selection((shard, number), QuarantineFilter(state=state))


def _joined(names: Iterable[str]) -> str:
    return ", ".join(f"--{name}" for name in names)


def require_number(text: str) -> None:
    """Raises UsageFault unless it is a sequence number."""
    if not is_sequence_number(text):
        raise UsageFault(f"{text[:80]!r} is no sequence number: it has up to 40 decimal digits and nothing else")


def make_filter(flags: Mapping[str, str | None], state: EntryState | None = EntryState.PENDING) -> QuarantineFilter:
    """The filter of these flags, by `filters`. Raises UsageFault with every fault."""
    shard, player, reason, since, until = (flags[name] for name in FILTERS)
    faults: list[str] = []
    if reason is not None and reason not in list(Reason):
        faults.append(f"--reason: there is no reason {reason!r}: it is one of {', '.join(Reason)}")
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

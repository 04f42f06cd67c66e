"""Switches of windows, and of rules and their numbers."""

from dataclasses import replace
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from consumer.domain import accepted_rules, lineage
from consumer.domain.accepted_rules import UNNUMBERED, AcceptedRules, Reading
from consumer.domain.leases import LeaseRow, Ledger
from consumer.domain.marks import RowWrite
from consumer.domain.planner import Plan, plan
from consumer.domain.records import LONG_EXPIRED_SECONDS, Rules, without_expired
from consumer.domain.windows import Calendar, KeptSince, Kind, WindowKind, after_claim, name_of, new_board
from consumer.operations import quarantine
from consumer.worker import lease_assignment, writer
from consumer.worker.coordinator import Coordinator
from consumer.worker.row_writes import RowWrites
from tests.simulation.switches import switch

# --- rules and their numbers ---


@switch(plan, used_in=lease_assignment)
def number_of_a_row(original: Any, rows: Any, numbers: Any, *given: Any) -> Plan:
    """Any worker may claim any shard."""
    as_read = {row.shard: row for row in rows}
    planned: Plan = original([replace(row, rules=0) for row in as_read.values()], numbers, *given)
    return Plan(tuple(as_read[row.shard] for row in planned.claim), planned.release)


@number_of_a_row.replaces(AcceptedRules.claimed)
def _claim_any(original: Any, self: AcceptedRules, before: Reading, number: int, at: float) -> Reading:
    claimed: Reading = original(self, before, number, at)
    return claimed._replace(rules=number)


class _Lowest(int):
    """A number of which the lowest sort as the highest."""

    def __lt__(self, other: int) -> bool:
        return int(self) > int(other)


@switch(plan, used_in=lease_assignment)
def highest_rows_first(original: Any, rows: Any, *given: Any) -> Plan:
    """The shards with the lowest number are shared out first."""
    as_read = {row.shard: row for row in rows}
    planned: Plan = original([replace(row, rules=_Lowest(row.rules)) for row in as_read.values()], *given)
    return Plan(tuple(as_read[row.shard] for row in planned.claim), planned.release)


@switch(AcceptedRules.claimed)
def claim_writes_the_number(_original: Any, _self: AcceptedRules, before: Reading, *_: Any) -> Reading:
    """A claim leaves the number in the shard's row as it is."""
    return before


@switch(writer.child_row, lineage.late_row)
def children_inherit_the_number(original: Any, *given: Any, **more: Any) -> LeaseRow:
    """The row of a child begins without a number."""
    row: LeaseRow = original(*given, **more)
    return row.read_as(UNNUMBERED)


@switch(Coordinator.take)
def number_at_every_load(original: Any, self: Coordinator, call: Any, reply: Any, now: float) -> Any:
    """A worker looks its number up when it starts, and never again."""
    if isinstance(reply, Ledger):
        reply = replace(reply, accepted=self.starter.accepted)
    return original(self, call, reply, now)


@switch(AcceptedRules.number_of)
def last_place_in_the_list(_original: Any, self: AcceptedRules, rules: Rules) -> int:
    """A worker's number is the first place of its rules in the list."""
    return next((number for number, each in enumerate(self.entries, 1) if each == rules), 0)


@switch(AcceptedRules.reading_of_lost)
def lost_row_has_the_newest_number(_original: Any, self: AcceptedRules, *_: Any) -> Reading:
    """A row that is made again begins as that of a new board."""
    return _of_new_board(self)


@switch(AcceptedRules.reading_of_root)
def root_is_read_as_the_others(_original: Any, self: AcceptedRules, *_: Any) -> Reading:
    """The row of a shard without a parent begins as that of a new board."""
    return _of_new_board(self)


def _of_new_board(accepted: AcceptedRules) -> Reading:
    return Reading(1, new_board(accepted.entries[0].windows)) if accepted.entries else UNNUMBERED


# --- windows ---


@switch(Calendar.counted)
def games_ahead_count(original: Any, self: Calendar, day: str, created: float) -> tuple[str, ...]:
    """A game that is dated ahead counts in no window that has not begun."""
    today = date.fromisoformat(self.local_day(created))
    now = [name_of(kind, today) for kind, _ in self.kept]
    return tuple(
        name for name in original(self, day, created) if any(name <= each for each in now if each[0] == name[0])
    )


@switch(Calendar.expired)
def expired_at_creation(original: Any, self: Calendar, windows: Any, at: float) -> tuple[str, ...]:
    """What has expired is reckoned from the newest game of the row."""
    days = [date.fromisoformat(name.removeprefix("day_")) for name in windows if name.startswith("day_")]
    newest = [datetime(day.year, day.month, day.day, tzinfo=ZoneInfo("UTC")).timestamp() for day in days]
    expired: tuple[str, ...] = original(self, windows, max([at, *newest]))
    return expired


@switch(Calendar.expired)
def expired_goes(_original: Any, *_: Any) -> tuple[str, ...]:
    """Nothing expires."""
    return ()


@switch(RowWrites.look_at_windows)
def row_is_looked_at(_original: Any, *_: Any) -> None:
    """A row is written without a look at which windows it has."""


@switch(RowWrites.plain)
def dropped_or_added(original: Any, self: RowWrites, unit: Any) -> tuple[RowWrite, ...]:
    """A window that has expired is added to, and dropped, by one write."""
    return tuple(write._replace(delta=unit.deltas[write.player]) for write in original(self, unit))


@switch(after_claim, used_in=accepted_rules)
def new_kind_is_incomplete(original: Any, before: KeptSince, kept: Any, zone: str, at: float, *_: Any) -> KeptSince:
    """The windows of a kind that was not kept are complete from the claim on."""
    after: dict[WindowKind, Kind] = dict(original(before, kept, zone, at, 0))
    return {kind: each if kind in before else each._replace(since=at) for kind, each in after.items()}


@switch(after_claim, used_in=accepted_rules)
def margin_of_a_day(original: Any, before: KeptSince, kept: Any, zone: str, at: float, most_ahead: float) -> KeptSince:
    """Windows of a new kind are complete from where the last game may be dated that was read before the claim."""
    after: dict[WindowKind, Kind] = dict(original(before, kept, zone, at, most_ahead))
    since = at + most_ahead + 3_600
    return {kind: each if kind in before else each._replace(since=since) for kind, each in after.items()}


@switch(after_claim, used_in=accepted_rules)
def kind_that_is_not_kept(original: Any, before: KeptSince, *given: Any) -> KeptSince:
    """A kind that is not kept for a while is complete when it is kept again."""
    after: KeptSince = original(before, *given)
    return {**before, **after}


@switch(after_claim, used_in=accepted_rules)
def more_windows_are_incomplete(original: Any, before: KeptSince, *given: Any) -> KeptSince:
    """When more windows of a kind are kept, they are complete at once."""
    after: KeptSince = original(before, *given)
    return {kind: each._replace(since=before[kind].since) if kind in before else each for kind, each in after.items()}


@switch(without_expired, used_in=quarantine)
def expired_for_two_days(original: Any, entry: Any, rules: Rules, now: float) -> Any:
    """A re-drive leaves out what has expired by the operator's clock."""
    return original(entry, rules, now + LONG_EXPIRED_SECONDS)


@switch(AcceptedRules.for_operators.fget)  # type: ignore[attr-defined]
def widest_windows_of_all(_original: Any, self: AcceptedRules) -> Rules | None:
    """An operator's command counts in the windows that the rules keep which were accepted last."""
    return self.newest

"""Rules of order in the machines, each with a switch that turns it off from outside: the product knows nothing of it.

A switch replaces public functions of the product. Rules that are conditions of the tables' writes are turned off by
`FakeTables(off=...)` instead.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from math import inf
from types import ModuleType
from typing import Any, Final
from unittest.mock import patch

from consumer.domain import lineage
from consumer.domain.breaker import Breaker
from consumer.domain.fold import Unit
from consumer.domain.leases import SHARD_END, TRIM_HORIZON, Adoption, Lease, LeaseRow, Ledger, Shard
from consumer.domain.lineage import GoneEvidence
from consumer.domain.membership import FailureDetector, Members
from consumer.domain.operator_ports import LeaseAdmin
from consumer.domain.records import Game
from consumer.domain.replay import Range
from consumer.domain.replies import Refused, StreamListing
from consumer.operations import checkpoint
from consumer.operations.steps import Command, OperatorCall, ask
from consumer.worker import stream_start, writer
from consumer.worker.commit_attempt import CommitAttempt
from consumer.worker.coordinator import Coordinator
from consumer.worker.events import RetryScheduled
from consumer.worker.lease_assignment import Claims, LeaseAssignment
from consumer.worker.ledger_calls import Adopt, Claim
from consumer.worker.reader import Reader
from consumer.worker.shard_calls import Commit, Open, RecordGap, Release, ShardCall
from consumer.worker.shard_sync import ListingDiff
from consumer.worker.stream_start import StreamStarter
from consumer.worker.worker import Worker
from consumer.worker.writer import Writer
from tests.support.fakes import FakeStreams

Replacement = Callable[..., Any]
"""Called with the function it replaces, then with that function's arguments."""


class Switch:
    """`name` is the rule that is turned off; `sentence` says what happens then."""

    def __init__(self, name: str, sentence: str) -> None:
        self.name = name
        self.sentence = sentence
        self._patches: list[tuple[Any, Replacement, ModuleType | None]] = []

    def replaces(
        self, *targets: Callable[..., Any], used_in: ModuleType | None = None
    ) -> Callable[[Replacement], "Switch"]:
        """Adds public functions of the product, or methods, and what replaces each of them.

        `used_in`: the module that has imported a function by its name.
        """
        for target in targets:
            assert not any(part.startswith("_") for part in target.__qualname__.split(".")), target.__qualname__

        def add(replacement: Replacement) -> Switch:
            self._patches += [(target, replacement, used_in) for target in targets]
            return self

        return add

    @contextmanager
    def off(self) -> Iterator[None]:
        """The rule does not hold inside this context."""
        with ExitStack() as patches:
            for target, replacement, used_in in self._patches:
                owner = used_in or sys.modules[target.__module__]
                *path, attribute = target.__qualname__.split(".")
                for part in path:
                    owner = getattr(owner, part)
                made: Any = _bind(replacement, target)
                if isinstance(getattr(owner, attribute), property):
                    made = property(made)
                patches.enter_context(patch.object(owner, attribute, made))
            yield

    def __reduce__(self) -> tuple[Callable[[str], "Switch"], tuple[str]]:
        return named, (self.name,)


SWITCHES: Final[dict[str, Switch]] = {}


def named(name: str) -> Switch:
    """The switch of that name."""
    return SWITCHES[name]


def getter_of(getter: Any) -> Any:
    """The function of a property."""
    return getter.fget


def switch(*targets: Callable[..., Any], used_in: ModuleType | None = None) -> Callable[[Replacement], Switch]:
    """Makes a switch of a replacement: its name is the function's, its sentence the docstring."""

    def make(replacement: Replacement) -> Switch:
        made = Switch(replacement.__name__, replacement.__doc__ or "")
        SWITCHES[made.name] = made
        return made.replaces(*targets, used_in=used_in)(replacement)

    return make


@contextmanager
def switched_off(switches: Iterable[Switch]) -> Iterator[None]:
    """These rules do not hold inside this context."""
    with ExitStack() as rules:
        for each in switches:
            rules.enter_context(each.off())
        yield


def _bind(replacement: Replacement, original: Callable[..., Any]) -> Callable[..., Any]:
    def replaced(*given: Any, **named_given: Any) -> Any:
        return replacement(original, *given, **named_given)

    return replaced


# --- a shard that is read and committed ---


@switch(Reader.is_current)
def page_follows_buffer(_original: Any, *_: Any) -> bool:
    """Any page is taken, whatever was requested since."""
    return True


@switch(Reader.rewind)
def buffer_is_dropped(_original: Any, *_: Any) -> None:
    """Buffered records are kept although the row stands elsewhere."""


@switch(Writer.outcome_unknown)
def unit_is_retried_unchanged(original: Any, self: Writer, call: object) -> None:
    """After an unknown outcome another unit is cut."""
    self.attempt.forget()
    original(self, call)


@switch(Writer.next_call)
def end_after_last_unit(original: Any, self: Writer, now: float) -> Any:
    """A shard is ended when its last record is read, not when it is committed."""
    if self.reader.ended and self.attempt.unit is None and not self.releasing:
        return self.next_end()
    return original(self, now)


@switch(Writer.next_call)
def release_after_commit(original: Any, self: Writer, now: float) -> Any:
    """A lease is released although an attempt may yet take effect."""
    return Release(self.lease) if self.releasing else original(self, now)


@switch(Reader.next_call)
def gap_row_first(original: Any, self: Reader, lease: Lease, checkpoint: str, unix_now: float) -> Any:
    """The shard reads on before its gap is recorded."""
    call = original(self, lease, checkpoint, unix_now)
    if isinstance(call, RecordGap) and not self.gone:
        self.read_on_after_gap(checkpoint)
        return Open(lease, TRIM_HORIZON)
    return call


@switch(Reader.may_be_trimmed)
def unread_may_be_trimmed(_original: Any, *_: Any) -> bool:
    """A shard that was never read is read from the horizon, however old it may be."""
    return False


@switch(Reader.nothing_trimmed)
def trimmed_proves_no_gap(_original: Any, *_: Any) -> bool:
    """A trimmed iterator is opened again without a gap, however old the records may be."""
    return True


@switch(Reader.forget_tip)
def tip_is_proven(original: Any, self: Reader, asked_at: float) -> None:
    """A shard counts as read to its newest record as soon as it is opened."""
    original(self, asked_at)
    self.at_tip = True


@switch(GoneEvidence.refused)
def gone_after_three_refusals(original: Any, self: GoneEvidence) -> None:
    """One refusal proves that a shard is gone."""
    for at in (0.0, 0.0, inf):
        original(self)
        self.stream_answered(at)


@switch(FakeStreams.open)
def read_from_horizon(original: Any, self: FakeStreams, shard: Shard, after: str) -> str:
    """A shard that was never read is read from its newest record on."""
    records = self.streams[shard.stream_arn].shards[shard.shard_id].records
    if after == TRIM_HORIZON and records:
        after = str(records[-1]["dynamodb"]["SequenceNumber"])
    opened: str = original(self, shard, after)
    return opened


@switch(CommitAttempt.narrow_down)
def refused_alone(original: Any, self: CommitAttempt, unit: Unit, reply: Refused, detail: str) -> Any:
    """When a unit is refused, its first record is examined."""
    oldest = self.buffer.oldest()
    if not isinstance(oldest, Game):
        return original(self, unit, reply, detail)
    self.examine_next(oldest, detail)
    self.unit = None
    return None


@switch(CommitAttempt.next_call)
def unit_fixed_when_cut(
    original: Any, self: CommitAttempt, lease: Lease, checkpoint: str, *given: Any, **more: Any
) -> Any:
    """The position that a unit follows is read when it is sent, not when it is cut."""
    call = original(self, lease, checkpoint, *given, **more)
    if isinstance(call, Commit) and call.unit.previous != checkpoint:
        self.unit = replace(call.unit, previous=checkpoint)
        return replace(call, unit=self.unit)
    return call


@switch(Worker.take)
def reply_of_this_epoch(original: Any, self: Worker, call: Any, reply: Any, now: float) -> Any:
    """A reply to a call of an earlier epoch is taken for one to a call of this epoch."""
    machine = self.shards.get(call.lease.shard) if isinstance(call, ShardCall) else None
    return original(self, replace(call, lease=machine.lease) if machine else call, reply, now)


# --- workers among each other ---


@switch(Worker.may_commit)
def commit_only_with_heartbeat(_original: Any, *_: Any) -> bool:
    """A worker whose heartbeats cannot be written commits on."""
    return True


@switch(FailureDetector.dead)
def silence_of_a_ttl(_original: Any, self: Any) -> frozenset[str]:
    """A worker is dead when two reads show the same heartbeat."""
    return getattr(self, "silent", frozenset())


@silence_of_a_ttl.replaces(FailureDetector.observe)
def _note_silent(original: Any, self: Any, members: Members, *given: Any) -> None:
    before = {owner: report.number for owner, report in self.members.items()}
    self.silent = frozenset(owner for owner, report in members.workers.items() if before.get(owner) == report.number)
    original(self, members, *given)


@switch(FailureDetector.observe)
def observes_again_after_hole(
    original: Any, self: FailureDetector, members: Members, asked_at: float, answered_at: float
) -> None:
    """Heartbeats seen before this worker's pause count on."""
    original(self, Members(members.changes, self.members), answered_at, -inf)
    original(self, members, asked_at, answered_at)


@switch(Claims.add)
def claim_raises_epoch(original: Any, self: Claims, claim: Claim) -> None:
    """A claim keeps the epoch that it finds."""
    original(self, replace(claim, lease=claim.lease._replace(epoch=claim.row.epoch)))


@switch(Claims.take)
def begins_as_claimed(original: Any, self: Claims, call: Claim, *given: Any) -> Any:
    """A shard begins where it was when the ledger was read."""
    taken = original(self, call, *given)
    return replace(taken, checkpoint=call.row.checkpoint) if isinstance(taken, LeaseRow) else taken


@switch(Claims.take)
def claim_is_retried(original: Any, self: Claims, call: Claim, *given: Any) -> Any:
    """A claim without a reply is forgotten."""
    taken = original(self, call, *given)
    if isinstance(taken, RetryScheduled):
        del self.pending[call.row.shard]
        return None
    return taken


@switch(LeaseAssignment.claim_own_rows)
def own_rows_at_drain(_original: Any, *_: Any) -> None:
    """A worker leaves without a last read of the rows that name it."""


@switch(Coordinator.take)
def plan_after_load(original: Any, self: Coordinator, call: Any, reply: Any, now: float) -> Any:
    """A plan is made with members that were read before the ledger."""
    reported = original(self, call, reply, now)
    if isinstance(reply, Ledger):
        self.plan_after = -1.0
    return reported


# --- which rows there are, and where they begin ---


@switch(lineage.late_shards)
def parent_first(original: Any, listing: StreamListing, ledger: Ledger, *given: Any) -> Any:
    """A child gets its row while its parent is read (the table must allow the adoption too)."""
    rows = tuple(replace(row, checkpoint=SHARD_END) for row in ledger.rows)
    return original(listing, Ledger(rows, ledger.stream_starts), *given)


@switch(writer.child_row, StreamStarter.root_row, lineage.late_row)
def epoch_starts_at_seconds(original: Callable[..., LeaseRow], *given: Any) -> LeaseRow:
    """A new row begins with epoch 0."""
    return replace(original(*given), epoch=0)


@switch(ListingDiff.adoption_steps)
def probe_before_adoption(_original: Any, _self: ListingDiff, adoption: Adoption, *_: Any) -> list[Adopt]:
    """A listing alone is enough to adopt a root."""
    return [Adopt(adoption)]


@switch(stream_start.refuse_foreign_tables)
def tables_belong_together(_original: Any, *_: Any) -> None:
    """A stream's row and its table binding are not compared."""


@switch(Coordinator.start_time_for)
def start_time_in_every_shard(_original: Any, *_: Any) -> None:
    """Records from before the start time count."""


# --- operators' commands ---


@switch(checkpoint.watch_heartbeat)
def set_only_without_owner(_original: Any, _owner: str, lease_admin: LeaseAdmin, _: float) -> Command[bool]:
    """`checkpoint set` takes every owner for dead."""
    yield from ask(OperatorCall.READ_MEMBERS, lease_admin.read_members)
    return False


@switch(checkpoint.moved_row)
def set_raises_epoch(original: Callable[..., LeaseRow], row: LeaseRow, *given: Any) -> LeaseRow:
    """`checkpoint set` keeps the epoch of the row."""
    return replace(original(row, *given), epoch=row.epoch)


@switch(checkpoint.recreated_row)
def recreated_above_all_epochs(original: Callable[..., LeaseRow], *given: Any) -> LeaseRow:
    """A row that is made again begins with epoch 0."""
    return replace(original(*given), epoch=0)


@switch(Breaker.trips)
def flood_halts(_original: Any, *_: Any, **__: Any) -> bool:
    """The breaker never trips."""
    return False


@switch(Breaker.trips)
def first_records_halt(original: Any, self: Breaker, recent: int, **_: bool) -> Any:
    """A shard that never had a good record halts no earlier than others."""
    return original(self, recent, had_game=True)


@switch(Range.overlaps)
def overlap_is_refused(_original: Any, *_: Any) -> bool:
    """No two ranges overlap."""
    return False

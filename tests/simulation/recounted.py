"""What must hold of replays: each record by its row's word, once a replay, by one runner at a time."""

from decimal import Context, Decimal

from consumer.domain.leaderboard import Delta
from consumer.domain.leases import Shard
from consumer.domain.position import TRIM_HORIZON
from consumer.domain.quarantine import State
from consumer.domain.records import Entry, Game, Rules
from consumer.domain.repairs import decode_again
from consumer.domain.replay import Batch, Mode, Progress
from tests.fakes import FakeOperators, FakeReplays
from tests.simulation.oracle import Oracle
from tests.simulation.violation import Violation

_WIDE = Context(prec=400)


class Recounted:
    """Follows the batches that replays count, into the worker's board or another one."""

    def __init__(self, oracle: Oracle, operators: FakeOperators, replays: FakeReplays) -> None:
        self._oracle = oracle
        self._operators = operators
        self._replays = replays
        self._again: set[str] = set()
        self._once: dict[tuple[Shard, str], dict[int, str]] = {}
        replays.on_counted_under = self._on_count

    def begins(self, act: str, *, again: bool) -> None:
        """Whether a person has said that it may count what was counted again already."""
        if again:
            self._again.add(act)

    def ledger_lost(self) -> None:
        """With it goes what was counted again."""
        self._once.clear()

    def _on_count(self, stored: Progress, progress: Progress, batch: Batch) -> None:
        if stored.runner != progress.runner:
            raise Violation("one replay a shard and target", f"{progress.runner} counts, {stored.runner} has the row")
        if progress.mode is Mode.PENDING:
            if batch.unit.deltas:
                raise Violation("a replay counts what is pending by redrives", f"{batch}")
            return
        numbers = self._numbers(progress, batch)
        once = self._once.setdefault((progress.shard, progress.target), {})
        for each in numbers:
            before = once.get(each)
            if before == progress.act or (before is not None and progress.act not in self._again):
                raise Violation("a replay counts a record once", f"{each}, in {before} and {progress.act}")
            once[each] = progress.act
        wanted = self._wanted(progress.shard, numbers, batch)
        if wanted != dict(batch.unit.deltas):
            facts = f"{numbers} of {progress.shard}: {dict(batch.unit.deltas)}, not {wanted}"
            raise Violation("a replay counts by the rows' word", facts)
        if progress.target not in self._replays.boards:
            self._oracle.replay(batch.unit.deltas)

    def _numbers(self, progress: Progress, batch: Batch) -> list[int]:
        """The records of the batch: a run that follows the position, but for what is trimmed."""
        truth, unit = self._oracle.truth, batch.unit
        between = truth.between(progress.shard, TRIM_HORIZON, unit.last)
        of_range = [each for each in between if progress.range.holds(str(each)) and each > _after(progress)]
        numbers = of_range[len(of_range) - unit.records :]
        left = of_range[: len(of_range) - unit.records]
        if len(numbers) != unit.records or any(each > truth.trimmed_to(progress.shard) for each in left):
            facts = f"{unit.records} records up to {unit.last} behind {progress.position}; {left} left out"
            raise Violation("a replay leaves nothing out", facts)
        return numbers

    def _wanted(self, shard: Shard, numbers: list[int], batch: Batch) -> dict[str, Delta]:
        found: dict[str, Delta] = {}
        for entry in self._oracle.truth.entries(shard, numbers):
            said = self._said(shard, entry)
            if not isinstance(said, Game) or entry.sequence_number in batch.skipped:
                continue
            before = found.get(said.player, Delta(0, Decimal(0), ""))
            total = _WIDE.add(before.total, said.score)
            found[said.player] = Delta(before.games + 1, total, max(before.date, said.date))
        return found

    def _said(self, shard: Shard, entry: Entry) -> Entry | None:
        """What a record's row says of it; without one what it is."""
        number = entry.sequence_number
        state = self._oracle.states.get(number)
        if state is None:
            return entry
        if state != State.APPLIED:
            return None
        _, settled = self._operators.acts[shard.shard_id, number]
        wire = self._oracle.truth.wire(shard, number)
        return decode_again(wire, settled.repairs or {}, Rules(), only_wrong=False)[0]


def _after(progress: Progress) -> int:
    return -1 if progress.position == TRIM_HORIZON else int(progress.position)

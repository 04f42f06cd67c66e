"""What replays write, in memory, with the conditions of the real thing."""

from collections.abc import Callable
from dataclasses import replace

from consumer.domain.audit import Trace
from consumer.domain.leases import Shard
from consumer.domain.outcomes import Committed, Done, Refused
from consumer.domain.replay import Batch, Changed, Overtaken, Progress
from tests.fakes.tables import FakeTables


class FakeReplays:
    """The Replays port over FakeTables, whose `off` names guards that are taken away: replay_runner, replay_position,
    replay_state, replay_put.

    `boards`: another leaderboard by its name; a name that is not there is the one of `tables`. `trail`: audit rows.
    """

    def __init__(self, tables: FakeTables, boards: dict[str, FakeTables] | None = None) -> None:
        self.tables = tables
        self.boards = boards or {}
        self.rows: dict[tuple[Shard, str], Progress] = {}
        self.trail: list[Trace] = []
        self.on_count: Callable[[Progress, Batch], None] = lambda *_: None
        self.on_counted_under: Callable[[Progress, Progress, Batch], None] = lambda *_: None

    def progress(self, shard: Shard, target: str) -> Progress | None:
        """See operator_ports.Replays."""
        return self.rows.get((shard, target))

    def put(self, before: Progress | None, after: Progress, trace: Trace) -> Done | Overtaken:
        """See operator_ports.Replays."""
        key = (after.shard, after.target)
        stored = self.rows.get(key)
        if _version(stored) != _version(before) and "replay_put" not in self.tables.off:
            mine = stored is not None and (stored.runner, stored.running) == (after.runner, after.running)
            return Done() if mine else Overtaken(stored)
        self.rows[key] = after
        if trace not in self.trail:
            self.trail.append(trace)
        return Done()

    def count(
        self, progress: Progress, batch: Batch, later: frozenset[str]
    ) -> Committed | Overtaken | Changed | Refused:
        """See operator_ports.Replays."""
        off, key = self.tables.off, (progress.shard, progress.target)
        stored = self.rows.get(key)
        if (
            stored is None
            or (stored.runner != progress.runner and "replay_runner" not in off)
            or (stored.position != progress.position and "replay_position" not in off)
        ):
            return Overtaken(stored)
        changed = frozenset(each for each, state in batch.states.items() if self._state(progress.shard, each) != state)
        if changed and "replay_state" not in off:
            return Changed(changed)
        board = self.boards.get(progress.target, self.tables)
        refused = board.refusal(batch.unit, later)
        if refused is not None:
            return refused
        board.add(batch.unit, later)
        after = progress.after(batch)
        self.rows[key] = replace(stored, position=after.position, games=after.games, skipped=after.skipped)
        self.on_count(progress, batch)
        self.on_counted_under(stored, progress, batch)
        return Committed()

    def _state(self, shard: Shard, sequence_number: str) -> str | None:
        row = self.tables.quarantine.get((shard.shard_id, sequence_number))
        return row.state if row is not None else None


def _version(progress: Progress | None) -> tuple[str, str] | None:
    return (progress.runner, progress.position) if progress is not None else None

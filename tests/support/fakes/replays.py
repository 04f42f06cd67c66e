"""What replays write, in memory, with the conditions of the real tables."""

from collections.abc import Callable
from dataclasses import replace

from consumer.domain.audit import AuditEntry
from consumer.domain.leases import Shard
from consumer.domain.replay import Batch, Changed, Overtaken, Progress
from consumer.domain.replies import Committed, Done, Refused
from tests.support.builders import plain_rows
from tests.support.fakes.tables import FakeTables


class FakeReplays:
    """The Replays port over FakeTables. Guards in its `off`: replay_runner, replay_position, replay_state, replay_put.

    `boards` are other leaderboards by name; every other name means that of `tables`. `trail` has the audit entries.
    """

    def __init__(self, tables: FakeTables, boards: dict[str, FakeTables] | None = None) -> None:
        self.tables = tables
        self.boards = boards or {}
        self.rows: dict[tuple[Shard, str], Progress] = {}
        self.trail: list[AuditEntry] = []
        self.on_count: Callable[[Progress, Batch], None] = lambda *_: None
        self.on_counted_under: Callable[[Progress, Progress, Batch], None] = lambda *_: None

    def progress(self, shard: Shard, target: str) -> Progress | None:
        """See operator_ports.Replays."""
        return self.rows.get((shard, target))

    def put(self, before: Progress | None, after: Progress, audit_entry: AuditEntry) -> Done | Overtaken:
        """See operator_ports.Replays."""
        key = (after.shard, after.target)
        stored = self.rows.get(key)
        if _version(stored) != _version(before) and "replay_put" not in self.tables.off:
            mine = stored is not None and (stored.runner, stored.running) == (after.runner, after.running)
            return Done() if mine else Overtaken(stored)
        self.rows[key] = after
        if audit_entry not in self.trail:
            self.trail.append(audit_entry)
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
        states = {number: self._state(progress.shard, number) for number in batch.states}
        changed = frozenset(number for number, state in batch.states.items() if states[number] != state)
        if changed and "replay_state" not in off:
            return Changed(changed)
        board = self.boards.get(progress.target, self.tables)
        writes = plain_rows(batch.unit, later)
        refused = board.refusal(writes)
        if refused is not None:
            return refused
        board.add(writes)
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

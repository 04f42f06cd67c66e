"""Writes the games of a run while faults happen (its own calls meet none), and splits shards meanwhile."""

import threading
import time
from typing import Any

from tests.chaos.plan import Plan
from tests.streams_server import Fault, Remote
from tests.support.background import Background
from tests.support.processes import Game

_BATCH = 25
_WRITTEN_BY = 0.95
"""The part of the seconds after which all is written, if the machine is fast enough."""
_HOT_PLAYERS = 3
_SHARED_PLAYERS = 30
"""They play now and then, each time in another shard, so that a mark is often another shard's."""
_SPLIT_UNTIL = 0.97
"""The part of the records after which no shard splits any more: the last shards get some records too."""
_HIDDEN_SECONDS = (0.5, 12.0)
_SHOWN_OPEN_SECONDS = (0.5, 10.0)


class Writer(Background):
    """Most records go through the source table. Some go directly into a shard.

    Those are of players who play in every shard, as in a source keyed by match (where it is keyed by player, they share
    rows between shards), and changes and removals, which do not count.
    """

    def __init__(self, plan: Plan, game: Game, remote: Remote, roots: list[str]) -> None:
        super().__init__()
        self.written = 0
        self._plan = plan
        self._game = game
        self._remote = remote
        self._random = plan.random("writer")
        self._splitter = Splitter(plan, remote, roots)

    def write_last(self) -> None:
        """One more record for every open shard: the shard is drained once it is committed."""
        if not self._plan.disabled:
            for shard in self._splitter.open:
                self._append(shard, f"last-{self._random.randrange(_HOT_PLAYERS)}")

    def run(self) -> None:
        batches = -(-self._plan.records // _BATCH)
        timer = _Timer(self.stop, self._plan.seconds * _WRITTEN_BY / batches)
        while self.written < self._plan.records and timer.wait():
            self._splitter.split_due(self.written)
            self._write_batch(min(_BATCH, self._plan.records - self.written))
        self._splitter.split_due(self._plan.records)
        if self._plan.disabled:
            self._remote.disable()

    def _write_batch(self, records: int) -> None:
        direct = min(records, self._random.randint(0, 2))
        self._game.play(records - direct, self._plan.players, self._plan.poison)
        for _ in range(direct):
            shard = self._random.choice(self._splitter.open)
            event = self._random.choices(("INSERT", "MODIFY", "REMOVE"), (80, 12, 8))[0]
            hot, shared = self._random.randrange(_HOT_PLAYERS), self._random.randrange(_SHARED_PLAYERS)
            self._append(shard, f"hot-{hot}" if self._random.random() < 0.5 else f"shared-{shared}", event)
        self.written += records

    def _append(self, shard: str, player: str, event: str = "INSERT") -> None:
        item: dict[str, Any] = self._game.make(player)
        self._remote.append({shard: [item]}, event=event)
        if event == "INSERT":
            self._game.expected.count(item)


class Splitter:
    """Splits in two or three and roll-overs, some shortly after one another; listings show the children late."""

    def __init__(self, plan: Plan, remote: Remote, roots: list[str]) -> None:
        self.open = list(roots)
        self._random = plan.random("growth")
        self._hides = Fault.HIDE not in plan.without
        self._time_scale = plan.time_scale
        self._remote = remote
        children: list[int] = []
        while len(roots) + sum(children) < plan.shards:
            children.append(self._random.choices((2, 1, 3), plan.splits)[0])
        due = sorted(self._random.uniform(0, _SPLIT_UNTIL * plan.records) for _ in children)
        self._due = list(zip(due, children, strict=True))

    def split_due(self, written: int) -> None:
        """Makes all splits that are due after so many records."""
        while self._due and self._due[0][0] <= written:
            _, number = self._due.pop(0)
            parent = self.open.pop(self._random.randrange(len(self.open)))
            children = self._remote.split(parent, number)
            self.open += children
            self._hide(parent, children)

    def _hide(self, parent: str, children: list[str]) -> None:
        """Listings are late: they show a child without its sibling, or its parent as open."""
        for child in children:
            seconds = self._time_scale * self._random.uniform(*_HIDDEN_SECONDS)
            if self._random.random() < 0.3 and self._hides:
                self._remote.hide([child], seconds)
        if self._random.random() < 0.3:
            self._remote.show_open([parent], self._time_scale * self._random.uniform(*_SHOWN_OPEN_SECONDS))


class _Timer:
    """Lets one step through every so many seconds; after late steps the next ones come sooner."""

    def __init__(self, stop: threading.Event, seconds: float) -> None:
        self._stop = stop
        self._seconds = seconds
        self._due = time.monotonic()

    def wait(self) -> bool:
        """Waits until the next step is due; False when it is to stop."""
        stopped = self._stop.wait(max(0.0, self._due - time.monotonic()))
        self._due += self._seconds
        return not stopped

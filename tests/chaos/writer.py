"""Writes the game while there is trouble; its own calls meet none."""

import threading
import time
from typing import Any

from tests.background import Background
from tests.chaos.growth import Growth
from tests.chaos.plan import Plan
from tests.processes import Game
from tests.streams_server import Remote

_BATCH = 25
_UNTIL = 0.95
"""Part of the seconds by which all is written, if the machine keeps up."""
_HOT_PLAYERS = 3


class Writer(Background):
    """Most records go through the source table. Some go right into a shard: those of players who play in every shard,
    as where the source is keyed by match, and changes and removals, which do not count."""

    def __init__(self, plan: Plan, game: Game, remote: Remote, roots: list[str]) -> None:
        super().__init__()
        self.written = 0
        self._plan = plan
        self._game = game
        self._remote = remote
        self._random = plan.random("writer")
        self._growth = Growth(plan, remote, roots)

    def write_last(self) -> None:
        """A record more for every open shard: it is drained once this one is committed."""
        if not self._plan.disabled:
            for shard in self._growth.open:
                self._append(shard, f"last-{self._random.randrange(_HOT_PLAYERS)}")

    def run(self) -> None:
        batches = -(-self._plan.records // _BATCH)
        pause = self._plan.seconds * _UNTIL / batches
        pace = _Pace(self.stop, pause)
        while self.written < self._plan.records and pace.keep():
            self._growth.grow(self.written)
            self._write_batch(min(_BATCH, self._plan.records - self.written))
        self._growth.grow(self._plan.records)
        if self._plan.disabled:
            self._remote.disable()

    def _write_batch(self, records: int) -> None:
        odd = min(records, self._random.randint(0, 2))
        self._game.play(records - odd, self._plan.players, self._plan.poison)
        for _ in range(odd):
            shard = self._random.choice(self._growth.open)
            event = self._random.choices(("INSERT", "MODIFY", "REMOVE"), (80, 12, 8))[0]
            self._append(shard, f"hot-{self._random.randrange(_HOT_PLAYERS)}", event)
        self.written += records

    def _append(self, shard: str, player: str, event: str = "INSERT") -> None:
        item: dict[str, Any] = self._game.make(player)
        self._remote.append({shard: [item]}, event=event)
        if event == "INSERT":
            self._game.tally.count(item)


class _Pace:
    """A step every so many seconds, and later ones sooner when some were late."""

    def __init__(self, stop: threading.Event, seconds: float) -> None:
        self._stop = stop
        self._seconds = seconds
        self._due = time.monotonic()

    def keep(self) -> bool:
        """Waits until the next step is due; False when it is to stop."""
        stopped = self._stop.wait(max(0.0, self._due - time.monotonic()))
        self._due += self._seconds
        return not stopped

"""Games that keep coming: a record for each of some shards, again and again."""

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tests.background import Background
from tests.measure.stage import Stage, number_of, shard_of
from tests.streams_server import Transaction
from tests.streams_server.shard import Item
from tests.streams_server.tree import ShardName


class Written(NamedTuple):
    """A record of the stream; `at` in unix seconds, from just before it was written."""

    at: float
    shard_id: str
    number: int


class Writer(Background):
    """Use it in a `with`: it writes until the end, and the tally counts along.

    `player` None: each shard has a player of its own, so that no two units touch the same row.
    """

    def __init__(
        self, stage: Stage, shards: Sequence[str], interval_seconds: float = 0.1, player: str | None = None
    ) -> None:
        super().__init__()
        self.written: list[Written] = []
        self._stage = stage
        self._shards = shards
        self._interval_seconds = interval_seconds
        self._player = player

    def __exit__(self, *left: object) -> None:
        super().__exit__(*left)
        if self.failure is not None:
            raise self.failure

    def run(self) -> None:
        while not self.stop.wait(self._interval_seconds):
            self.written += write(self._stage, self._shards, self._player)


def write(stage: Stage, shards: Iterable[str], player: str | None = None) -> list[Written]:
    """A game into each shard, counted in the tally."""
    game = stage.game
    images: dict[ShardName, list[Item]] = {shard: [game.make(player or f"player-of-{shard}")] for shard in shards}
    at = time.time()
    numbers = stage.remote.append(images)
    for (item,) in images.values():
        game.tally.count(item)
    return [Written(at, shard, int(number)) for shard, told in numbers.items() for number in told]


def waits(written: Iterable[Written], commits: Iterable[Transaction], until: float) -> dict[Written, float]:
    """For how long each record waited for the commit that covers it; one that is not committed waits until then.

    Give the commits from the first one on and in their order.
    """
    moves: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for commit in commits:
        moves[shard_of(commit)].append((commit.at, number_of(commit)))
    waited: dict[Written, float] = {}
    place: dict[str, int] = defaultdict(int)
    for record in sorted(written, key=lambda each: each.number):
        of, at = moves[record.shard_id], place[record.shard_id]
        while at < len(of) and of[at][1] < record.number:
            at += 1
        place[record.shard_id] = at
        waited[record] = (of[at][0] if at < len(of) else until) - record.at
    return waited

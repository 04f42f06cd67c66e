"""How long a shard's children wait: from its end to their first commits, while records flow into them."""

import time
from collections.abc import Iterator, Sequence

from consumer.domain.position import SHARD_END
from tests.measure.figure import Figure, worst
from tests.measure.stage import Stage, shard_of
from tests.measure.writer import Writer, write
from tests.processes import until
from tests.streams_server import shard_id

_ROUNDS = 12
_WRITE_SECONDS = 0.05
_LONGEST_SECONDS = 30.0


def lineage(engine_url: str) -> Iterator[Figure]:
    """Shards of one worker are split in two, one after the other."""
    from_split: list[float] = []
    from_row: list[float] = []
    with Stage(engine_url, _ROUNDS) as stage:
        stage.start()
        shards = [shard_id(number) for number in range(_ROUNDS)]
        write(stage, shards)
        _firsts(stage, shards)
        for shard in shards:
            at = time.time()
            children = stage.remote.split(shard)
            write(stage, children)
            with Writer(stage, children, _WRITE_SECONDS):
                firsts = _firsts(stage, children)
            from_split += [firsts[child] - at for child in children]
            from_row += [firsts[child] - _ended_at(stage, shard) for child in children]
    yield worst("shard end to a child's first commit", from_split, 0.5)
    yield worst("parent's SHARD_END row to a child's first commit", from_row)


def _firsts(stage: Stage, shards: Sequence[str]) -> dict[str, float]:
    """When each of these shards was first committed, once all were (unix seconds)."""

    def found() -> dict[str, float] | None:
        firsts: dict[str, float] = {}
        for commit in stage.commits():
            firsts.setdefault(shard_of(commit), commit.at)
        return firsts if firsts.keys() >= set(shards) else None

    firsts = until(found, "all of them commit", _LONGEST_SECONDS)
    assert firsts is not None
    return firsts


def _ended_at(stage: Stage, shard: str) -> float:
    return next(each.at for each in stage.commits() if shard_of(each) == shard and each.checkpoint == SHARD_END)

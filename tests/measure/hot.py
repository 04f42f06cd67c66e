"""One player in every shard: all commits want the same row, and each holds it for a while."""

import time
from collections.abc import Iterator
from contextlib import suppress

from tests.measure.figure import Figure, worst
from tests.measure.stage import Stage
from tests.measure.writer import Writer, waits
from tests.processes import differences, until
from tests.streams_server import shard_id
from tests.streams_server.drain import undrained

_SHARDS = 64
_HOLD_SECONDS = 0.02
_WRITE_EVERY_SECONDS = 0.5
_WRITE_SECONDS = 20.0
_DRAIN_SECONDS = 60.0


def hot(engine_url: str) -> Iterator[Figure]:
    """All on one worker."""
    shards = [shard_id(number) for number in range(_SHARDS)]
    with Stage(engine_url, _SHARDS) as stage:
        stage.remote.set_options(hold_seconds=_HOLD_SECONDS)
        stage.start()
        stage.wait_until_shared(1)
        began = time.monotonic()
        with Writer(stage, shards, _WRITE_EVERY_SECONDS, "everybody") as writer:
            time.sleep(_WRITE_SECONDS)
        stopped = time.monotonic()

        def left() -> list[str]:
            return undrained(stage.remote.shards(), stage.game.rows("lease"), stage.arn)

        with suppress(AssertionError):  # the figures tell
            until(lambda: not left(), "all is drained", _DRAIN_SECONDS)
        ended = time.monotonic()
        commits = stage.commits()
        waited = waits(writer.written, commits, time.time())
        wrong = len(differences(stage.game.board(), stage.game.tally.rows))
        conflicts = stage.remote.counts().conflicts
        yield worst("a record's wait for its commit", list(waited.values()), 5.0)
        yield Figure("shards not drained", len(left()), "shards", 0, f"{ended - stopped:.1f} s after the last record")
        yield Figure("players whose row is wrong", wrong, "players", 0)
        rate = len(waited) / (ended - began)
        yield Figure("records a second", rate, "/s", note=f"{len(waited)} records, {len(commits)} commits")
        yield Figure("transactions refused as conflicts", conflicts)

"""A real worker process on the server: a small tree that splits while it is read."""

from dataclasses import replace

import pytest

from tests.streams_server import StreamsServer, assert_one_committer, shard_id
from tests.streams_server.remote import undrained
from tests.support.engines import TableEngine
from tests.support.processes import Game, until


@pytest.mark.timeout(90)
def test_a_splitting_tree_is_counted_exactly(engine: TableEngine) -> None:
    with StreamsServer(engine.url) as server, Game(replace(engine, url=server.url)) as game:
        remote = server.remote
        (arn,) = remote.streams()
        game.play(400, 60, poison=0.02)
        remote.split(0)
        game.play(400, 60, poison=0.02)
        worker = game.worker()
        worker.wait_for_event("unit.committed")
        remote.split(1)
        game.play(200, 60)
        remote.split(2, 1)
        game.play(200, 60)
        remote.split(5)
        game.play(200, 60, poison=0.02)

        until(lambda: not undrained(remote.shards(), game.rows("lease"), arn), "everything is drained", 40)
        assert worker.terminate().code == 0
        assert [shard.parent for shard in remote.shards()] == [
            None if parent is None else shard_id(parent) for parent in (None, 0, 0, 1, 1, 2, 5, 5)
        ]
        game.assert_exact()
        moves = assert_one_committer(remote.transactions())
        counts = remote.counts()
        print(
            f"{engine.name}: {moves} moves of checkpoints; {counts.calls}; writes {counts.writes[game.tables['lease']]}"
        )
        assert moves >= 8

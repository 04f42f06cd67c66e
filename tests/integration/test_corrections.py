"""A worker that applies corrections: edits, removals, items in two steps and broken ones, to the last digit."""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

import pytest

from tests.integration.test_verify import verify
from tests.streams_server import Remote, StreamsServer
from tests.streams_server.remote import undrained
from tests.support.engines import TableEngine
from tests.support.processes import Row, until
from tests.support.processes.items import Items

pytestmark = pytest.mark.timeout(90)
KEYED = pytest.mark.parametrize("keyed", [True, False], ids=["keyed", "by match"])


@pytest.fixture
def server(engine: TableEngine) -> Iterator[StreamsServer]:
    with StreamsServer(engine.url) as server:
        yield server


def settle(game: Items, remote: Remote) -> None:
    """Until all that was written has been dealt with."""
    game.flush()
    until(lambda: not undrained(remote.shards(), game.rows("lease"), game.stream_arn), "everything is drained", 30)


@KEYED
def test_the_board_follows_the_items(engine: TableEngine, server: StreamsServer, *, keyed: bool) -> None:
    """Each step ends with a board that is compared; in between the shard splits, so that children correct."""
    remote = server.remote
    with Items(replace(engine, url=server.url), keyed=keyed) as game:
        worker = game.worker()
        for number, match in enumerate(("edited", "removed", "broken", "broken-removed", "mended", "expires"), 1):
            game.write(match, "ada", str(number))
        game.write("two-steps", "ada", None)
        game.write("never-good", "bob", None)
        settle(game, remote)
        game.assert_exact()
        assert game.right()["ada"] == Row(6, Decimal(21), "2026-01-01")

        remote.split(0)
        game.write("edited", "ada", "100", day=20)
        game.remove("removed")
        game.write("two-steps", "ada", "0.5")
        for match in ("broken", "broken-removed", "mended"):
            game.write(match, "ada", None)
        settle(game, remote)
        game.assert_exact()
        assert game.right()["ada"] == Row(6, Decimal("118.5"), "2026-01-21")

        game.remove("broken-removed")
        game.write("mended", "ada", "-7.25")
        game.write("broken", "ada", None, day=5)  # broken in another way: its index row moves on
        game.remove("never-good")
        if not keyed:
            game.write("edited", "cleo", "100", day=20)
        settle(game, remote)
        game.assert_exact()
        assert game.board().keys() == ({"ada"} if keyed else {"ada", "cleo"})

        game.remove("edited")
        settle(game, remote)
        remote.set_options(deletes_expire=True)
        game.remove("expires", expires=True)
        game.remove("broken", expires=True)
        settle(game, remote)
        game.assert_exact()
        assert worker.terminate().code == 0
        assert game.right()["ada"] == Row(4, Decimal("2.25"), "2026-01-21")


@KEYED
def test_many_changes_at_once_are_folded_exactly(engine: TableEngine, *, keyed: bool) -> None:
    """Units hold many records of few items. Then the whole of it is proven by the command."""
    with Items(engine, 27, keyed=keyed) as game:
        game.change(400, 40, 8)
        game.worker()
        game.change(200, 40, 8)
        game.wait_until_consumed()
        game.assert_exact()
        code, found = verify(game)
        assert (code, found["verdict"], found["notProven"]) == (0, "equal", []), found
        assert game.happened.keys() == {
            "inserted",
            "inserted, broken",
            "edited",
            "edited, broken",
            "mended",
            "mended, broken",
            "removed",
            "removed while broken",
        }

"""Two installations in one lease table: a second source table is refused before anything is written."""

from collections.abc import Iterator

import pytest

from tests.support.engines import TableEngine
from tests.support.processes import Game, consumer, until


@pytest.fixture
def counted(engine: TableEngine) -> Iterator[Game]:
    """A game that a worker has counted; the worker has ended."""
    with Game(engine) as game:
        game.play(50, 5)
        worker = game.worker()
        game.wait_until_consumed()
        assert worker.terminate().code == 0
        yield game


@pytest.mark.parametrize("shared", [("lease", "leaderboard", "quarantine"), ("lease",)], ids=["all tables", "lease"])
def test_a_second_source_with_the_same_lease_table_is_refused(counted: Game, shared: tuple[str, ...]) -> None:
    with Game(counted.engine) as second:
        second.tables |= {table: counted.tables[table] for table in shared}
        second.play(20, 5)
        before = [counted.rows(table) for table in ("lease", "leaderboard", "quarantine")]
        ended = second.worker().wait()
        assert ended.code == 4, ended.stderr
        needed = (counted.tables["source"], second.tables["source"], "CONSUMER_SOURCE_TABLE", "CONSUMER_LEASE_TABLE")
        assert [part for part in needed if part not in ended.stderr] == []
        assert "Traceback" not in ended.stderr
        assert [counted.rows(table) for table in ("lease", "leaderboard", "quarantine")] == before
        shown = consumer("status", environment=second.environment())
        assert shown.returncode == 4
        assert counted.tables["source"] in shown.stderr
    counted.play(20, 5)
    worker = counted.worker()
    counted.wait_until_consumed()
    assert worker.terminate().code == 0
    counted.assert_exact()


def test_a_table_that_was_deleted_and_made_again_under_its_name_is_the_same_source(counted: Game) -> None:
    source = counted.tables["source"]
    description = counted.client.describe_table(TableName=source)["Table"]
    counted.client.delete_table(TableName=source)
    counted.client.create_table(
        TableName=source,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=description["KeySchema"],
        AttributeDefinitions=description["AttributeDefinitions"],
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
    )
    counted.play(20, 5)
    worker = counted.worker()
    until(lambda: sum(row.games for row in counted.board().values()) == counted.expected.games, "the new table is read")
    assert worker.terminate().code == 0
    counted.assert_exact()

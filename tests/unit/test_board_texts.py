"""The texts of a write with windows: within DynamoDB's limits, whatever the row has."""

from decimal import Decimal
from typing import Any

import pytest

from consumer.aws.board import row_update
from consumer.aws.statements import Statements
from consumer.domain.fold import MOST_WINDOWS, Delta, WindowSum
from consumer.domain.marks import Mark, Route, RowWrite
from tests.support.canned import make_client

MOST_EXPRESSION_BYTES = 4_096
MOST_STATEMENT_CHARACTERS = 8_192
"""Source: Developer Guide, "Quotas", expression parameters and PartiQL."""
NAMES = tuple(f"month_{2000 + number // 12}{number % 12 + 1:02}" for number in range(2 * MOST_WINDOWS))
ADDED, DROPPED = NAMES[:MOST_WINDOWS], NAMES[MOST_WINDOWS:]
FOUND, MARK = Mark("label/shard", "5", 1.0), Mark("label/shard", "9", 2.0)


def write(*sums: tuple[int, str], drops: tuple[str, ...] = (), had: frozenset[str] | None = None) -> RowWrite:
    windows = tuple(WindowSum(name, games, Decimal(total)) for name, (games, total) in zip(ADDED, sums, strict=False))
    delta = Delta(2, Decimal("7.5"), "2026-01-31", windows)
    return RowWrite("foo", delta, Route.FOLLOW, FOUND, MARK, drops=drops, had=had)


def test_an_update_of_the_most_windows_fits_an_expression() -> None:
    days = tuple(name.replace("month_20", "day_2026") for name in NAMES)
    most = write(*[(1, str(number)) for number in range(MOST_WINDOWS)], drops=days[MOST_WINDOWS:])
    windows = tuple(each._replace(window=day) for each, day in zip(most.delta.windows, days, strict=False))
    update = row_update("board", most._replace(delta=most.delta._replace(windows=windows)))
    assert len(update["UpdateExpression"].encode()) <= MOST_EXPRESSION_BYTES


@pytest.mark.parametrize("had", [frozenset[str](), frozenset(ADDED)])
def test_a_statement_of_the_most_windows_fits_too(had: frozenset[str]) -> None:
    sent: list[Any] = []

    class Client:
        meta = make_client("dynamodb").meta

        def batch_execute_statement(self, **request: Any) -> None:
            sent.append(request)
            raise ValueError

    statements = Statements(Client(), "x" * 255)
    statements.usable = statements.windows_usable = True
    most = write(*[(1, str(number)) for number in range(MOST_WINDOWS)], drops=DROPPED, had=had)
    with pytest.raises(Exception, match=r"."):
        statements.write([most, most._replace(player="bar")])
    assert len(sent[0]["Statements"][0]["Statement"]) <= MOST_STATEMENT_CHARACTERS


def test_windows_with_the_sum_of_all_time_share_its_values() -> None:
    total = Decimal("7.5")
    same = (WindowSum("day_20260131", 2, total), WindowSum("month_202601", 2, total))
    update = row_update("board", RowWrite("foo", Delta(2, total, "2026-01-31", same)))
    assert update["UpdateExpression"] == (
        "ADD gamesPlayed :games, totalScore :total, day_20260131_games :games, day_20260131_score :total, "
        "month_202601_games :games, month_202601_score :total SET lastPlayedDate = :date"
    )
    assert update["ExpressionAttributeValues"].keys() == {":games", ":total", ":date"}


def test_windows_with_sums_of_their_own_have_values_of_their_own() -> None:
    sums = (WindowSum("day_20260131", 1, Decimal(5)), WindowSum("month_202601", 2, Decimal("7.5")))
    update = row_update("board", RowWrite("foo", Delta(2, Decimal("7.5"), "2026-01-31", sums)))
    values = update["ExpressionAttributeValues"]
    assert (values[":games0"], values[":total0"]) == ({"N": "1"}, {"N": "5"})
    assert "day_20260131_games :games0, day_20260131_score :total0" in update["UpdateExpression"]

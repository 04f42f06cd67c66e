from decimal import Decimal
from typing import Any

import pytest

from consumer.aws.commits import size_of, verdict_on
from consumer.aws.items import is_date
from consumer.domain.records import Reason

GOOD = {
    "playerId": {"S": "foo"},
    "gamesPlayed": {"N": "2"},
    "totalScore": {"N": "370"},
    "lastPlayedDate": {"S": "2026-01-31"},
}


@pytest.mark.parametrize(
    ("stored", "score", "reason"),
    [
        ({}, "150", None),
        (GOOD, "150", None),
        ({"playerId": {"S": "foo"}}, "150", None),
        (GOOD | {"totalScore": {"S": "370"}}, "150", Reason.TOTAL_TYPE),
        (GOOD | {"totalScore": {"NULL": True}}, "150", Reason.TOTAL_TYPE),
        (GOOD | {"gamesPlayed": {"S": "2"}}, "150", Reason.TOTAL_TYPE),
        (GOOD | {"lastPlayedDate": {"N": "20260131"}}, "150", Reason.DATE_TYPE),
        (GOOD | {"lastPlayedDate": {"S": "2026-02-30"}}, "150", Reason.DATE_TYPE),
        (GOOD | {"lastPlayedDate": {"S": ""}}, "150", Reason.DATE_TYPE),
        (GOOD | {"totalScore": {"N": "9" * 38}}, "2", Reason.TOTAL_OVERFLOW),
        (GOOD | {"totalScore": {"N": "9" * 38}}, "1", None),
        (GOOD | {"totalScore": {"N": "9" * 38}}, "-2", None),
        (GOOD | {"totalScore": {"N": "1E125"}}, "9E125", Reason.TOTAL_OVERFLOW),
        (GOOD | {"totalScore": {"N": "1E125"}}, "1", Reason.TOTAL_OVERFLOW),
        (GOOD | {"totalScore": {"N": "1"}}, "1E-130", Reason.TOTAL_OVERFLOW),
    ],
)
def test_why_a_game_can_never_be_applied(stored: dict[str, Any], score: str, reason: Reason | None) -> None:
    verdict = verdict_on(stored, Decimal(score))
    assert (verdict[0] if verdict else None) is reason
    assert verdict is None or verdict[1]


def test_a_row_that_is_full() -> None:
    """Of foreign attributes: the table takes other players' games."""
    names = ("a", "list", "map", "set", "yes", "number", "binary")
    item = {
        "a": {"S": "x" * 400_000}, "list": {"L": [{"S": "é"}, {"NULL": True}]}, "map": {"M": {"k": {"N": "-12.5"}}},
        "set": {"NS": ["1", "22"]}, "yes": {"BOOL": True}, "number": {"N": "123"}, "binary": {"B": b"xyz"},
    }  # fmt: skip
    values = 400_000 + (3 + 3 + 2) + (3 + 1 + 1 + 4) + (3 + 2 + 3) + 1 + 3 + 3
    assert size_of(item) == sum(map(len, names)) + values
    assert verdict_on(GOOD | {"a": {"S": "x" * 409_000}}, Decimal(1)) is None
    verdict = verdict_on(GOOD | {"a": {"S": "x" * 409_400}}, Decimal(1))
    assert verdict is not None
    assert verdict[0] is Reason.REFUSED


@pytest.mark.parametrize(
    ("text", "date"),
    [("2026-01-31", True), ("0001-01-01", True), ("9999-12-31", True), ("2026-02-30", False), ("2026-1-31", False),
     ("20260131", False), ("2026-W05-6", False), ("2026-01-31T00:00", False), ("", False), ("٢٠٢٦-01-31", False)],
)  # fmt: skip
def test_what_a_date_is(text: str, date: bool) -> None:
    assert is_date(text) is date

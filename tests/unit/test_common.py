"""What a worker's shards have in common: dates that are known to be stored, and the room for reading ahead."""

from decimal import Decimal

from consumer.domain.leaderboard import Delta
from consumer.worker import common
from consumer.worker.common import Allowance, Dates


def test_a_stored_date_that_is_later_is_known_until_many_others_have_come() -> None:
    dates = Dates()
    dates.learn({"foo": "2026-02-01"})
    dates.learn({"foo": "2026-01-01"})
    game = {"foo": Delta(1, Decimal(1), "2026-01-31")}
    assert dates.later(game) == {"foo"}
    dates.learn({f"p{number}": "2026-01-01" for number in range(common.KNOWN_DATES)})
    assert dates.later(game) == frozenset()


def test_the_room_for_reading_ahead_is_given_back() -> None:
    allowance = Allowance(100)
    allowance.take(100)
    assert allowance.spent
    allowance.take(-1)
    assert not allowance.spent

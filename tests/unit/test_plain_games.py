"""The short way through decode: what it says of a record is what the long one says, or nothing."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from consumer.domain.records import Game, Rules, _game_or_poison, _plain_game
from tests.builders import CREATED, wire

PLAYERS = st.text(max_size=5) | st.sampled_from(["x" * 2048, "x" * 2049, "é", "\ud800", 7, ["a"], {"N": "1"}, {}])
SCORES = st.decimals().map(str) | st.sampled_from(
    ["1_0", " 1", "+1", "1e125", "1e126", "9" * 39, "NaN", "", "x", 7, 1.5, True, [0, [1], 0], {"S": "1"}]
)
MOMENTS = st.datetimes().map(lambda moment: moment.isoformat()) | st.sampled_from(
    [
        "2026-01-31",
        "2026-02-01T11:59:00Z",
        "2026-02-02",
        "2026-02-30",
        "2026-01-31T24:00Z",
        "2026-01-31T11:59:60Z",
        "2026-01-31 11:59+00:00",
        "2026-01-31T23:59:59-01:00",
        "2026-01-31T00:00:00.000+01:00",
        "0000-01-01",
        "0001-01-01T00:00+14:00",
        "2026-01-31T11:59:00Z\n",
        "٢٠٢٦-01-31",
        7,
        ["2026-01-31"],
    ]
)
CREATIONS = st.sampled_from([CREATED, CREATED - 86_400, 0.0, 1e12])


@given(PLAYERS, SCORES, MOMENTS, CREATIONS)
@example("foo", "1_0", "2026-01-31T11:59:00Z", CREATED)
@example("foo", "NaN", "2026-01-31T11:59:00Z", CREATED)
@example("x" * 2049, "1", "2026-01-31T11:59:00Z", CREATED)
@example("", "1", "2026-01-31T11:59:00Z", CREATED)
@example("foo", "1", "2026-02-02T11:59:00Z", CREATED)
@example("foo", {"N": [0, [1], 0]}, "2026-01-31T11:59:00Z", CREATED)
def test_both_ways_say_the_same(player: object, score: object, moment: object, created: float) -> None:
    record = wire(player=player, score=score, timestamp=moment)
    plain = _plain_game(record, created, Rules(), {})
    assert plain is None or plain == _game_or_poison(record, created, Rules(), {})


@pytest.mark.parametrize("moment", ["2026-01-31", "2026-01-31T11:59:00.123Z", "2026-01-31 11:59+00:00"])
def test_nearly_all_games_take_the_short_way(moment: str) -> None:
    assert isinstance(_plain_game(wire(timestamp=moment), CREATED, Rules(), {}), Game)


@pytest.mark.parametrize("image", [None, [], "x", {"playerId": {"S": "foo"}}])
def test_half_a_record_takes_the_long_way(image: Any) -> None:
    record = wire()
    record["dynamodb"]["NewImage"] = image
    assert _plain_game(record, CREATED, Rules(), {}) is None

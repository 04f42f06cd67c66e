"""What a field was meant to be, where its value says so; what can be read in two ways, or in none, stays poison."""

from typing import Any

import pytest

from consumer.domain.conversions import Unconvertible, score, timestamp
from consumer.domain.quarantine import decode_again
from consumer.domain.records import Game, Poison, Rules
from tests.support.builders import CREATED, wire

LATEST = CREATED + 86_400


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("12", "12"),
        (" 2.50 ", "2.50"),
        ("-0.5", "-0.5"),
        ("+7", "+7"),
        ("1e3", "1e3"),
        (".5", ".5"),
        ("5.", "5."),
        ("007", "007"),
    ],
)
def test_a_string_of_a_number_is_that_number(text: str, meant: str) -> None:
    assert score({"S": text}, LATEST) == meant


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ({"S": "1,234"}, "'1,234' can be read in more than one way"),
        ({"S": "1_234"}, "can be read in more than one way"),
        ({"S": "1 234"}, "can be read in more than one way"),
        ({"S": "many"}, "'many' is no number"),
        ({"S": ""}, "'' is no number"),
        ({"S": "NaN"}, "is no number"),
        ({"S": "Infinity"}, "is no number"),
        ({"S": "0x10"}, "is no number"),
        ({"S": "١٢"}, "is no number"),
        ({"S": "12 points"}, "is no number"),
        ({"BOOL": True}, "only a string can be converted"),
        ({"NS": ["12"]}, "only a string can be converted"),
        (None, "only a string can be converted"),
        ("12", "only a string can be converted"),
    ],
)
def test_other_scores_are_never_guessed(value: object, why: str) -> None:
    with pytest.raises(Unconvertible, match=why):
        score(value, LATEST)


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        ({"N": "1769860800"}, "2026-01-31T12:00:00Z"),
        ({"S": "1769860800"}, "2026-01-31T12:00:00Z"),
        ({"N": "1769860800000"}, "2026-01-31T12:00:00Z"),
        ({"N": "1769860800123"}, "2026-01-31T12:00:00.123000Z"),
        ({"N": "1769860800.5"}, "2026-01-31T12:00:00.500000Z"),
        ({"N": "20260131"}, "2026-01-31T00:00:00Z"),
        ({"S": "20260131T201500+0100"}, "2026-01-31T19:15:00Z"),
        ({"S": " 2026-01-31T20:15:00Z "}, "2026-01-31T20:15:00Z"),
        ({"S": "2026-01-31t20:15:00z"}, "2026-01-31T20:15:00Z"),
        ({"S": "2026-W05-6"}, "2026-01-31T00:00:00Z"),
    ],
)
def test_a_time_in_another_form_is_that_time(value: object, meant: str) -> None:
    assert timestamp(value, LATEST) == meant


@pytest.mark.parametrize(
    "value",
    [
        {"S": "01/02/2026"},
        {"S": "yesterday"},
        {"N": "-5"},
        {"N": "12"},
        {"N": "1769860800000000"},
        {"N": "9" * 400},
        {"S": "1999-12-31"},
        {"S": "2026-02-30"},
        {"N": str(int(LATEST) + 1)},
        {"BOOL": True},
        None,
    ],
)
def test_other_timestamps_are_never_guessed(value: object) -> None:
    with pytest.raises(Unconvertible, match=r"no time between 2000 and|only a number or a string"):
        timestamp(value, LATEST)


def again(image: dict[str, Any], *converts: str, **repairs: str) -> tuple[object, dict[str, str]]:
    return decode_again(wire(1, **image), repairs, Rules(), only_wrong=True, converts=converts)


def test_only_what_is_wrong_is_converted() -> None:
    entry, used = again({"score": {"S": "2.5"}}, "score", "timestamp")
    assert isinstance(entry, Game)
    assert (str(entry.score), used) == ("2.5", {"score": "2.5"})
    entry, used = again({"score": {"S": "2.5"}, "timestamp": {"N": "1769860800"}}, "score", "timestamp")
    assert isinstance(entry, Game)
    assert used == {"score": "2.5", "timestamp": "2026-01-31T12:00:00Z"}
    entry, used = again({"score": {"S": "2.5"}, "timestamp": {"N": "1769860800"}}, "score", timestamp="2026-01-30")
    assert isinstance(entry, Game)
    assert (used["timestamp"], entry.date) == ("2026-01-30", "2026-01-30")


@pytest.mark.parametrize("text", ["many", "1" * 39, "1e999"])
def test_what_says_nothing_stays_poison_and_says_why(text: str) -> None:
    entry, _ = again({"score": {"S": text}}, "score")
    assert isinstance(entry, Poison)
    assert "not a number that DynamoDB can hold" in entry.detail or "'many' is no number" in entry.detail


def test_a_field_that_is_missing_cannot_be_converted() -> None:
    entry, used = again({"score": None}, "score")
    assert isinstance(entry, Poison)
    assert used == {}
    assert "only a string can be converted to a score" in entry.detail

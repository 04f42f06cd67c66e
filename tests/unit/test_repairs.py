"""What a person sets in a record before it is decoded again, and what can never be right."""

import pytest

from consumer.domain.errors import UsageFault
from consumer.domain.records import Game, Poison, Reason, Rules
from consumer.domain.repairs import decode_again, parse_repairs, repaired
from tests.builders import wire

RULES = Rules()


@pytest.mark.parametrize(
    ("texts", "repairs"),
    [
        ([], {}),
        (["score=12"], {"score": "12"}),
        (
            ["player=a=b", "timestamp=2026-01-31T10:00:00+02:00"],
            {"player": "a=b", "timestamp": "2026-01-31T10:00:00+02:00"},
        ),
        (["score=-0.5", "player= "], {"score": "-0.5", "player": " "}),
    ],
)
def test_fields_and_values(texts: list[str], repairs: dict[str, str]) -> None:
    assert parse_repairs(texts) == repairs


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("score", "it must be player=..., score=... or timestamp=..."),
        ("level=3", "it must be player=..., score=... or timestamp=..."),
        ("score=", "no number that DynamoDB can hold"),
        ("score=many", "no number that DynamoDB can hold"),
        ("score=NaN", "no number that DynamoDB can hold"),
        ("score=1e126", "no number that DynamoDB can hold"),
        ("player=", "player is empty"),
        ("player=" + "x" * 2049, "has 2049 bytes"),
        ("timestamp=yesterday", "YYYY-MM-DD"),
        ("timestamp=2026-02-30", "no moment of the years"),
    ],
)
def test_what_can_never_be_right(text: str, words: str) -> None:
    with pytest.raises(UsageFault) as fault:
        parse_repairs([text])
    assert str(fault.value).startswith(f"--set {text}: ")
    assert words in str(fault.value)


def test_all_faults_at_once() -> None:
    with pytest.raises(UsageFault) as fault:
        parse_repairs(["score=1", "score=2", "x=1"])
    assert str(fault.value).splitlines() == [
        "--set score=2: score is set twice",
        "--set x=1: it must be player=..., score=... or timestamp=...",
    ]


def test_the_record_itself_stays_as_it_came() -> None:
    came = wire(1, score={"S": "12"})
    changed = repaired(came, {"score": "12", "player": "bar"}, RULES)
    assert came == wire(1, score={"S": "12"})
    assert changed == wire(1, score="12", player="bar")


def test_attributes_by_their_names_of_now() -> None:
    rules = Rules("who", "points", "when")
    entry, used = decode_again(
        wire(1, image={"who": {"S": "foo"}, "when": {"S": "2026-01-31"}}), {"score": "7"}, rules, only_wrong=True
    )
    assert isinstance(entry, Game)
    assert (entry.player, f"{entry.score}", used) == ("foo", "7", {"score": "7"})


def test_of_many_only_what_is_wrong_is_set() -> None:
    repairs = {"score": "12", "player": "bar"}
    entry, used = decode_again(wire(1, score={"S": "5"}), repairs, RULES, only_wrong=True)
    assert isinstance(entry, Game)
    assert (entry.player, f"{entry.score}", used) == ("foo", "12", {"score": "12"})
    entry, used = decode_again(wire(1, timestamp="yesterday", score="150"), repairs, RULES, only_wrong=True)
    assert isinstance(entry, Poison)
    assert (entry.reason, used) == (Reason.TIMESTAMP_INVALID, {})


def test_of_one_all_is_set() -> None:
    entry, used = decode_again(wire(1), {"score": "12", "player": "bar"}, RULES, only_wrong=False)
    assert isinstance(entry, Game)
    assert (entry.player, f"{entry.score}", used) == ("bar", "12", {"score": "12", "player": "bar"})


def test_more_than_one_field_is_wrong() -> None:
    bad = wire(1, player=None, score=None, timestamp="yesterday")
    entry, used = decode_again(bad, {"score": "1", "player": "a", "timestamp": "2026-01-01"}, RULES, only_wrong=True)
    assert isinstance(entry, Game)
    assert set(used) == {"score", "player", "timestamp"}


def test_without_an_image_nothing_can_be_set() -> None:
    bare = wire(1)
    del bare["dynamodb"]["NewImage"]
    entry, _ = decode_again(bare, {"score": "1"}, RULES, only_wrong=False)
    assert isinstance(entry, Poison)
    assert entry.reason is Reason.IMAGE_MISSING

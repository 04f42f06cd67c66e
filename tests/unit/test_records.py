from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.domain.records import SETTINGS, Entry, Game, Ignored, Outcome, Poison, Reason, Rules, decode, unpack
from consumer.settings import variable
from tests.support.builders import CREATED, sequence_number, wire

RULES = Rules()


def refused(record: dict[str, Any], rules: Rules = RULES) -> Poison:
    entry = decode(record, rules, None)
    assert isinstance(entry, Poison), entry
    assert unpack(entry.parts) == record, "the whole record is kept"
    assert entry.sequence_number == record["dynamodb"]["SequenceNumber"]
    return entry


def test_a_game() -> None:
    record = wire(5, player="bar", score="1.50", timestamp="2026-01-30T23:30:00-02:00")
    assert decode(record, RULES, None) == Game(
        sequence_number(5), CREATED, "bar", Decimal("1.50"), "2026-01-31", record
    )


POISON: list[tuple[Reason, dict[str, object]]] = [
    (Reason.PLAYER_MISSING, {"player": None}),
    (Reason.PLAYER_EMPTY, {"player": ""}),
    (Reason.PLAYER_TYPE, {"player": {"N": "7"}}),
    (Reason.PLAYER_TYPE, {"player": {"NULL": True}}),
    (Reason.PLAYER_TYPE, {"player": {"S": None}}),
    (Reason.PLAYER_TYPE, {"player": ["foo"]}),
    (Reason.PLAYER_TYPE, {"player": 7}),
    (Reason.PLAYER_TYPE, {"player": {}}),
    (Reason.PLAYER_TYPE, {"player": "half a \ud83d pair"}),
    (Reason.PLAYER_TOO_LONG, {"player": "x" * 2049}),
    (Reason.PLAYER_TOO_LONG, {"player": "é" * 1024 + "x"}),
    (Reason.PLAYER_TOO_LONG, {"player": "🎲" * 512 + "x"}),
    (Reason.SCORE_MISSING, {"score": None}),
    (Reason.SCORE_TYPE, {"score": {"S": "150"}}),
    (Reason.SCORE_TYPE, {"score": {"BOOL": True}}),
    (Reason.SCORE_TYPE, {"score": {"NULL": True}}),
    (Reason.SCORE_TYPE, {"score": {"N": 150}}),
    (Reason.SCORE_TYPE, {"score": ""}),
    (Reason.SCORE_TYPE, {"score": "ten"}),
    (Reason.SCORE_TYPE, {"score": "1_000"}),
    (Reason.SCORE_TYPE, {"score": "NaN"}),
    (Reason.SCORE_TYPE, {"score": "sNaN"}),
    (Reason.SCORE_TYPE, {"score": "Infinity"}),
    (Reason.SCORE_TYPE, {"score": "1" * 39}),
    (Reason.SCORE_TYPE, {"score": "1E126"}),
    (Reason.SCORE_TYPE, {"score": "1E-131"}),
    (Reason.TIMESTAMP_MISSING, {"timestamp": None}),
    (Reason.TIMESTAMP_TYPE, {"timestamp": {"N": "1769860800"}}),
    (Reason.TIMESTAMP_TYPE, {"timestamp": {"NULL": True}}),
    (Reason.TIMESTAMP_INVALID, {"timestamp": "yesterday"}),
    (Reason.TIMESTAMP_IN_FUTURE, {"timestamp": "2026-02-02T12:00:01Z"}),
    (Reason.REFUSED, {"event": "UPSERT"}),
    (Reason.REFUSED, {"event": None}),
    (Reason.REFUSED, {"event": {"INSERT": []}}),
]


@pytest.mark.parametrize(
    ("image", "reason", "detail"),
    [
        (
            {"player": {"S": "foo"}, "score": {"N": "1"}, "timestamp": {"S": "2026-01-31"}},
            Reason.PLAYER_MISSING,
            "the record has no playerId: it has player, score, timestamp (CONSUMER_PLAYER_ATTRIBUTE names it)",
        ),
        (
            {"playerId": {"S": "foo"}, "points": {"N": "1"}, "at": {"S": "2026-01-31"}},
            Reason.SCORE_MISSING,
            "the record has no score: it has at, playerId, points (CONSUMER_SCORE_ATTRIBUTE names it)",
        ),
        (
            {"playerId": {"S": "foo"}, "score": {"N": "1"}},
            Reason.TIMESTAMP_MISSING,
            "the record has no timestamp: it has playerId, score (CONSUMER_TIMESTAMP_ATTRIBUTE names it)",
        ),
        (
            {},
            Reason.PLAYER_MISSING,
            "the record has no playerId: it has no attribute (CONSUMER_PLAYER_ATTRIBUTE names it)",
        ),
    ],
)
def test_a_missing_attribute_names_those_that_are_there_and_the_setting(
    image: dict[str, object], reason: Reason, detail: str
) -> None:
    entry = decode(wire(image=image), Rules(), None)
    assert isinstance(entry, Poison)
    assert (entry.reason, entry.detail) == (reason, detail)


def test_a_detail_is_short_whatever_the_attributes_are() -> None:
    image = {f"attribute-{number}-{'x' * 60}": {"N": "1"} for number in range(500)}
    entry = decode(wire(image=image), Rules(), None)
    assert isinstance(entry, Poison)
    assert len(entry.detail) < 320


def test_the_settings_that_a_detail_names_are_settings() -> None:
    assert list(SETTINGS.values()) == [
        variable(name) for name in ("player_attribute", "score_attribute", "timestamp_attribute")
    ]


@pytest.mark.parametrize(("reason", "fields"), POISON)
def test_poison_has_its_reason(reason: Reason, fields: dict[str, Any]) -> None:
    entry = refused(wire(3, **fields))
    assert entry.reason is reason
    assert entry.detail
    assert len(entry.detail) < 250


@pytest.mark.parametrize("image", [None, [], "NewImage", 7])
def test_a_record_without_a_new_image(image: object) -> None:
    record = wire()
    record["dynamodb"]["NewImage"] = image
    assert refused(record).reason is Reason.IMAGE_MISSING
    assert refused(record).player is None


def test_a_poison_record_has_its_player_if_that_is_usable() -> None:
    assert refused(wire(player="foo", score=None)).player == "foo"
    assert refused(wire(player="foo", event="UPSERT")).player == "foo"
    assert refused(wire(player="", score=None)).player is None


@pytest.mark.parametrize("player", ["x" * 2048, "é" * 1024, "🎲" * 512, " ", "\x00", "#"])
def test_a_key_of_2048_bytes_is_fine(player: str) -> None:
    assert isinstance(decode(wire(player=player), RULES, None), Game)


@pytest.mark.parametrize(
    "score", ["0", "-0", "-12.5", "9" * 38, "9." + "9" * 37 + "E125", "-1E125", "1E-130", "150.000", "+3", "1e3"]
)
def test_whatever_dynamodb_can_hold_is_a_score(score: str) -> None:
    entry = decode(wire(score=score), RULES, None)
    assert isinstance(entry, Game)
    assert entry.score == Decimal(score)


@pytest.mark.parametrize(("event", "outcome"), [("MODIFY", Outcome.MODIFIED), ("REMOVE", Outcome.REMOVED)])
def test_changes_and_removals_are_ignored_whatever_they_hold(event: str, outcome: Outcome) -> None:
    assert decode(wire(2, event=event, player=None, score=None), RULES, None) == Ignored(
        sequence_number(2), CREATED, outcome
    )


@pytest.mark.parametrize("event", ["INSERT", "MODIFY", "UPSERT"])
def test_a_record_from_before_the_start_time_is_before_the_start(event: str) -> None:
    record = wire(2, event=event)
    expected = Ignored(sequence_number(2), CREATED, Outcome.BEFORE_START)
    assert decode(record, RULES, CREATED + 1) == expected
    assert decode(record, RULES, CREATED) != expected, "the start time itself counts"


@pytest.mark.parametrize("created", [None, "1769860800", True, [], {}, float("inf"), float("nan"), 10**400, -(10**13)])
def test_a_record_without_a_creation_time_is_never_before_the_start(created: object) -> None:
    entry = decode(wire(created=created), RULES, CREATED)
    assert isinstance(entry, Game)


def test_attribute_names_are_settings() -> None:
    rules = Rules("name", "points", "at")
    image = {"name": {"S": "foo"}, "points": {"N": "3"}, "at": {"S": "2026-01-31"}}
    entry = decode(wire(image=image), rules, None)
    assert isinstance(entry, Game)
    assert (entry.player, entry.score, entry.date) == ("foo", Decimal(3), "2026-01-31")
    assert refused(wire(), rules).reason is Reason.PLAYER_MISSING


# Whatever JSON a stream could hold, and then some: lone surrogates, numbers of any size, wrong types at every level.
TEXT = st.text(st.characters(codec=None), max_size=8)
LEAVES = st.none() | st.booleans() | st.integers(-(10**40), 10**40) | st.floats(allow_nan=False) | TEXT
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3))
TAGGED = st.dictionaries(st.sampled_from(["S", "N", "B", "BOOL", "NULL", "M", "L"]), JSON, max_size=2)
TIMES = st.datetimes().map(str) | st.from_regex(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d)?(\.\d+)?([+-]\d\d:?\d\d|Z)?)?")
LIKELY = {
    "playerId": st.builds(lambda text: {"S": text}, TEXT),
    "score": st.builds(lambda text: {"N": text}, st.decimals().map(str) | TEXT),
    "timestamp": st.builds(lambda text: {"S": text}, TIMES | TEXT),
}
IMAGES = st.fixed_dictionaries({}, optional={name: likely | TAGGED | JSON for name, likely in LIKELY.items()}) | JSON
CHANGES = st.fixed_dictionaries(
    {"SequenceNumber": st.just(sequence_number(1))},
    optional={
        "NewImage": IMAGES,
        "Keys": JSON,
        "ApproximateCreationDateTime": st.just(CREATED) | st.integers(0, 2**40) | JSON,
    },
)
EVENTS = st.sampled_from(["INSERT", "INSERT", "INSERT", "MODIFY", "REMOVE"]) | JSON
RECORDS = st.fixed_dictionaries({"dynamodb": CHANGES}, optional={"eventName": EVENTS, "userIdentity": JSON})


@given(RECORDS, st.none() | st.just(CREATED))
def test_decode_never_raises_for_json(record: dict[str, Any], start_time: float | None) -> None:
    entry: Entry = decode(record, RULES, start_time)
    assert entry.sequence_number == sequence_number(1)
    match entry:
        case Poison():
            assert unpack(entry.parts) == record
            assert entry.detail.encode()
            assert entry.player is None or 0 < len(entry.player.encode()) <= 2048
        case Game():
            assert 0 < len(entry.player.encode()) <= 2048
            assert entry.score.is_finite()
            assert len(entry.date) == 10
        case Ignored():
            assert entry.outcome in (Outcome.MODIFIED, Outcome.REMOVED, Outcome.EXPIRED, Outcome.BEFORE_START)
    assert decode(record, RULES, start_time) == entry, "the same record always means the same"

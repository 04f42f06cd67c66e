from dataclasses import replace
from datetime import UTC, datetime

import pytest

from consumer.domain.errors import UnsafeRefused
from consumer.domain.leases import Birth, LeaseRow, Origin, Pin, Shard
from consumer.domain.outcomes import Done, ListedShard, Lost, Refused, StreamListing
from consumer.domain.position import TRIM_HORIZON
from consumer.worker import events
from consumer.worker.calls import CompletePin, FindOrigin, ListShards, PinStream, Plant, Probe, Reply
from consumer.worker.pinning import PLANTED_AT_ONCE, Pinning, StartPosition
from tests.builders import ARN, CREATED, build_shards

TABLES = ("consumer-leases", "Leaderboards")
BIRTH = Birth(ARN, *TABLES)
OTHER_ARN = ARN.replace("2026-01-01", "2025-12-31")
UNKNOWN = Origin(None, None)
LISTING = build_shards(4, {0: [1, 2]}, served_at=CREATED + 0.75)
ROOTS = ("shard-0", "shard-3")


def begun(start: StartPosition = TRIM_HORIZON, resolution_seconds: int = 1) -> Pinning:
    return Pinning(ARN, start, resolution_seconds, TABLES)


def converse(pinning: Pinning, *replies: Reply) -> list[object]:
    """The calls it named, each answered with the next reply."""
    calls: list[object] = []
    for reply in replies:
        call = pinning.next_call()
        pinning.take(call, reply)
        calls.append(call)
    return calls


def planted(*roots: str, at: float = CREATED + 0.75, created: float | None = None) -> Plant:
    created = at if created is None else created
    return Plant(ARN, tuple(LeaseRow(Shard(ARN, root), None, int(at), TRIM_HORIZON, created=created) for root in roots))


def test_first_sight() -> None:
    pinning = begun()
    calls = converse(pinning, UNKNOWN, LISTING, Done(), Done())
    draft = Pin(ARN, None, ROOTS, complete=False)
    assert calls == [FindOrigin(ARN), ListShards(ARN), PinStream(draft, None, CREATED + 0.75), planted(*ROOTS)]
    assert pinning.complete is False
    assert converse(pinning, Done()) == [CompletePin(ARN)]
    assert pinning.pin == Pin(ARN, None, ROOTS, complete=True)


def test_who_pins_tells_so() -> None:
    pinning = begun()
    converse(pinning, UNKNOWN, LISTING)
    assert pinning.take(pinning.next_call(), Done()) == [events.StreamPinned(ARN, None, ROOTS)]


def test_a_complete_pin_leaves_nothing_to_do() -> None:
    pinning = begun("LATEST")
    pin = Pin(ARN, 12.0, ("shard-0",), complete=True)
    converse(pinning, Origin(pin, BIRTH))
    assert pinning.complete
    assert pinning.pin == pin, "the floor is the one of the first sight, whatever the setting says by now"


def test_after_a_crash_anywhere_the_pin_that_is_there_is_planted_and_completed() -> None:
    pin = Pin(ARN, 12.0, ("shard-0", "shard-9"), complete=False)
    pinning = begun("LATEST")
    calls = converse(pinning, Origin(pin, BIRTH), LISTING, Refused(existing=frozenset({"shard-9"})), Done(), Done())
    rows = [planted("shard-0", "shard-9", created=12.0), planted("shard-0", created=12.0)]
    assert calls[2:] == [*rows, CompletePin(ARN)]
    assert pinning.pin == Pin(ARN, 12.0, ("shard-0", "shard-9"), complete=True)


def test_when_every_row_is_there_already_only_the_mark_is_missing() -> None:
    pinning = begun()
    pin = Pin(ARN, None, ("shard-0",), complete=False)
    calls = converse(pinning, Origin(pin, BIRTH), LISTING, Refused(existing=frozenset({"shard-0"})), Done())
    assert calls[3] == CompletePin(ARN)
    assert pinning.complete


def test_a_stream_without_shards_is_pinned_all_the_same() -> None:
    pinning = begun()
    calls = converse(pinning, UNKNOWN, build_shards(0, {}), Done(), Done())
    assert calls[3] == CompletePin(ARN)
    assert pinning.complete


@pytest.mark.parametrize("lost_at", ["pin", "plant"])
def test_when_another_worker_is_ahead_it_looks_again(lost_at: str) -> None:
    pinning = begun()
    converse(pinning, UNKNOWN, LISTING, *([] if lost_at == "pin" else [Done()]), Lost(None))
    pin = Pin(ARN, None, ("shard-7",), complete=True)
    assert converse(pinning, Origin(pin, BIRTH)) == [FindOrigin(ARN)]
    assert pinning.pin == pin


def test_a_draft_is_drawn_anew_when_the_pin_is_still_missing() -> None:
    pinning = begun("LATEST")
    converse(pinning, UNKNOWN, LISTING, Lost(None), UNKNOWN, build_shards(1, {}, served_at=CREATED + 60))
    assert pinning.next_call() == PinStream(Pin(ARN, CREATED + 60, ("shard-0",), complete=False), None, CREATED + 60)


def test_many_roots_are_planted_in_bounded_transactions() -> None:
    size = 2 * PLANTED_AT_ONCE + 1
    pinning = begun()
    calls = converse(pinning, UNKNOWN, build_shards(size, {}), *[Done()] * 5)
    plants = [call for call in calls if isinstance(call, Plant)]
    assert [len(plant.rows) for plant in plants] == [PLANTED_AT_ONCE, PLANTED_AT_ONCE, 1]
    assert len({each.shard for plant in plants for each in plant.rows}) == size
    assert pinning.complete


@pytest.mark.parametrize(
    ("start", "resolution_seconds", "floor"),
    [
        (TRIM_HORIZON, 1, None),
        ("LATEST", 1, CREATED + 90),
        ("LATEST", 60, CREATED + 60),
        (datetime(2026, 1, 31, 12, 0, 59, 999_000, tzinfo=UTC), 1, CREATED + 59),
        (datetime(2026, 1, 31, 12, 0, 59, 999_000, tzinfo=UTC), 60, CREATED),
        (datetime(1969, 12, 31, 23, 59, 59, 500_000, tzinfo=UTC), 1, -1.0),
    ],
)
def test_the_floor_is_the_servers_date_or_the_time_given_rounded_down(
    start: StartPosition, resolution_seconds: int, floor: float | None
) -> None:
    pinning = begun(start, resolution_seconds)
    converse(pinning, UNKNOWN, build_shards(1, {}, served_at=CREATED + 90.7))
    assert pinning.next_call() == PinStream(Pin(ARN, floor, ("shard-0",), complete=False), None, CREATED + 90.7)


CHILD = StreamListing(ARN, True, (ListedShard("child", "above"), ListedShard("sibling", "above")), CREATED)


def test_a_parent_that_is_trimmed_at_first_sight_lies_before_the_beginning() -> None:
    pinning = begun()
    assert converse(pinning, UNKNOWN, CHILD, False)[2] == Probe(Shard(ARN, "above"))
    assert pinning.next_call() == PinStream(Pin(ARN, None, ("child", "sibling"), complete=False), None, CREATED)


def test_a_parent_that_only_the_first_listing_does_not_show_is_a_root_in_its_childrens_place() -> None:
    pinning = begun()
    converse(pinning, UNKNOWN, CHILD, True)
    assert pinning.next_call() == PinStream(Pin(ARN, None, ("above",), complete=False), None, CREATED)


def test_from_the_latest_record_on_parents_do_not_matter() -> None:
    pinning = begun("LATEST")
    converse(pinning, UNKNOWN, CHILD)
    assert pinning.next_call() == PinStream(Pin(ARN, CREATED, ("child", "sibling"), complete=False), None, CREATED)


PIN = Pin(ARN, None, ("shard-0",), complete=True)


@pytest.mark.parametrize(
    ("origin", "sentences"),
    [
        (
            Origin(PIN, Birth(ARN, "other-leases", "Leaderboards")),
            ["belongs to lease table other-leases and leaderboard Leaderboards, not to consumer-leases and Leader",
             "would count up to 24 hours of games a second time", "CONSUMER_LEASE_TABLE"],
        ),
        (
            Origin(PIN, Birth(ARN, "consumer-leases", "OtherBoard")),
            ["leaderboard OtherBoard", "CONSUMER_LEADERBOARD_TABLE"],
        ),
        (
            Origin(None, BIRTH),
            [f"Leaderboards has been counted from the stream {ARN}", "consumer-leases does not know how far",
             "would count up to 24 hours of games a second time", "restore the table from a backup"],
        ),
        (
            Origin(PIN, None),
            [f"consumer-leases knows the stream {ARN}", "no birth row", "CONSUMER_QUARANTINE_TABLE"],
        ),
        (
            Origin(None, None, ((Birth(OTHER_ARN, *TABLES), PIN), (Birth(OTHER_ARN + "x", *TABLES), None))),
            [f"counted from the stream {OTHER_ARN}x", "does not know how far"],
        ),
        (
            Origin(None, None, ((Birth(OTHER_ARN, "other-leases", "Leaderboards"), PIN),)),
            ["belongs to lease table other-leases"],
        ),
    ],
    ids=["lease table", "leaderboard", "no pin", "no birth", "other stream unpinned", "other stream's tables"],
)  # fmt: skip
def test_tables_that_do_not_belong_together_are_refused(origin: Origin, sentences: list[str]) -> None:
    pinning = begun()
    with pytest.raises(UnsafeRefused) as raised:
        pinning.take(pinning.next_call(), origin)
    assert raised.value.exit_code == 4
    for sentence in sentences:
        assert sentence in str(raised.value)


def pinned(arn: str, floor: float | None) -> tuple[Birth, Pin]:
    return Birth(arn, *TABLES), Pin(arn, floor, ("shard-0",), complete=True)


def test_a_successor_keeps_the_floor_of_the_stream_before_it_and_is_read_from_its_horizon() -> None:
    pinning = begun("LATEST")
    older = ARN.replace("2026-01-01", "2025-12-30")
    other_table = ARN.replace("GameEvents", "Other").replace("2026-01-01", "2025-12-31")
    others = (pinned(older, 5.0), pinned(OTHER_ARN, 12.0), pinned(other_table, 7.0))
    calls = converse(pinning, Origin(None, None, others), LISTING, Done())
    assert calls[2] == PinStream(Pin(ARN, 12.0, ROOTS, complete=False), OTHER_ARN, CREATED + 0.75)
    plant = pinning.next_call()
    assert isinstance(plant, Plant)
    began = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    assert {row.created for row in plant.rows} == {began}, "what is trimmed since it was switched on is a gap"


def test_a_successor_whose_label_is_no_time_may_have_been_there_since_it_was_listed() -> None:
    arn = ARN.rpartition("/")[0] + "/zzz"
    pinning = Pinning(arn, TRIM_HORIZON, 1, TABLES)
    listing = replace(LISTING, stream_arn=arn)
    converse(pinning, Origin(None, None, (pinned(ARN, None),)), listing, Done())
    plant = pinning.next_call()
    assert isinstance(plant, Plant)
    assert {row.created for row in plant.rows} == {CREATED + 0.75}


def test_what_was_trimmed_since_another_worker_pinned_the_stream_is_a_gap() -> None:
    pinning = begun()
    earlier = Pin(ARN, None, ROOTS, complete=False, pinned_at=CREATED - 80_000.0)
    converse(pinning, Origin(earlier, Birth(ARN, *TABLES)), LISTING)
    plant = pinning.next_call()
    assert isinstance(plant, Plant)
    assert {row.created for row in plant.rows} == {CREATED - 80_000.0}


def test_what_was_trimmed_since_the_start_position_is_a_gap() -> None:
    """Games since then were asked for, also those of before anybody looked."""
    asked = datetime(2026, 1, 31, 3, tzinfo=UTC)
    pinning = begun(asked)
    converse(pinning, Origin(None, None), LISTING, Done())
    plant = pinning.next_call()
    assert isinstance(plant, Plant)
    assert {row.created for row in plant.rows} == {asked.timestamp()}
    assert asked.timestamp() < CREATED


def test_a_successor_that_somebody_else_pinned_began_when_it_was_switched_on() -> None:
    pinning = begun()
    pin = Pin(ARN, None, ROOTS, complete=False, pinned_at=CREATED)
    converse(pinning, Origin(pin, Birth(ARN, *TABLES), (pinned(OTHER_ARN, None),)), LISTING)
    plant = pinning.next_call()
    assert isinstance(plant, Plant)
    assert {row.created for row in plant.rows} == {datetime(2026, 1, 1, tzinfo=UTC).timestamp()}


def test_the_stream_of_another_table_is_no_predecessor() -> None:
    pinning = begun("LATEST")
    other_table = ARN.replace("GameEvents", "Other").replace("2026-01-01", "2025-12-31")
    calls = converse(pinning, Origin(None, None, (pinned(other_table, 7.0),)), LISTING, Done())
    assert calls[2] == PinStream(Pin(ARN, CREATED, ROOTS, complete=False), None, CREATED + 0.75)


def test_an_answer_that_is_none_is_a_defect() -> None:
    pinning = begun()
    with pytest.raises(AssertionError, match="Done is no answer to FindOrigin"):
        pinning.take(pinning.next_call(), Done())

"""The first start of a stream: its calls, step by step, and the tables that it refuses."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from consumer.domain.accepted_rules import AcceptedRules
from consumer.domain.errors import UnsafeRefused
from consumer.domain.leases import (
    PROTOCOL,
    TRIM_HORIZON,
    LeaseRow,
    Origin,
    Shard,
    StreamStart,
    TableBinding,
    TableNames,
)
from consumer.domain.records import Rules
from consumer.domain.replies import Done, ListedShard, Lost, Refused, StreamListing
from consumer.worker import events
from consumer.worker.calls import Reply
from consumer.worker.ledger_calls import (
    CompleteStreamStart,
    CreateRootRows,
    ListShards,
    Probe,
    ReadOrigin,
    RecordStreamStart,
    UpgradeStream,
)
from consumer.worker.stream_start import ROOTS_AT_ONCE, StartPosition, StreamStarter
from tests.support.builders import ARN, CREATED, build_shards

TABLES = TableNames()
BINDING = TableBinding(ARN, *TABLES[:2])
OTHER_ARN = ARN.replace("2026-01-01", "2025-12-31")
UNKNOWN = Origin(None, None)
RULES = Rules()
ACCEPTED = AcceptedRules((RULES,))
LISTING = build_shards(4, {0: [1, 2]}, served_at=CREATED + 0.75)
ROOTS = ("shard-0", "shard-3")


def known(
    start: StreamStart, binding: TableBinding, others: tuple[tuple[TableBinding, StreamStart | None], ...] = ()
) -> Origin:
    """A stream that was started by a worker of this version."""
    return Origin(start, binding, others, accepted=ACCEPTED)


def starter_at(start: StartPosition = TRIM_HORIZON, resolution_seconds: int = 1) -> StreamStarter:
    return StreamStarter(ARN, start, resolution_seconds, TABLES)


def answer_calls(starter: StreamStarter, *replies: Reply) -> list[object]:
    """Answers the calls with these replies, and returns the calls."""
    calls: list[object] = []
    for reply in replies:
        call = starter.next_call()
        starter.take(call, reply)
        calls.append(call)
    return calls


def root_rows(*roots: str, at: float = CREATED + 0.75, created: float | None = None) -> CreateRootRows:
    created = at if created is None else created
    return CreateRootRows(
        ARN, tuple(LeaseRow(Shard(ARN, root), None, int(at), TRIM_HORIZON, created=created, rules=1) for root in roots)
    )


def test_a_first_start_records_the_stream_and_creates_the_root_rows() -> None:
    starter = starter_at()
    calls = answer_calls(starter, UNKNOWN, LISTING, Done(), Done())
    draft = StreamStart(ARN, None, ROOTS, complete=False)
    assert calls == [
        ReadOrigin(ARN),
        ListShards(ARN),
        RecordStreamStart(draft, None, CREATED + 0.75, RULES),
        root_rows(*ROOTS),
    ]
    assert starter.complete is False
    assert answer_calls(starter, Done()) == [CompleteStreamStart(ARN)]
    assert starter.stream_start == StreamStart(ARN, None, ROOTS, complete=True)


def test_the_worker_that_records_the_start_reports_it() -> None:
    starter = starter_at()
    answer_calls(starter, UNKNOWN, LISTING)
    assert starter.take(starter.next_call(), Done()) == [events.StreamStarted(ARN, None, ROOTS)]


def test_a_complete_start_leaves_nothing_to_do() -> None:
    starter = starter_at("LATEST")
    start = StreamStart(ARN, 12.0, ("shard-0",), complete=True)
    answer_calls(starter, known(start, BINDING))
    assert starter.complete
    assert starter.stream_start == start, "the start time is the recorded one, whatever the setting is now"


def test_after_a_crash_a_recorded_start_gets_its_root_rows_and_is_completed() -> None:
    start = StreamStart(ARN, 12.0, ("shard-0", "shard-9"), complete=False)
    starter = starter_at("LATEST")
    nine_exists = Refused(existing=frozenset({"shard-9"}))
    calls = answer_calls(starter, known(start, BINDING), LISTING, nine_exists, Done(), Done())
    rows = [root_rows("shard-0", "shard-9", created=12.0), root_rows("shard-0", created=12.0)]
    assert calls[2:] == [*rows, CompleteStreamStart(ARN)]
    assert starter.stream_start == StreamStart(ARN, 12.0, ("shard-0", "shard-9"), complete=True)


def test_when_every_root_row_exists_the_start_is_only_marked_complete() -> None:
    starter = starter_at()
    start = StreamStart(ARN, None, ("shard-0",), complete=False)
    calls = answer_calls(starter, known(start, BINDING), LISTING, Refused(existing=frozenset({"shard-0"})), Done())
    assert calls[3] == CompleteStreamStart(ARN)
    assert starter.complete


def test_a_stream_without_shards_is_started_too() -> None:
    starter = starter_at()
    calls = answer_calls(starter, UNKNOWN, build_shards(0, {}), Done(), Done())
    assert calls[3] == CompleteStreamStart(ARN)
    assert starter.complete


@pytest.mark.parametrize("before", [[], [Done()]], ids=["record", "create roots"])
def test_when_another_worker_was_first_the_origin_is_read_again(before: list[Reply]) -> None:
    starter = starter_at()
    answer_calls(starter, UNKNOWN, LISTING, *before, Lost(None))
    start = StreamStart(ARN, None, ("shard-7",), complete=True)
    assert answer_calls(starter, known(start, BINDING)) == [ReadOrigin(ARN)]
    assert starter.stream_start == start


def test_the_stream_is_listed_again_when_its_row_is_still_missing() -> None:
    starter = starter_at("LATEST")
    answer_calls(starter, UNKNOWN, LISTING, Lost(None), UNKNOWN, build_shards(1, {}, served_at=CREATED + 60))
    assert starter.next_call() == RecordStreamStart(
        StreamStart(ARN, CREATED + 60, ("shard-0",), complete=False), None, CREATED + 60, RULES
    )


def test_many_roots_are_created_in_bounded_transactions() -> None:
    size = 2 * ROOTS_AT_ONCE + 1
    starter = starter_at()
    calls = answer_calls(starter, UNKNOWN, build_shards(size, {}), *[Done()] * 5)
    batches = [call.rows for call in calls if isinstance(call, CreateRootRows)]
    assert [len(rows) for rows in batches] == [ROOTS_AT_ONCE, ROOTS_AT_ONCE, 1]
    assert len({row.shard for rows in batches for row in rows}) == size
    assert starter.complete


@pytest.mark.parametrize(
    ("start", "resolution_seconds", "start_time"),
    [
        (TRIM_HORIZON, 1, None),
        ("LATEST", 1, CREATED + 90),
        ("LATEST", 60, CREATED + 60),
        (datetime(2026, 1, 31, 12, 0, 59, 999_000, tzinfo=UTC), 1, CREATED + 59),
        (datetime(2026, 1, 31, 12, 0, 59, 999_000, tzinfo=UTC), 60, CREATED),
        (datetime(1969, 12, 31, 23, 59, 59, 500_000, tzinfo=UTC), 1, -1.0),
    ],
)
def test_the_start_time_is_the_servers_date_or_the_time_given_rounded_down(
    start: StartPosition, resolution_seconds: int, start_time: float | None
) -> None:
    starter = starter_at(start, resolution_seconds)
    answer_calls(starter, UNKNOWN, build_shards(1, {}, served_at=CREATED + 90.7))
    assert starter.next_call() == RecordStreamStart(
        StreamStart(ARN, start_time, ("shard-0",), complete=False), None, CREATED + 90.7, RULES
    )


CHILD = StreamListing(ARN, True, (ListedShard("child", "above"), ListedShard("sibling", "above")), CREATED)


def test_a_parent_that_is_trimmed_at_the_start_lies_before_it() -> None:
    starter = starter_at()
    assert answer_calls(starter, UNKNOWN, CHILD, False)[2] == Probe(Shard(ARN, "above"))
    assert starter.next_call() == RecordStreamStart(
        StreamStart(ARN, None, ("child", "sibling"), complete=False), None, CREATED, RULES
    )


def test_a_parent_that_only_the_listing_hides_is_a_root_in_its_childrens_place() -> None:
    starter = starter_at()
    answer_calls(starter, UNKNOWN, CHILD, True)
    assert starter.next_call() == RecordStreamStart(
        StreamStart(ARN, None, ("above",), complete=False), None, CREATED, RULES
    )


def test_with_latest_parents_do_not_matter() -> None:
    starter = starter_at("LATEST")
    answer_calls(starter, UNKNOWN, CHILD)
    assert starter.next_call() == RecordStreamStart(
        StreamStart(ARN, CREATED, ("child", "sibling"), complete=False), None, CREATED, RULES
    )


STREAM_START = StreamStart(ARN, None, ("shard-0",), complete=True)


@pytest.mark.parametrize(
    ("origin", "sentences"),
    [
        (
            Origin(STREAM_START, TableBinding(ARN, "other-leases", "Leaderboards")),
            ["belongs to lease table other-leases and leaderboard Leaderboards, not to consumer-leases and Leader",
             "would count up to 24 hours of games a second time", "CONSUMER_LEASE_TABLE"],
        ),
        (
            Origin(STREAM_START, TableBinding(ARN, "consumer-leases", "OtherBoard")),
            ["leaderboard OtherBoard", "CONSUMER_LEADERBOARD_TABLE"],
        ),
        (
            Origin(None, BINDING),
            [f"Leaderboards has been counted from the stream {ARN}", "consumer-leases does not know how far",
             "would count up to 24 hours of games a second time", "restore the table from a backup"],
        ),
        (
            Origin(STREAM_START, None),
            [f"consumer-leases knows the stream {ARN}", "no table binding", "CONSUMER_QUARANTINE_TABLE"],
        ),
        (
            Origin(None, None, (
                (TableBinding(OTHER_ARN, *TABLES[:2]), STREAM_START), (TableBinding(OTHER_ARN + "x", *TABLES[:2]), None)
            )),
            [f"counted from the stream {OTHER_ARN}x", "does not know how far"],
        ),
        (
            Origin(None, None, ((TableBinding(OTHER_ARN, "other-leases", "Leaderboards"), STREAM_START),)),
            ["belongs to lease table other-leases"],
        ),
    ],
    ids=["lease table", "leaderboard", "no start", "no binding", "other stream without start", "other stream's tables"],
)  # fmt: skip
def test_tables_that_do_not_belong_together_are_refused(origin: Origin, sentences: list[str]) -> None:
    starter = starter_at()
    with pytest.raises(UnsafeRefused) as raised:
        starter.take(starter.next_call(), origin)
    assert raised.value.exit_code == 4
    for sentence in sentences:
        assert sentence in str(raised.value)


def created_of_roots(starter: StreamStarter) -> set[float | None]:
    """The times `created` in the root rows that are to be put next."""
    call = starter.next_call()
    assert isinstance(call, CreateRootRows)
    return {row.created for row in call.rows}


def started(arn: str, start_time: float | None) -> tuple[TableBinding, StreamStart]:
    return TableBinding(arn, *TABLES[:2]), StreamStart(arn, start_time, ("shard-0",), complete=True)


def test_a_successor_keeps_the_start_time_of_the_stream_before_it_and_is_read_from_its_horizon() -> None:
    starter = starter_at("LATEST")
    older = ARN.replace("2026-01-01", "2025-12-30")
    other_table = ARN.replace("GameEvents", "Other").replace("2026-01-01", "2025-12-31")
    others = (started(older, 5.0), started(OTHER_ARN, 12.0), started(other_table, 7.0))
    calls = answer_calls(starter, Origin(None, None, others), LISTING, Done())
    assert calls[2] == RecordStreamStart(
        StreamStart(ARN, 12.0, ROOTS, complete=False), OTHER_ARN, CREATED + 0.75, RULES
    )
    switched_on_at = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    assert created_of_roots(starter) == {switched_on_at}, "records trimmed since it was switched on are a gap"


def test_a_successor_whose_label_is_no_time_counts_from_its_listing() -> None:
    arn = ARN.rpartition("/")[0] + "/zzz"
    starter = StreamStarter(arn, TRIM_HORIZON, 1, TABLES)
    listing = replace(LISTING, stream_arn=arn)
    answer_calls(starter, Origin(None, None, (started(ARN, None),)), listing, Done())
    assert created_of_roots(starter) == {CREATED + 0.75}


def test_records_trimmed_since_another_worker_recorded_the_start_are_a_gap() -> None:
    starter = starter_at()
    earlier = StreamStart(ARN, None, ROOTS, complete=False, started_at=CREATED - 80_000.0)
    answer_calls(starter, known(earlier, BINDING), LISTING)
    assert created_of_roots(starter) == {CREATED - 80_000.0}


def test_records_trimmed_since_the_start_position_are_a_gap() -> None:
    """The setting asks for the games since then, also for those from before the first listing."""
    position = datetime(2026, 1, 31, 3, tzinfo=UTC)
    starter = starter_at(position)
    answer_calls(starter, Origin(None, None), LISTING, Done())
    assert created_of_roots(starter) == {position.timestamp()}
    assert position.timestamp() < CREATED


def test_a_successor_that_another_worker_recorded_counts_from_when_it_was_switched_on() -> None:
    starter = starter_at()
    start = StreamStart(ARN, None, ROOTS, complete=False, started_at=CREATED)
    answer_calls(starter, known(start, BINDING, (started(OTHER_ARN, None),)), LISTING)
    assert created_of_roots(starter) == {datetime(2026, 1, 1, tzinfo=UTC).timestamp()}


def completed(starter: StreamStarter) -> StreamStart | None:
    """The stream's row, when its shards may be claimed."""
    return starter.stream_start if starter.complete else None


KEYED = replace(LISTING, partition_key="playerId")
OLD = StreamStart(ARN, 12.0, ROOTS, complete=True, protocol=1)
"""As a worker of version 0.1 left it."""


@pytest.mark.parametrize(
    ("partition_key", "player_attribute", "keyed"),
    [
        ("playerId", "playerId", True),
        ("user", "user", True),
        ("gameId", "playerId", False),
        ("playerId", "user", False),
        (None, "playerId", False),
    ],
)
def test_a_stream_is_keyed_when_its_partition_key_is_the_player(
    partition_key: str | None, player_attribute: str, *, keyed: bool
) -> None:
    rules = Rules(player_attribute=player_attribute)
    starter = StreamStarter(ARN, TRIM_HORIZON, 1, TABLES, rules)
    calls = answer_calls(starter, UNKNOWN, replace(LISTING, partition_key=partition_key), Done(), Done(), Done())
    assert calls[2] == RecordStreamStart(
        StreamStart(ARN, None, ROOTS, complete=False, keyed=keyed), None, CREATED + 0.75, rules
    )
    assert completed(starter) == StreamStart(ARN, None, ROOTS, complete=True, keyed=keyed)


def test_a_stream_of_version_0_1_is_upgraded_before_anything_is_claimed() -> None:
    starter = starter_at()
    calls = answer_calls(starter, known(OLD, BINDING))
    assert completed(starter) is None
    calls += answer_calls(starter, KEYED, Done())
    assert calls == [ReadOrigin(ARN), ListShards(ARN), UpgradeStream(ARN, keyed=True)]
    assert completed(starter) is None, "it is complete as its row says"
    upgraded = replace(OLD, protocol=PROTOCOL, keyed=True)
    assert answer_calls(starter, known(upgraded, BINDING)) == [ReadOrigin(ARN)]
    assert completed(starter) == upgraded


def test_a_stream_that_another_worker_upgraded_first_is_as_it_recorded() -> None:
    """It may have found the stream keyed otherwise: the recorded answer is the one answer."""
    starter = starter_at()
    answer_calls(starter, known(OLD, BINDING), KEYED, Lost(None))
    upgraded = replace(OLD, protocol=PROTOCOL, keyed=False)
    answer_calls(starter, known(upgraded, BINDING))
    assert completed(starter) == upgraded


def test_a_stream_of_version_0_1_that_was_not_complete_gets_its_roots_after_the_upgrade() -> None:
    starter = starter_at()
    begun = replace(OLD, complete=False)
    calls = answer_calls(starter, known(begun, BINDING), LISTING, Done())
    assert calls[-1] == UpgradeStream(ARN, keyed=False)
    calls = answer_calls(starter, known(replace(begun, protocol=PROTOCOL), BINDING), LISTING, Done(), Done())
    assert [type(call) for call in calls] == [ReadOrigin, ListShards, CreateRootRows, CompleteStreamStart]
    assert starter.complete


def test_a_stream_of_version_0_1_whose_row_went_meanwhile_is_refused() -> None:
    """The binding is there without it: nothing is begun again."""
    starter = starter_at()
    answer_calls(starter, known(OLD, BINDING), KEYED, Lost(None))
    with pytest.raises(UnsafeRefused):
        starter.take(starter.next_call(), Origin(None, BINDING))


def test_a_reply_of_the_wrong_kind_is_a_defect() -> None:
    starter = starter_at()
    with pytest.raises(AssertionError, match="Done is no answer to ReadOrigin"):
        starter.take(starter.next_call(), Done())

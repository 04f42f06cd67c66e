"""The event log: which lines and metrics the events of the machines become."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from consumer.domain.breaker import Circuit
from consumer.domain.cut import cut
from consumer.domain.errors import CallFailed, FailureKind, IteratorExpired
from consumer.domain.fold import Limits
from consumer.domain.leases import TRIM_HORIZON, Adoption, Lease, Ledger, StreamStart
from consumer.domain.ports import RulesInUse, WorkerStatus
from consumer.domain.records import Entry, Outcome
from consumer.domain.replies import Done
from consumer.domain.stream_halt import StreamHalt, StreamHaltReason
from consumer.worker import events
from consumer.worker.calls import Call, Operation
from consumer.worker.event_log import SUMMARY_SECONDS, EventLog
from consumer.worker.ledger_calls import Load
from consumer.worker.shard_calls import Read, WriteRows
from consumer.worker.status import AWAITING_STREAM
from consumer.worker.stream_start import StartPosition
from tests.support.builders import (
    ARN,
    ME,
    OTHER,
    build_shards,
    game,
    ignored,
    lease,
    poison,
    row,
    sequence_number,
    shard,
)

NOW = 1_769_860_800.0
BOUND = {"shard_id": "2026-01-01T00:00:00.000/shard-0", "lease_epoch": 7}
SUMMARY = {
    "records": 3,
    "units": 2,
    "quarantined": 0,
    "seconds_without_progress": 60.0,
    "lag_seconds": 12.3,
    "lag_known": True,
    "leases_owned": 2,
    "shards": {"running": 2},
    "not_ready": 0,
    "rules": 0,
    "newest_rules": 0,
    "quarantine_pending": 3,
}
HALTED = {"shard_id": BOUND["shard_id"], "checkpoint": "5"}
STATUS = WorkerStatus(12.34, 86_000.0, {"running": 2, "halted": 0}, 2, ())

Line = tuple[str, str, dict[str, Any]]


@dataclass
class Log:
    """A logger that remembers its lines: level, event, fields."""

    lines: list[Line] = field(default_factory=list)
    bound: dict[str, Any] = field(default_factory=dict)

    def bind(self, **fields: object) -> "Log":
        return Log(self.lines, {**self.bound, **fields})

    def _line(self, level: str, event: str, fields: dict[str, Any]) -> None:
        self.lines.append((level, event, {**self.bound, **fields}))

    def debug(self, event: str, **fields: object) -> None:
        self._line("debug", event, fields)

    def info(self, event: str, **fields: object) -> None:
        self._line("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        self._line("warning", event, fields)

    def critical(self, event: str, **fields: object) -> None:
        self._line("critical", event, fields)

    def error(self, event: str, **fields: object) -> None:
        self._line("error", event, fields)


@dataclass
class MeterLog:
    """Meters that remember what was measured."""

    measured: list[tuple[object, ...]] = field(default_factory=list)

    def records(self, outcome: str, count: int) -> None:
        self.measured.append(("records", outcome, count))

    def committed(self, seconds: float, at: float) -> None:
        self.measured.append(("committed", seconds, at))

    def retry(self, operation: str, reason: str) -> None:
        self.measured.append(("retry", operation, reason))

    def gap(self) -> None:
        self.measured.append(("gap",))

    def credential_failure(self) -> None:
        self.measured.append(("credential_failure",))

    def progress(self, at: float) -> None:
        self.measured.append(("progress", at))

    def snapshot(self, status: WorkerStatus, pending: int | None, at: float) -> None:
        self.measured.append(("snapshot", status, pending, at))


def report(*reported: events.Event) -> tuple[list[Line], list[tuple[object, ...]]]:
    log, meters = Log(), MeterLog()
    EventLog(log, meters).report(list(reported), NOW)
    return log.lines, meters.measured


def committed(*entries: Entry, settled: bool = False) -> events.UnitCommitted:
    return events.UnitCommitted(lease(), cut(entries, TRIM_HORIZON, Limits(), 0.0), 0.25, settled)


def test_how_a_streams_games_are_written_is_one_line_until_it_changes() -> None:
    log = Log()
    event_log = EventLog(log, MeterLog(), "player")
    start = StreamStart(ARN, None, (), complete=True)
    listing = replace(build_shards(1, {}), partition_key="gameId")
    by_player = replace(listing, partition_key="player")
    for listed, its_row in (
        (listing, None),
        (listing, start),
        (listing, start),
        (by_player, start),
        (by_player, replace(start, keyed=True)),
    ):
        event_log.report([events.StreamListed(listed, its_row)], NOW)
    whys = [
        ("transactions", "GameEvents is keyed by gameId; marked writes need player as its partition key"),
        ("transactions", "GameEvents was not keyed by player when the stream was started"),
        ("marked", "GameEvents is keyed by player"),
    ]
    assert log.lines == [("info", "stream.writes", {"stream_arn": ARN, "mode": mode, "why": why}) for mode, why in whys]


def test_a_commit_is_one_line_at_debug_and_each_quarantined_record_a_warning() -> None:
    lines, measured = report(committed(game(1), game(2, "bar"), ignored(3), poison(4)))
    assert lines == [
        (
            "debug",
            "unit.committed",
            {
                **BOUND,
                "checkpoint": sequence_number(4),
                "previous": TRIM_HORIZON,
                "records": 4,
                "players": 2,
                "seconds": 0.25,
                "settled": False,
                "applied": 2,
                "quarantined": 1,
                "modified": 1,
            },
        ),
        ("warning", "record.quarantined", {**BOUND, "sequence_number": sequence_number(4), "reason": "score_type"}),
    ]
    assert measured[0] == ("committed", 0.25, NOW)
    assert set(measured[1:]) == {("records", "applied", 2), ("records", "quarantined", 1), ("records", "modified", 1)}


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (events.ShardRewound(lease(), "5"), ("info", "shard.rewound", {**BOUND, "checkpoint": "5"})),
        (
            events.LeaseClaimed(replace(row(owner=ME), rules=2), OTHER),
            ("info", "lease.claimed", {**BOUND, "checkpoint": TRIM_HORIZON, "previous_owner": OTHER, "rules": 2}),
        ),
        (events.LeaseLost(lease(), OTHER), ("info", "lease.lost", {**BOUND, "owner": OTHER})),
        (events.LeaseReleased(lease()), ("info", "lease.released", BOUND)),
        (events.HandOverDecided(shard()), ("info", "lease.hand_over", {"shard_id": BOUND["shard_id"]})),
        (events.ShardEnded(lease(), ("a", "b"), ()), ("info", "shard.ended", {**BOUND, "children": ["a", "b"]})),
        (
            events.ShardHalted(shard(), "5"),
            ("error", "shard.halted", {**HALTED, "reason": "row_missing", "detail": None}),
        ),
        (
            events.ShardHalted(shard(), "5", Circuit(had_game=True)),
            (
                "error",
                "shard.halted",
                {**HALTED, "reason": "poison_flood", "detail": "most of its last records are poison"},
            ),
        ),
        (
            events.ResumeFound(row()),
            ("info", "shard.resumed", {"shard_id": BOUND["shard_id"], "free_to": None}),
        ),
        (
            events.ShardsAdopted(Adoption(row(), (row(1, parent=0),))),
            ("info", "shard.found_late", {"shard_ids": [str(shard(1))], "parent_shard_id": "shard-0"}),
        ),
        (events.RowForgotten(shard()), ("info", "lease.forgotten", {"shard_id": BOUND["shard_id"]})),
        (
            events.StreamStarted(ARN, 5.0, ("a", "b")),
            ("info", "stream.pinned", {"stream_arn": ARN, "floor": 5.0, "roots": 2}),
        ),
        (events.Joined(ME), ("info", "worker.joined", {"owner": ME})),
        (events.MemberEvicted(OTHER), ("info", "worker.buried", {"owner": OTHER})),
        (events.Removed(ME), ("warning", "worker.removed", {"owner": ME})),
    ],
)
def test_an_event_is_a_line(event: events.Event, line: Line) -> None:
    lines, measured = report(event)
    assert lines == [line]
    assert measured == []


@pytest.mark.parametrize("new", [True, False])
def test_a_gap_is_an_error_and_counted_once(new: bool) -> None:
    lines, measured = report(events.GapFound(shard(0), "5", new))
    assert lines == [
        ("error", "shard.gap", {"shard_id": str(shard(0)), "checkpoint": "5", "certain": False, "new": new})
    ]
    assert measured == ([("gap",)] if new else [])


def test_an_empty_page_is_progress() -> None:
    assert report(events.CaughtUp(lease())) == ([], [("progress", NOW)])


def test_every_retry_is_counted_and_fewer_and_fewer_are_logged() -> None:
    retries = [
        events.RetryScheduled(Operation.COMMIT, FailureKind.THROTTLED, "busy", attempt, 0.1234, lease())
        for attempt in range(1, 20)
    ]
    lines, measured = report(*retries)
    assert [line[2]["attempt"] for line in lines] == [1, 2, 4, 8, 16]
    assert lines[0] == (
        "warning",
        "call.retry_scheduled",
        {**BOUND, "operation": "commit", "reason": "throttled", "detail": "busy", "attempt": 1, "delay_seconds": 0.123},
    )
    assert measured == [("retry", "commit", "throttled")] * 19


def test_a_retry_of_no_shard_has_no_shard_id() -> None:
    lines, _ = report(events.RetryScheduled(Operation.HEARTBEAT, FailureKind.NETWORK, "down", 1, 0.5))
    assert "shard_id" not in lines[0][2]


def test_the_status_is_exported_and_a_summary_is_logged_from_time_to_time() -> None:
    log, meters = Log(), MeterLog()
    event_log = EventLog(log, meters)
    event_log.show_status(STATUS, 3, NOW)
    assert meters.measured == [("snapshot", STATUS, 3, NOW)]
    event_log.report([committed(game(1), game(2)), committed(game(3))], NOW)
    log.lines.clear()
    event_log.show_status(STATUS, 3, NOW + SUMMARY_SECONDS - 1)
    assert log.lines == []
    event_log.show_status(STATUS, 3, NOW + SUMMARY_SECONDS)
    summary = ("info", "worker.summary", SUMMARY)
    assert log.lines == [summary]
    unknown = replace(STATUS, lag_known=False, not_ready=("a reason",))
    event_log.show_status(unknown, None, NOW + 2 * SUMMARY_SECONDS)
    stuck = {"records": 0, "units": 0, "seconds_without_progress": 120.0, "lag_known": False, "not_ready": 1}
    stuck_line = ("info", "worker.summary", {**SUMMARY, **stuck, "quarantine_pending": None})
    assert log.lines == [summary, stuck_line], "also when nothing is committed"
    event_log.report([events.CaughtUp(lease())], NOW + 130)
    event_log.show_status(STATUS, None, NOW + 3 * SUMMARY_SECONDS)
    assert log.lines[-1][2]["seconds_without_progress"] == 50.0


def test_shards_that_wait_for_an_older_stream_are_logged_and_that_it_is_over() -> None:
    log = Log()
    event_log = EventLog(log, MeterLog())
    for waiting in (0, 2, 2, 3, 0, 0):
        event_log.show_status(replace(STATUS, shards={AWAITING_STREAM: waiting}), 0, NOW)
    assert log.lines == [
        ("info", "stream.shards_waiting", {"shards": 2}),
        ("info", "stream.shards_waiting", {"shards": 3}),
        ("info", "stream.shards_taken_up", {}),
    ]


def test_each_kind_of_ignored_record_is_an_outcome_of_its_own() -> None:
    outcomes = [Outcome.MODIFIED, Outcome.REMOVED, Outcome.REMOVED, Outcome.EXPIRED]
    lines, measured = report(committed(*(ignored(number, outcome) for number, outcome in enumerate(outcomes, 1))))
    found = {"modified": 1, "removed": 2, "expired": 1}
    assert lines[0][2].items() >= found.items()
    assert set(measured[1:]) == {("records", outcome, count) for outcome, count in found.items()}


def test_rules_are_logged_when_they_change_and_so_are_shards_that_wait_for_newer_ones() -> None:
    log = Log()
    event_log = EventLog(log, MeterLog())
    one, many = (shard(1),), tuple(shard(number) for number in range(12))
    for rules in (
        RulesInUse(),
        RulesInUse(1, 1),
        RulesInUse(1, 2),
        RulesInUse(1, 2, one, 2),
        RulesInUse(1, 2, one, 2),
        RulesInUse(1, 3, many, 3),
        RulesInUse(1, 3),
    ):
        event_log.show_status(replace(STATUS, rules=rules), 0, NOW)
    waiting = {"needed": 2, "number": 1}
    named = [str(each) for each in many[:10]]
    assert log.lines == [
        ("info", "worker.rules", {"number": 1, "newest": 1}),
        ("info", "worker.rules", {"number": 1, "newest": 2}),
        ("warning", "rules.shards_waiting", {**waiting, "shards": 1, "shard_ids": [str(shard(1))]}),
        ("info", "worker.rules", {"number": 1, "newest": 3}),
        ("warning", "rules.shards_waiting", {**waiting, "shards": 12, "needed": 3, "shard_ids": named}),
        ("info", "rules.shards_taken_up", {}),
    ]


def test_without_progress_it_counts_from_the_start() -> None:
    log = Log()
    event_log = EventLog(log, MeterLog())
    event_log.show_status(STATUS, None, NOW)
    event_log.show_status(STATUS, None, NOW + SUMMARY_SECONDS)
    assert log.lines[0][2]["seconds_without_progress"] == SUMMARY_SECONDS


# --- outages ---


def failed(call: Call, attempt: int, lease_: Lease | None = None) -> events.RetryScheduled:
    return events.RetryScheduled(call.operation, FailureKind.NETWORK, "down", attempt, 0.5, lease_)


def test_the_end_of_an_outage_is_one_line_with_its_duration() -> None:
    log = Log()
    event_log = EventLog(log, MeterLog())
    read, other = Read(lease(), "it", "5", None, 9), Read(lease()._replace(epoch=8), "it", "5", None, 9)
    failure = CallFailed(FailureKind.NETWORK, "down")
    for attempt in range(1, 4):
        event_log.report([failed(read, attempt, lease())], NOW + attempt)
        event_log.answered(read, failure, NOW + attempt)
    event_log.answered(other, IteratorExpired(), NOW + 5)
    event_log.answered(Load(), Ledger((), ()), NOW + 5)
    log.lines.clear()
    for seconds in (61.0, 62.0):
        event_log.answered(read, IteratorExpired(), NOW + seconds)
    recovered = {**BOUND, "operation": "get_records", "reason": "network", "attempts": 3, "seconds": 60.0}
    assert log.lines == [("info", "call.recovered", recovered)]


def test_one_failure_alone_has_no_end_of_its_own() -> None:
    log = Log()
    event_log = EventLog(log, MeterLog())
    event_log.report([failed(Load(), 1)], NOW)
    event_log.answered(Load(), Ledger((), ()), NOW + 1)
    assert [event for _, event, _ in log.lines] == ["call.retry_scheduled"]


def test_an_outage_of_no_shard_has_no_shard_id() -> None:
    log = Log()
    event_log = EventLog(log, MeterLog())
    event_log.report([failed(Load(), 1), failed(Load(), 2)], NOW)
    event_log.answered(Load(), Ledger((), ()), NOW + 9)
    assert "shard_id" not in log.lines[-1][2]
    assert log.lines[-1][2]["seconds"] == 9.0


def test_of_several_rows_in_one_call_all_must_be_written() -> None:
    log = Log()
    event_log = EventLog(log, MeterLog())
    write = WriteRows(lease(), ())
    event_log.report([failed(write, attempt, lease()) for attempt in (1, 2)], NOW)
    log.lines.clear()
    event_log.answered(write, [Done(), CallFailed(FailureKind.NETWORK, "down")], NOW + 1)
    assert log.lines == []
    event_log.answered(write, [Done(), Done()], NOW + 2)
    assert [event for _, event, _ in log.lines] == ["call.recovered"]


@pytest.mark.parametrize(
    "gone", [events.LeaseLost(lease(), OTHER), events.LeaseReleased(lease()), events.ShardEnded(lease(), (), ())]
)
def test_an_outage_ends_silently_with_its_lease(gone: events.Event) -> None:
    log = Log()
    event_log = EventLog(log, MeterLog())
    read = Read(lease(), "it", "5", None, 9)
    event_log.report([failed(read, attempt, lease()) for attempt in (1, 2)], NOW)
    event_log.report([gone], NOW)
    event_log.answered(read, IteratorExpired(), NOW + 2)
    assert "call.recovered" not in [event for _, event, _ in log.lines]


# --- floods ---


def test_a_flood_has_a_few_lines_per_reason_and_one_for_the_rest_per_interval() -> None:
    log = Log()
    event_log = EventLog(log, MeterLog())
    event_log.show_status(STATUS, None, NOW)
    event_log.report([committed(*(poison(number) for number in range(1, 9)))], NOW)
    alone = [fields["sequence_number"] for _, event, fields in log.lines if event == "record.quarantined"]
    assert alone == [sequence_number(number) for number in range(1, 6)]
    log.lines.clear()
    event_log.show_status(STATUS, None, NOW + SUMMARY_SECONDS)
    flood = {"reason": "score_type", "records": 3, "sequence_number": sequence_number(8), "shard_id": BOUND["shard_id"]}
    assert log.lines[0][2]["quarantined"] == 8
    assert log.lines[1:] == [("warning", "quarantine.flood", flood)]
    event_log.report([committed(poison(9))], NOW + SUMMARY_SECONDS)
    assert [event for _, event, _ in log.lines].count("record.quarantined") == 1, "the next interval has lines again"


# --- the start position ---

START = StreamStart(ARN, None, (), complete=True)
TIME = datetime.fromtimestamp(NOW + 30, UTC)


@pytest.mark.parametrize(
    ("position", "floor", "unused"),
    [
        (None, None, False),
        (None, NOW, False),
        ("TRIM_HORIZON", None, False),
        ("TRIM_HORIZON", NOW, True),
        ("LATEST", None, True),
        ("LATEST", NOW - 301, True),
        ("LATEST", NOW - 299, False),
        (TIME, None, True),
        (TIME, NOW, False),
        (TIME, NOW + 31, True),
        (TIME, NOW - 31, True),
    ],
)
def test_a_given_start_position_that_the_stream_does_not_have_is_a_warning_once(
    position: StartPosition | None, floor: float | None, unused: bool
) -> None:
    log = Log()
    event_log = EventLog(log, MeterLog(), start_position=position)
    listed = events.StreamListed(build_shards(1, {}), replace(START, start_time=floor))
    event_log.report([listed, listed], NOW)
    warned = [fields for _, event, fields in log.lines if event == "stream.start_position_unused"]
    assert len(warned) == unused
    if unused:
        assert warned[0]["floor"] == floor
        assert warned[0]["start_position"] == ("2026-01-31T12:00:30Z" if position == TIME else position)


def test_a_start_position_that_has_its_effect_is_no_warning() -> None:
    log = Log()
    event_log = EventLog(log, MeterLog(), start_position=TIME)
    event_log.report([events.StreamStarted(ARN, NOW, ("a",))], NOW)
    event_log.report([events.StreamListed(build_shards(1, {}), replace(START, start_time=NOW - 100))], NOW)
    assert "warning" not in [level for level, _, _ in log.lines]


def test_lines_hold_no_data_of_a_player() -> None:
    lines, _ = report(committed(game(1, "secret-player"), poison(2)))
    assert "secret-player" not in repr(lines)
    assert "foo" not in repr(lines)


def test_the_gap_before_a_successor_of_a_stream_is_an_error_and_counted() -> None:
    lines, measured = report(events.StreamStarted(ARN, None, ("a",), "before"))
    assert lines[1:] == [("error", "stream.gap", {"stream_arn": ARN, "predecessor": "before", "certain": False})]
    assert measured == [("gap",)]


@pytest.mark.parametrize("event", [events.StreamGone(ARN), events.LedgerChanged()])
def test_an_event_for_the_machines_alone_is_no_line(event: events.Event) -> None:
    assert report(event) == ([], [])


def test_a_stream_that_halts_is_logged_once_and_when_it_does_not_any_more() -> None:
    log = Log()
    event_log = EventLog(log, MeterLog())
    halted = replace(STATUS, stream_halts=(StreamHalt(StreamHaltReason.OFF, "it is off"),))
    named = replace(STATUS, stream_halts=(StreamHalt(StreamHaltReason.OFF, "there is a newer one"),))
    for status in (STATUS, halted, halted, named, named, STATUS, STATUS):
        event_log.show_status(status, None, NOW)
    assert log.lines == [
        ("error", "stream.halted", {"reason": "off", "detail": "it is off"}),
        ("error", "stream.halted", {"reason": "off", "detail": "there is a newer one"}),
        ("info", "stream.resumed", {"reason": "off"}),
    ]

"""The status as an operator and as a machine see it."""

import json
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO

import pytest

from consumer.cli.output import to_json
from consumer.cli.status import duration, print_status, status_fields
from consumer.domain.breaker import Circuit, HaltReason, Symptom
from consumer.domain.leases import Ledger, Shard, StreamStart, TableBinding
from consumer.domain.marks import writes_of
from consumer.domain.membership import HeartbeatReport, LateShard, Members, code_of, latest
from consumer.domain.operator_ports import Gap, LeaseTable
from consumer.domain.replies import ListedShard
from consumer.operations.status import Limits, Scope, Status, status
from tests.support.builders import ARN, ME, OTHER, SYMPTOM, build_shards, finished, row, sequence_number, shard

NOW = 1_769_900_000.0

SCOPE = Scope("GameEvents", attributes=("playerId", "score", "timestamp"), endpoints=("http://127.0.0.1:8000",))
BINDING = TableBinding(ARN, SCOPE.lease_table, "Leaderboards")
REPLAY = {
    "leaseKey": "replay#label/shard-1#Board",
    "state": "running",
    "games": "7",
    "position": "5",
    "to": "9",
}


def incident() -> Status:
    """0 is finished; of its children 1 is halted, 2 is missing and 3 is worked; 4 waits for 3; 5 is alone."""
    rows = (
        replace(finished(0, 1, 2, 3), created=NOW - 9),
        replace(
            row(1, owner=ME, parent=0, created=NOW - 9),
            circuit=Circuit(halted_at=NOW - 5.25, had_game=True, symptom=SYMPTOM),
        ),
        row(3, owner=ME, parent=0, created=NOW - 9, checkpoint=sequence_number(7)),
        row(5, created=NOW - 5000, checkpoint=sequence_number(3)),
    )
    late = (LateShard(code_of(shard(1)), 8.0),)
    report = HeartbeatReport(5, 2, 1, 8.0, NOW - 1.5, late=late)
    members = Members(3, {ME: report, OTHER: HeartbeatReport(9, 0, 0, 0.0, NOW - 100)})
    gaps = (Gap(ARN, "shard-5", "77", None, "possible", "2026-01-31T12:00:00.000Z"),)
    table = LeaseTable(
        Ledger(rows, (StreamStart(ARN, None, ("shard-0", "shard-5"), complete=True),)),
        members,
        (REPLAY, REPLAY | {"state": "finished"}),
    )
    return status(table, [build_shards(6, {0: [1, 2, 3], 3: 4})], gaps, 12, NOW, 5, (BINDING,), SCOPE)


def shown(status: Status, capsys: pytest.CaptureFixture[str], *, everything: bool = False) -> list[str]:
    """The lines that are printed where stdout is no terminal."""
    print_status(status, Limits(), everything=everything)
    return capsys.readouterr().out.splitlines()


def test_the_verdict_comes_first_and_the_worst_shards_before_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(incident(), capsys) == [
        "halted",
        "source      GameEvents in eu-west-1, account 123456789012",
        "board       Leaderboards",
        "endpoint    http://127.0.0.1:8000",
        "records     by playerId, score, timestamp, as this command is set",
        "lag         unknown, at most 1 h 23 min",
        "data loss   in 22 h 36 min at the earliest",
        "quarantine  12 pending",
        "gaps        1",
        f"gap         shard {shard(5)}: from 77 to not known yet, loss possible, found 2026-01-31T12:00:00.000Z",
        f"halted      {shard(1)}: {incident().halted[0].circuit.cause}; next: `consumer resume {shard(1)}`",
        f"halted      {shard(2)}: its row is missing; next: `consumer checkpoint set`",
        "writes      transactions (GameEvents is not keyed by the player)",
        "replay      label/shard-1#Board: 7 games, behind 5 of 9",
        "worker      w2/b: owns 0, 0 behind, heartbeat 1 min 40 s ago: too old to rely on",
        "worker      w1/a: owns 2, 1 behind by up to 8 s, heartbeat 1 s ago",
        "shards      6: 1 finished, 1 healthy, 1 waiting for their parents not shown, --all",
        "  shard-1  halted   9 s               w1/a",
        "  shard-2  missing  up to 9 s         none",
        "  shard-5  unowned  up to 1 h 23 min  none",
    ]


def test_a_shard_that_is_halted_for_a_mark(capsys: pytest.CaptureFixture[str]) -> None:
    symptom = Symptom(HaltReason.MARK_UNKNOWN, "the row of player 'a b' has a mark", sequence_number(1), "a b")
    halted = replace(row(1, owner=ME, created=NOW), circuit=Circuit(halted_at=NOW - 5, symptom=symptom))
    reported = status(LeaseTable(Ledger((halted,), ()), Members(0, {})), [], (), 0, NOW, 5)
    line = f"halted      {shard(1)}: {symptom.detail}; next: `consumer resume {shard(1)} --accept-mark 'a b'`"
    assert line in shown(reported, capsys)
    fields = json.loads(to_json(status_fields(reported, Limits())))["shards"][0]
    assert (fields["haltReason"], fields["haltDetail"], fields["haltPlayer"]) == ("mark_unknown", symptom.detail, "a b")


def test_how_games_are_written(capsys: pytest.CaptureFixture[str]) -> None:
    starts = (
        StreamStart(ARN, None, ("shard-0",), complete=True),
        StreamStart(f"{ARN}1", None, ("shard-0",), complete=True, keyed=True),
        StreamStart(f"{ARN}2", None, ("shard-0",), complete=True, keyed=True),
        StreamStart(f"{ARN}3", None, ("shard-0",), complete=True, protocol=1),
        StreamStart(f"{ARN}4", None, (), complete=True, keyed=True),
    )
    rows = tuple(replace(row(), shard=Shard(start.stream_arn, "shard-0"), created=NOW) for start in starts[:4])
    listings = [
        replace(build_shards(1, {}), stream_arn=start.stream_arn, partition_key=key)
        for start, key in zip(starts, ("gameId", "playerId"), strict=False)
    ]
    reported = status(LeaseTable(Ledger(rows, starts), Members(0, {})), listings, (), 0, NOW, 5)
    assert [line for line in shown(reported, capsys) if line.startswith("writes")] == [
        "writes      stream 2026-01-01T00:00:00.000: transactions (GameEvents is keyed by gameId, not by the player)",
        "writes      stream 2026-01-01T00:00:00.0001: marked writes (GameEvents is keyed by playerId)",
        "writes      stream 2026-01-01T00:00:00.0002: marked writes (GameEvents is keyed by the player)",
        f"writes      stream 2026-01-01T00:00:00.0003: {writes_of(starts[3], None)}",
    ]
    assert json.loads(to_json(status_fields(reported, Limits())))["streams"][1] == {
        "streamArn": f"{ARN}1",
        "writes": "marked",
        "why": "GameEvents is keyed by playerId",
    }


def test_a_worker_of_another_protocol(capsys: pytest.CaptureFixture[str]) -> None:
    members = Members(0, {ME: HeartbeatReport(5, as_of=NOW - 1), OTHER: HeartbeatReport(9, as_of=NOW - 1, protocol=1)})
    reported = status(LeaseTable(Ledger((), ()), members), [], (), 0, NOW, 5)
    mine, other = [line for line in shown(reported, capsys) if line.startswith("worker")]
    assert mine.endswith("heartbeat 1 s ago")
    assert other.endswith("heartbeat 1 s ago, protocol 1: beside it workers of protocol 2 claim nothing")


def test_all_shards_and_workers(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(incident(), capsys, everything=True)[16:] == [
        "shards      6",
        "  shard-1  halted    9 s               w1/a",
        "  shard-2  missing   up to 9 s         none",
        "  shard-4  waiting   unknown           none",
        "  shard-5  unowned   up to 1 h 23 min  none",
        "  shard-0  finished  -                 none",
        "  shard-3  running   0 s               w1/a",
    ]


class Screen(StringIO):
    """A terminal, as far as a program asks."""

    def isatty(self) -> bool:
        return True


def on_screen(
    status: Status, monkeypatch: pytest.MonkeyPatch, *, again: bool = False, everything: bool = False
) -> list[str]:
    """The lines on a terminal of 80 columns and 24 lines."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    monkeypatch.setenv("TERM", "xterm")
    screen = Screen()
    monkeypatch.setattr("sys.stdout", screen)
    print_status(status, Limits(), everything=everything, again=again)
    return screen.getvalue().rpartition("\x1b[H")[2].splitlines()


def crowd() -> Status:
    """22 shards with ids as AWS writes them, each later than the one before, of two workers."""
    stream = StreamStart(ARN, None, (), complete=True)
    shards = [Shard(ARN, f"shardId-0000000176990{number:07}-f55eea83") for number in range(22)]
    rows = tuple(
        replace(row(0, (ME, OTHER)[at % 2], checkpoint=sequence_number(at)), shard=name, created=NOW - 600 * at)
        for at, name in enumerate(shards)
    )
    late = [LateShard(code_of(name), 600.0 * at) for at, name in enumerate(shards)]
    reports = {
        owner: HeartbeatReport(7, 11, 11 - (at == 0), 600.0 * (20 + at), NOW, late=latest(late[at::2]))
        for at, owner in enumerate((ME, OTHER))
    }
    listing = replace(build_shards(0, {}), shards=tuple(ListedShard(name.shard_id, None) for name in shards))
    return status(LeaseTable(Ledger(rows, (stream,)), Members(1, reports)), [listing], (), 0, NOW, 5, (BINDING,), SCOPE)


@pytest.mark.parametrize("options", [{}, {"again": True}, {"again": True, "everything": True}])
def test_the_verdict_never_scrolls_off_the_screen(options: dict[str, bool], monkeypatch: pytest.MonkeyPatch) -> None:
    lines = on_screen(crowd(), monkeypatch, **options)
    assert len(lines) == 23, "the cursor stands on the last one"
    assert max(map(len, lines)) <= 80
    assert lines[0] == "behind"
    rows = [line for line in lines if line.startswith("  ")]
    assert rows[0].split()[:3] == ["shardId-00000001769900000021-f55eea83", "running", "3"], "the worst, whole"
    assert rows[0].endswith("w2/b")
    how = "without --watch" if options.get("everything") else "--all"
    assert lines[-1] == f"... {len(status_lines(crowd(), options)) - 22} more lines, {how}"


def status_lines(status: Status, options: dict[str, bool]) -> list[str]:
    """All that there would be without a screen."""
    with redirect_stdout(StringIO()) as out:
        print_status(status, Limits(), everything=options.get("everything", False))
    return out.getvalue().splitlines()


def test_all_is_all_where_the_screen_may_scroll(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = on_screen(crowd(), monkeypatch, everything=True)
    assert sum(line.startswith("  shardId-") for line in lines) == 22


def test_a_sentence_that_is_too_long_goes_on_below_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = on_screen(incident(), monkeypatch)
    at = next(number for number, line in enumerate(lines) if line.startswith("halted      "))
    assert lines[at + 1].startswith(" " * 12)
    assert max(map(len, lines)) <= 80


def test_many_workers_are_counted_and_the_silent_ones_come_first(capsys: pytest.CaptureFixture[str]) -> None:
    reports = {f"w{number}/a": HeartbeatReport(1, as_of=NOW - 1) for number in range(9)}
    reports["w7/a"] = HeartbeatReport(1, as_of=NOW - 60)
    reported = status(LeaseTable(Ledger((), ()), Members(0, reports)), [], (), 0, NOW, 5)
    lines = [line for line in shown(reported, capsys) if line.startswith("worker")]
    assert (len(lines), lines[0].startswith("worker      w7/a"), lines[-1]) == (5, True, "workers     5 more, --all")
    assert len([line for line in shown(reported, capsys, everything=True) if line.startswith("worker")]) == 9


def test_nothing_is_said_of_a_stream_that_no_worker_has_begun(capsys: pytest.CaptureFixture[str]) -> None:
    unread = status(LeaseTable(Ledger((), ()), Members(0, {})), [build_shards(2, {})], (), 0, NOW, 5, (), SCOPE)
    assert shown(unread, capsys) == [
        "no worker",
        "source      GameEvents in eu-west-1, account 123456789012",
        "board       not known: no worker has begun to read",
        "endpoint    http://127.0.0.1:8000",
        "records     by playerId, score, timestamp, as this command is set",
        "lag         unknown: nothing shows how far the stream is read (2 shards)",
        "data loss   unknown: what was not read for 24 hours is lost",
        "quarantine  0 pending",
        "gaps        0",
        "unread      no worker has begun to read stream 2026-01-01T00:00:00.000 of GameEvents",
        "workers     none: nothing is read; next: `consumer run`",
        "shards      2",
        "  shard-0  waiting  unknown  none",
        "  shard-1  waiting  unknown  none",
    ]
    fields = status_fields(unread, Limits())
    assert (fields["lagSeconds"], fields["lagAtMostSeconds"], fields["retentionHeadroomSeconds"]) == (None, None, None)


def test_a_missing_row_leaves_the_lag_unknown_and_the_others_are_said_apart(capsys: pytest.CaptureFixture[str]) -> None:
    start = StreamStart(ARN, None, ("shard-0", "shard-1"), complete=True)
    rows = (row(1, created=NOW - 90, checkpoint=sequence_number(1)),)
    table = LeaseTable(Ledger(rows, (start,)), Members(0, {}))
    lines = shown(status(table, [build_shards(2, {})], (), 0, NOW, 5, (BINDING,), SCOPE), capsys)
    assert lines[5:8] == [
        "lag         unknown: nothing shows how far the stream is read (1 shard)",
        "data loss   unknown: what was not read for 24 hours is lost",
        "others      lag at most 1 min 30 s, data loss in 23 h 58 min at the earliest",
    ]
    assert lines[-2:] == ["  shard-0  missing  unknown           none", "  shard-1  unowned  up to 1 min 30 s  none"]


def test_a_quarantine_table_of_another_stream_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    table = LeaseTable(Ledger((), (StreamStart(ARN, None, (), complete=True),)), Members(0, {}))
    reported = status(table, [], (), 0, NOW, 5, (), SCOPE)
    wrong = "unknown: table consumer-quarantine does not know stream 2026-01-01T00:00:00.000."
    assert f"quarantine  {wrong} Is CONSUMER_QUARANTINE_TABLE right?" in shown(reported, capsys)
    fields = status_fields(reported, Limits())
    assert (fields["quarantinePending"], fields["openGaps"], fields["unboundStreams"]) == (None, None, [ARN])


def test_the_shape_for_machines() -> None:
    reported = json.loads(to_json(status_fields(incident(), Limits())))
    assert reported["verdict"] == "halted"
    assert (reported["lagSeconds"], reported["lagAtMostSeconds"], reported["retentionHeadroomSeconds"]) == (
        None,
        5000.0,
        81_400.0,
    )
    assert (reported["quarantinePending"], reported["halted"], reported["unreadStreams"]) == (
        12,
        [str(shard(1)), str(shard(2))],
        [],
    )
    assert reported["replays"] == [REPLAY]
    assert reported["gaps"] == [
        {
            "gap": f"{shard(5)}/77",
            "streamArn": ARN,
            "shardId": "shard-5",
            "from": "77",
            "to": None,
            "loss": "possible",
            "foundAt": "2026-01-31T12:00:00.000Z",
            "acknowledgedAt": None,
            "acknowledgedBy": None,
            "acknowledgeReason": None,
        }
    ]
    assert reported["openGaps"] == 1
    assert reported["workers"][0] == {
        "owner": ME,
        "workerId": "w1",
        "shards": 2,
        "behind": 1,
        "unknown": 0,
        "lagSeconds": 8.0,
        "beat": 5,
        "beatSecondsAgo": 1.5,
        "fresh": True,
        "protocol": 2,
        "rules": None,
    }
    assert reported["shards"][1] == {
        "shardId": "shard-1",
        "streamArn": ARN,
        "state": "halted",
        "owner": ME,
        "epoch": 7,
        "checkpoint": "TRIM_HORIZON",
        "lagSeconds": 9.0,
        "atMostSeconds": None,
        "parentShardId": "shard-0",
        "childShardIds": [],
        "rules": None,
        "waitsForRules": False,
        "waitsForStream": False,
        "haltedAt": NOW - 5.25,
        "haltReason": "score_type",
        "haltDetail": "score is wrong",
        "haltExample": sequence_number(1),
        "haltPlayer": None,
    }
    assert [each["state"] for each in reported["shards"]] == [
        "finished",
        "halted",
        "missing",
        "running",
        "waiting",
        "unowned",
    ]
    assert reported["shards"][3]["childShardIds"] == ["shard-4"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.9, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (3600, "1 h 0 min"), (90_000, "25 h 0 min"), (-61, "-1 min 1 s")],
)
def test_a_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


EMPTIED = (
    "lease table consumer-leases does not know it any more. Restore the table from a backup; only if there is none: "
    "`consumer init --adopt`"
)
ANOTHER = (
    "its lease table is leases, not consumer-leases. Is CONSUMER_LEASE_TABLE right? Only if consumer-leases has taken "
    "the other one's place: `consumer init --adopt`"
)


@pytest.mark.parametrize(("lease_table", "why"), [(SCOPE.lease_table, EMPTIED), ("leases", ANOTHER)])
def test_a_lost_ledger(lease_table: str, why: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The harmless cure comes first."""
    table, binding = LeaseTable(Ledger((), ()), Members(0, {})), TableBinding(ARN, lease_table, "board")
    reported = status(table, [build_shards(1, {})], (), 0, NOW, 5, (binding,), SCOPE)
    assert status_fields(reported, Limits())["strangeStreams"] == [ARN]
    lines = shown(reported, capsys)
    assert lines[0] == "halted"
    assert lines[5:7] == [
        "lag         unknown: nothing shows how far the stream is read (1 shard)",
        "data loss   unknown: what was not read for 24 hours is lost",
    ]
    assert f"halted      stream 2026-01-01T00:00:00.000: {why}" in lines

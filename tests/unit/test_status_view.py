"""The status as an operator and as a machine see it."""

import json
from dataclasses import replace

import pytest

from consumer.cli.output import to_json
from consumer.cli.status import duration, print_status, status_fields
from consumer.domain.breaker import Circuit, HaltReason, Symptom
from consumer.domain.leases import Ledger, Shard, StreamStart, TableBinding
from consumer.domain.marks import writes_of
from consumer.domain.membership import HeartbeatReport, Members
from consumer.domain.operator_ports import Gap, LeaseTable
from consumer.operations.status import Limits, Status, status
from tests.support.builders import ARN, ME, OTHER, SYMPTOM, build_shards, finished, row, sequence_number, shard

NOW = 1_769_900_000.0

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
        row(5, created=NOW - 5000),
    )
    members = Members(
        3, {ME: HeartbeatReport(5, 2, 1, 8.0, NOW - 1.5), OTHER: HeartbeatReport(9, 0, 0, 0.0, NOW - 100)}
    )
    gaps = (Gap(ARN, "shard-5", "77", None, "possible", "2026-01-31T12:00:00.000Z"),)
    table = LeaseTable(
        Ledger(rows, (StreamStart(ARN, None, ("shard-0", "shard-5"), complete=True),)),
        members,
        (REPLAY, REPLAY | {"state": "finished"}),
    )
    return status(table, [build_shards(6, {0: [1, 2, 3], 3: 4})], gaps, 12, NOW, 5)


def test_a_tree_with_finished_shards_folded(capsys: pytest.CaptureFixture[str]) -> None:
    print_status(incident(), Limits(), all_shards=False)
    assert capsys.readouterr().out.splitlines() == [
        "halted",
        "lag         unknown, at most 1 h 23 min",
        "data loss   in 22 h 36 min at the earliest",
        "quarantine  12 pending",
        "gaps        1",
        f"  shard {shard(5)}: from 77 to not known yet, loss possible, found 2026-01-31T12:00:00.000Z",
        "writes      transactions (GameEvents is not keyed by the player)",
        f"halted      {shard(1)}: {incident().halted[0].circuit.cause}; next: `consumer resume`",
        f"halted      {shard(2)}: its row is missing; next: `consumer checkpoint set`",
        "replay      label/shard-1#Board: 7 games, behind 5 of 9",
        "worker      w1/a: owns 2, 1 behind by up to 8 s, heartbeat 1 s ago",
        "worker      w2/b: owns 0, 0 behind, heartbeat 1 min 40 s ago: too old to rely on",
        "stream 2026-01-01T00:00:00.000 (1 finished shards not shown: --all)",
        "├── shard-1  halted  owner w1/a, epoch 7, at TRIM_HORIZON  lag 9 s",
        "├── shard-2  missing  lag unknown, at most 9 s",
        f"├── shard-3  running  owner w1/a, epoch 7, at {sequence_number(7)}  lag 9 s",
        "│   └── shard-4  waiting",
        "└── shard-5  unowned  owner none, epoch 7, at TRIM_HORIZON  lag unknown, at most 1 h 23 min",
    ]


def test_a_shard_that_is_halted_for_a_mark(capsys: pytest.CaptureFixture[str]) -> None:
    symptom = Symptom(HaltReason.MARK_UNKNOWN, "the row of player 'a b' has a mark", sequence_number(1), "a b")
    halted = replace(row(1, owner=ME, created=NOW), circuit=Circuit(halted_at=NOW - 5, symptom=symptom))
    reported = status(LeaseTable(Ledger((halted,), ()), Members(0, {})), [], (), 0, NOW, 5)
    print_status(reported, Limits(), all_shards=False)
    line = f"halted      {shard(1)}: {symptom.detail}; next: `consumer resume {shard(1)} --accept-mark 'a b'`"
    assert line in capsys.readouterr().out.splitlines()
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
    print_status(reported, Limits(), all_shards=False)
    shown = [line for line in capsys.readouterr().out.splitlines() if line.startswith("writes")]
    assert shown == [
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
    print_status(status(LeaseTable(Ledger((), ()), members), [], (), 0, NOW, 5), Limits(), all_shards=False)
    mine, other = [line for line in capsys.readouterr().out.splitlines() if line.startswith("worker")]
    assert mine.endswith("heartbeat 1 s ago")
    assert other.endswith("heartbeat 1 s ago, protocol 1: beside it workers of protocol 2 claim nothing")


def test_all_of_the_tree(capsys: pytest.CaptureFixture[str]) -> None:
    print_status(incident(), Limits(), all_shards=True)
    drawn = capsys.readouterr().out.splitlines()
    assert drawn[12:15] == [
        "stream 2026-01-01T00:00:00.000",
        "├── shard-0  finished",
        "│   ├── shard-1  halted  owner w1/a, epoch 7, at TRIM_HORIZON  lag 9 s",
    ]


def test_a_long_line_of_descent_is_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    """A thousand roll-overs: nothing recurses here; rich draws as deep as it can."""
    reported = status(
        LeaseTable(Ledger((), ()), Members(0, {})),
        [build_shards(60, {number: number + 1 for number in range(59)})],
        (),
        0,
        NOW,
        5,
    )
    print_status(reported, Limits(), all_shards=False)
    assert len([line for line in capsys.readouterr().out.splitlines() if "waiting" in line]) == 60


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


def test_a_lost_ledger(capsys: pytest.CaptureFixture[str]) -> None:
    table, binding = LeaseTable(Ledger((), ()), Members(0, {})), TableBinding(ARN, "leases", "board")
    reported = status(table, [build_shards(1, {})], (), 0, NOW, 5, (binding,))
    assert status_fields(reported, Limits())["strangeStreams"] == [ARN]
    print_status(reported, Limits(), all_shards=False)
    first, lag, loss, *_ = lines = capsys.readouterr().out.splitlines()
    assert (first, lag) == ("halted", "lag         unknown, at most 24 h 0 min")
    assert loss == "data loss   in 0 s at the earliest"
    assert (
        "halted      stream 2026-01-01T00:00:00.000: lease table leases started it, this one does not know it; "
        "next: `consumer init --adopt`"
    ) in lines

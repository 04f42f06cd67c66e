"""What the tables hold, item by item: workers of other versions, commands and operators read it too."""

from dataclasses import replace
from typing import Any

from consumer.aws.commits import size_of as item_size
from consumer.aws.items import lease_item, lease_row, report_value
from consumer.domain.accepted_rules import Reading
from consumer.domain.breaker import Circuit
from consumer.domain.leases import TRIM_HORIZON, Adoption, Lease, LeaseRow, Shard, StreamStart
from consumer.domain.membership import MOST_NAMED, HeartbeatReport, LateShard
from consumer.domain.records import Rules, pack
from consumer.domain.replies import Committed, Done
from consumer.domain.windows import Kind, WindowKind
from tests.contract.dynamo_subject import DynamoSubject
from tests.contract.subject import unit
from tests.support.builders import (
    ARN,
    CREATED,
    ME,
    OTHER,
    commit_plain,
    game,
    lease,
    plain_rows,
    poison,
    row,
    sequence_number,
    shard,
    wire,
)

LABEL = "2026-01-01T00:00:00.000"


def leases(dynamo: DynamoSubject) -> dict[str, Any]:
    """The lease table by `leaseKey`."""
    return {item["leaseKey"]["S"]: item for item in dynamo.items(dynamo.names.leases)}


def quarantine(dynamo: DynamoSubject) -> dict[tuple[str, str], Any]:
    """The quarantine table by `shardId` and `sequenceNumber`."""
    return {(item["shardId"]["S"], item["sequenceNumber"]["S"]): item for item in dynamo.items(dynamo.names.quarantine)}


def test_a_started_stream(dynamo: DynamoSubject) -> None:
    dynamo.ledgers.record_stream_start(
        StreamStart(ARN, CREATED + 0.5, ("shard-0", "shard-1"), complete=False, keyed=True),
        None,
        CREATED,
        Rules(windows=((WindowKind.DAY, 2), (WindowKind.MONTH, 1)), time_zone="Europe/Berlin"),
    )
    stream_start = {
        "leaseKey": {"S": f"stream#{LABEL}"},
        "streamArn": {"S": ARN},
        "floor": {"N": "1769860800.5"},
        "rootShards": {"L": [{"S": "shard-0"}, {"S": "shard-1"}]},
        "keyed": {"BOOL": True},
        "protocol": {"N": "2"},
        "pinComplete": {"BOOL": False},
        "pinnedAt": {"N": "1769860800"},
    }
    rules = {
        "playerAttribute": {"S": "playerId"},
        "scoreAttribute": {"S": "score"},
        "timestampAttribute": {"S": "timestamp"},
        "timestampFormat": {"S": "iso"},
        "maxFutureSeconds": {"N": "86400"},
        "windows": {"M": {"day": {"N": "2"}, "month": {"N": "1"}}},
        "timeZone": {"S": "Europe/Berlin"},
    }
    source = {
        "leaseKey": {"S": "source"},
        "sourceTable": {"S": ARN.partition("/stream/")[0]},
        "rules": {"L": [{"M": rules}]},
    }
    assert leases(dynamo) == {f"stream#{LABEL}": stream_start, "source": source}
    assert dynamo.items(dynamo.names.quarantine) == [
        {
            "shardId": {"S": "#birth"},
            "sequenceNumber": {"S": LABEL},
            "streamArn": {"S": ARN},
            "leaseTable": {"S": dynamo.names.leases},
            "leaderboardTable": {"S": dynamo.names.leaderboard},
        }
    ]
    dynamo.ledgers.complete_stream_start(ARN)
    assert leases(dynamo)[f"stream#{LABEL}"] == stream_start | {"pinComplete": {"BOOL": True}}


def test_a_stream_started_at_its_horizon_has_no_start_time(dynamo: DynamoSubject) -> None:
    dynamo.ledgers.record_stream_start(StreamStart(ARN, None, (), complete=False), None, CREATED)
    assert "floor" not in leases(dynamo)[f"stream#{LABEL}"]


def test_the_life_of_a_shards_row(dynamo: DynamoSubject) -> None:
    dynamo.create_root_rows(row())
    key = f"shard#{LABEL}#shard-0"
    expected: dict[str, Any] = {
        "leaseKey": {"S": key},
        "streamArn": {"S": ARN},
        "shardId": {"S": "shard-0"},
        "leaseEpoch": {"N": "7"},
        "checkpoint": {"S": "TRIM_HORIZON"},
        "hadGame": {"BOOL": False},
        "ignoredCorrections": {"BOOL": False},
    }
    assert leases(dynamo)[key] == expected

    windows = {WindowKind.DAY: Kind(2), WindowKind.WEEK: Kind(1, CREATED + 0.25)}
    dynamo.ledgers.claim(row(), lease(epoch=8), Reading(3, windows))
    expected |= {"leaseOwner": {"S": ME}, "leaseEpoch": {"N": "8"}, "rules": {"N": "3"}}
    kept = {"day": {"M": {"kept": {"N": "2"}}}, "week": {"M": {"kept": {"N": "1"}, "since": {"N": "1769860800.25"}}}}
    expected |= {"windows": {"M": kept}}
    assert leases(dynamo)[key] == expected

    commit_plain(dynamo.commits, lease(epoch=8), unit(game(1)))
    expected |= {"checkpoint": {"S": sequence_number(1)}, "checkpointCreatedAt": {"N": "1769860801"}}
    expected |= {"hadGame": {"BOOL": True}}
    assert leases(dynamo)[key] == expected

    dynamo.ledgers.release(lease(epoch=8))
    assert leases(dynamo)[key] == {name: value for name, value in expected.items() if name != "leaseOwner"}

    dynamo.ledgers.claim(row(epoch=8), Lease(shard(), OTHER, 9), Reading(4))
    expected |= {"rules": {"N": "4"}, "windows": {"M": {}}}
    child = LeaseRow(shard(1), OTHER, 9, TRIM_HORIZON, parent="shard-0", created=CREATED + 1, rules=4)
    dynamo.commits.end(Lease(shard(), OTHER, 9), sequence_number(1), ("shard-1",), (child,))
    expected |= {"leaseOwner": {"S": OTHER}, "leaseEpoch": {"N": "9"}, "checkpoint": {"S": "SHARD_END"}}
    expected |= {"childShardIds": {"L": [{"S": "shard-1"}]}}
    assert leases(dynamo)[key] == expected
    assert leases(dynamo)[f"shard#{LABEL}#shard-1"] == {
        "leaseKey": {"S": f"shard#{LABEL}#shard-1"},
        "rules": {"N": "4"},
        "windows": {"M": {}},
        "streamArn": {"S": ARN},
        "shardId": {"S": "shard-1"},
        "leaseOwner": {"S": OTHER},
        "leaseEpoch": {"N": "9"},
        "checkpoint": {"S": "TRIM_HORIZON"},
        "hadGame": {"BOOL": False},
        "ignoredCorrections": {"BOOL": False},
        "checkpointCreatedAt": {"N": "1769860801"},
        "parentShardId": {"S": "shard-0"},
    }

    finished = row(owner=OTHER, epoch=9, checkpoint="SHARD_END", children=("shard-1",))
    dynamo.ledgers.mark_unlisted(finished, CREATED + 0.5)
    assert leases(dynamo)[key] == expected | {"unlistedSince": {"N": "1769860800.5"}}
    dynamo.ledgers.mark_unlisted(replace(finished, unlisted_since=CREATED + 0.5), None)
    assert leases(dynamo)[key] == expected
    dynamo.ledgers.adopt(Adoption(finished, (LeaseRow(shard(2), None, 9, TRIM_HORIZON, parent="shard-0"),)))
    assert leases(dynamo)[key] == expected | {"childShardIds": {"L": [{"S": "shard-1"}, {"S": "shard-2"}]}}


def test_members_are_one_item(dynamo: DynamoSubject) -> None:
    dynamo.membership.send_heartbeat(ME, HeartbeatReport(3, 2, 1, 1.5, CREATED), joining=True, bump=True)
    dynamo.membership.send_heartbeat(OTHER, HeartbeatReport(1), joining=True, bump=True)
    numbers = {"beat": "3", "shards": "2", "behind": "1", "lagSeconds": "1.5", "asOf": "1769860800", "unknown": "0"}
    fields = {name: {"N": digits} for name, digits in numbers.items()} | {"protocol": {"N": "2"}}
    other = {name: {"N": "0"} for name in fields} | {"beat": {"N": "1"}, "protocol": {"N": "2"}}
    members = {"leaseKey": {"S": "members"}, "changes": {"N": "2"}, f"worker#{ME}": {"M": fields}}
    assert dynamo.items(dynamo.names.leases) == [members | {f"worker#{OTHER}": {"M": other}}]
    assert dynamo.membership.leave(OTHER) == Done()
    assert dynamo.items(dynamo.names.leases) == [members | {"changes": {"N": "3"}}]


def size_of(value: dict[str, str]) -> int:
    """The bytes that AWS counts: half of a number's digits and one, or the text's own; and one per value."""
    digits = value.get("N", "").replace(".", "")
    return 1 + ((len(digits) + 1) // 2 + 1 if digits else len(value["S"]))


def test_a_worker_takes_less_than_200_bytes_of_the_members() -> None:
    """Each heartbeat writes the whole item, and AWS bills its size."""
    late = tuple(LateShard(f"abcdef0{number}", 86_399.2, known=False) for number in range(MOST_NAMED))
    report = HeartbeatReport(10**6, 500, 500, 86_399.123, CREATED + 0.123, 500, late=late, rules=99)
    fields = report_value(report)["M"]
    assert fields["late"] == {"S": " ".join(f"{each.code}:86400?" for each in late)}
    name = "worker#ip-10-0-12-34.ec2.internal-1/abcdef01"
    assert len(name) + 3 + sum(len(field) + size_of(value) for field, value in fields.items()) < 200


def test_a_shards_row_takes_less_than_1_kb() -> None:
    """A commit, a claim and a heartbeat's TTL are one write unit each."""
    windows = {kind: Kind(31, CREATED + 0.123) for kind in WindowKind}
    shards = [f"shardId-00000001769860800000-{number:08x}" for number in range(4)]
    stored = LeaseRow(
        Shard(ARN.replace("GameEvents", "a-table-with-a-long-name-of-fifty-characters-or-so"), shards[0]),
        "ip-10-0-12-34.eu-west-1.compute.internal-12345/abcdef01",
        2 * 10**9,
        "9" * 40,
        shards[1],
        tuple(shards[2:]),
        CREATED + 0.123,
        CREATED + 0.123,
        Circuit(resumes=99, had_game=True),
        99,
        windows,
    )
    item = lease_item(stored) | {"recentPoison": {"S": "f" * 50}, "freeTo": {"S": "9" * 40}}
    assert item_size(item) < 1_024
    assert lease_row(lease_item(stored)) == stored


def test_a_players_row(dynamo: DynamoSubject) -> None:
    dynamo.create_root_rows(row(owner=ME))
    games = unit(game(1, score="0.5"), game(2, score="-1E+3", date="2026-02-01"))
    assert dynamo.commits.commit(lease(), games, plain_rows(games), fills_gap=False) == Committed()
    (item,) = dynamo.items(dynamo.names.leaderboard)
    assert item == {
        "playerId": {"S": "foo"},
        "gamesPlayed": {"N": "2"},
        "totalScore": {"N": "-999.5"},
        "lastPlayedDate": {"S": "2026-02-01"},
    }


def test_a_quarantined_record_is_a_head_row_and_its_parts(dynamo: DynamoSubject) -> None:
    dynamo.create_root_rows(row(owner=ME))
    packed = pack(wire(1, score=None))[0]
    parted = poison(1, parts=(packed[:20], packed[20:]))
    without_player = poison(2)._replace(player=None)
    assert commit_plain(dynamo.commits, lease(), unit(parted, without_player)) == Committed()
    rows = quarantine(dynamo)
    entry = {
        "shardId": {"S": "shard-0"},
        "sequenceNumber": {"S": sequence_number(1)},
        "state": {"S": "pending"},
        "reason": {"S": "score_type"},
        "detail": {"S": "score is wrong"},
        "playerId": {"S": "foo"},
        "quarantinedAt": {"S": "2026-01-31T12:01:00.000Z"},
        "createdAt": {"N": "1769860801"},
        "streamArn": {"S": ARN},
        "parts": {"N": "2"},
        "pendingShardId": {"S": "shard-0"},
    }
    assert rows.pop(("shard-0", sequence_number(1))) == entry
    for number, part in enumerate(parted.parts, start=1):
        key = f"{sequence_number(1)}#{number}"
        assert rows.pop(("shard-0", key)) == {
            "shardId": {"S": "shard-0"},
            "sequenceNumber": {"S": key},
            "record": {"B": part},
        }
    assert "playerId" not in rows.pop(("shard-0", sequence_number(2)))
    assert set(rows) == {("shard-0", f"{sequence_number(2)}#1"), ("#birth", LABEL)}


def test_a_gap_row_between_two_streams(dynamo: DynamoSubject) -> None:
    dynamo.ledgers.record_stream_start(
        StreamStart(ARN, None, (), complete=False), ARN.replace("2026-01-01", "2025-12-31"), CREATED + 0.25
    )
    key = ("#gap", f"{LABEL}/2025-12-31T00:00:00.000")
    assert quarantine(dynamo)[key] == {
        "shardId": {"S": key[0]},
        "sequenceNumber": {"S": key[1]},
        "streamArn": {"S": ARN},
        "from": {"S": "2025-12-31T00:00:00.000"},
        "to": {"S": LABEL},
        "loss": {"S": "possible"},
        "foundAt": {"S": "2026-01-31T12:00:00.250Z"},
    }


def test_roots_found_late(dynamo: DynamoSubject) -> None:
    stream_start = StreamStart(ARN, None, ("shard-1",), complete=True)
    dynamo.ledgers.record_stream_start(stream_start, None, CREATED)
    dynamo.ledgers.adopt(Adoption(stream_start, (row(created=CREATED),)))
    assert leases(dynamo)[f"stream#{LABEL}"]["rootShards"] == {"L": [{"S": "shard-0"}, {"S": "shard-1"}]}


def test_a_gap_row(dynamo: DynamoSubject) -> None:
    dynamo.create_root_rows(row(owner=ME))
    dynamo.commits.record_gap(shard(), TRIM_HORIZON, CREATED + 0.25)
    key = ("#gap", f"{LABEL}/shard-0/TRIM_HORIZON")
    expected = {
        "shardId": {"S": key[0]},
        "sequenceNumber": {"S": key[1]},
        "streamArn": {"S": ARN},
        "shard": {"S": "shard-0"},
        "from": {"S": "TRIM_HORIZON"},
        "loss": {"S": "possible"},
        "foundAt": {"S": "2026-01-31T12:00:00.250Z"},
    }
    assert quarantine(dynamo)[key] == expected
    filling = unit(game(5))
    dynamo.commits.commit(lease(), filling, plain_rows(filling), fills_gap=True)
    filled = expected | {"to": {"S": sequence_number(5)}}
    assert quarantine(dynamo)[key] == filled

    dynamo.delete_gap(shard(), TRIM_HORIZON)
    dynamo.delete_row(shard())
    dynamo.create_root_rows(row(owner=ME))
    dynamo.commits.commit(lease(), filling, plain_rows(filling), fills_gap=True)
    assert quarantine(dynamo)[key] == filled | {"foundAt": {"S": "2026-01-31T12:01:00.000Z"}}

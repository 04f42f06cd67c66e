"""Marked writes where another shard, another version or an operator comes in between: no game is lost or repeated."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.streams_server import Remote, StreamsServer, build_shards
from tests.streams_server.remote import undrained
from tests.support.background import Background
from tests.support.engines import TableEngine
from tests.support.processes import Game, Proxy, WorkerProcess, consumer, until
from tests.support.processes.committed_shard import OWNER, CommittedShard
from tests.support.processes.game import Item

TTL = "1"


@pytest.fixture
def server(engine: TableEngine) -> Iterator[StreamsServer]:
    with StreamsServer(engine.url) as server:
        yield server


@pytest.fixture
def remote(server: StreamsServer) -> Remote:
    return server.remote


@pytest.fixture
def game(engine: TableEngine, server: StreamsServer) -> Iterator[Game]:
    with Game(replace(engine, url=server.url)) as game:
        yield game


def drained(game: Game, remote: Remote, *streams: str) -> None:
    """Waits until every shard of these streams is committed; without streams: of the newest one."""
    arns = streams or (remote.streams()[-1],)
    until(
        lambda: not [left for arn in arns for left in undrained(remote.shards(arn), game.rows("lease"), arn)],
        "every shard is committed",
    )


def marks(game: Game) -> dict[str, str | None]:
    """The shard of each row's mark."""
    return {row["playerId"]["S"]: row.get("appliedShard", {}).get("S") for row in game.rows("leaderboard")}


def games_of(game: Game, number: int, players: int = 8) -> list[Item]:
    """Games of a few players, which the expected board has."""
    made = [game.make(f"player-{position % players}") for position in range(number)]
    for item in made:
        game.expected.count(item)
    return made


def append(game: Game, remote: Remote, shards: list[str], number: int = 40, stream: str | None = None) -> None:
    """Games of the same players in each of these shards."""
    remote.append({shard: games_of(game, number) for shard in shards}, stream=stream)


# --- shards ---


def two_roots(game: Game, remote: Remote) -> list[str]:
    """The game's stream gets two shards; their ids."""
    (arn,) = remote.streams()
    remote.disable()
    remote.remove_stream(arn)
    remote.create_stream(game.tables["source"], build_shards(2))
    return [shard.shard_id for shard in remote.shards()]


def two_workers(game: Game, proxy: Proxy | None = None) -> list[WorkerProcess]:
    """Each owns one of two shards; the calls of the first, w1, go through the proxy."""
    workers = [
        game.worker(through, worker_id=name, lease_ttl_seconds=TTL) for name, through in (("w1", proxy), ("w2", None))
    ]
    until(
        lambda: len({row["leaseOwner"]["S"] for row in game.rows("lease") if "leaseOwner" in row}) == 2,
        "each owns a shard",
    )
    return workers


@pytest.mark.timeout(60)
def test_a_player_whose_games_are_split_over_two_live_shards(game: Game, remote: Remote) -> None:
    """Each of two workers owns one of the shards; then one of the shards ends, and its child goes on."""
    left, right = two_roots(game, remote)
    workers = two_workers(game)
    for _ in range(4):
        append(game, remote, [left, right])
    drained(game, remote)
    owners = {mark and mark.rpartition("/")[2] for mark in marks(game).values()}
    assert owners <= {left, right}, "the mark stays with the shard that made it"
    game.assert_exact()

    (child,) = remote.split(left, 1)
    for _ in range(4):
        append(game, remote, [child, right])
    drained(game, remote)
    game.assert_exact()
    for worker in workers:
        assert worker.terminate().code == 0


@pytest.mark.timeout(60)
def test_a_row_that_another_shard_marks_while_a_transaction_is_in_flight(game: Game, remote: Remote) -> None:
    """Rows without marks get their first one in a transaction. The later one is refused, and finds the other's mark."""
    two_roots(game, remote)
    for item in (game.make(f"player-{number}") for number in range(8)):
        game.expected.count(item)
        row = game.expected.rows[item["playerId"]["S"]]
        stored = {"gamesPlayed": {"N": str(row.games)}, "totalScore": {"N": str(row.total)}}
        stored |= {"playerId": item["playerId"], "lastPlayedDate": {"S": row.date}}
        game.client.put_item(TableName=game.tables["leaderboard"], Item=stored)
    with Proxy(game.engine.url) as proxy:
        workers = two_workers(game, proxy)
        late, first = sorted(
            (row for row in game.rows("lease") if "shardId" in row), key=lambda row: row["leaseOwner"]["S"]
        )
        held = proxy.hold(lambda call: call.operation == "TransactWriteItems" and b'"playerId"' in call.body)
        append(game, remote, [late["shardId"]["S"]])
        held.wait_caught()
        append(game, remote, [first["shardId"]["S"]])
        until(lambda: None not in marks(game).values(), "the other shard's marks")
        held.let_go()
        assert held.call is not None
        assert not held.call.applied
        drained(game, remote)
        game.assert_exact()
        for worker in workers:
            assert worker.terminate().code == 0


@pytest.mark.timeout(60)
def test_a_stream_that_is_switched_off_and_on(game: Game, remote: Remote) -> None:
    """Beside the old stream's open shards the games of the new one leave the marks alone; afterwards they take over."""
    source = game.tables["source"]
    (old,) = remote.streams()
    append(game, remote, [remote.shards(old)[0].shard_id], stream=old)
    worker = game.worker(lease_ttl_seconds=TTL)
    drained(game, remote, old)
    assert worker.terminate().code == 0
    append(game, remote, [remote.shards(old)[0].shard_id], stream=old)
    remote.disable(old)
    new = remote.create_stream(source, build_shards(2))
    append(game, remote, [shard.shard_id for shard in remote.shards(new)], stream=new)
    worker = game.worker(lease_ttl_seconds=TTL)
    drained(game, remote, old, new)
    game.assert_exact()
    append(game, remote, [shard.shard_id for shard in remote.shards(new)], stream=new)
    drained(game, remote, new)
    game.assert_exact()
    label = new.rpartition("/")[2]
    assert {mark and mark.partition("/")[0] for mark in marks(game).values()} == {label}, "the new stream took over"
    assert worker.terminate().code == 0


# --- version 0.1 ---


class OldWorker(Background):
    """A member as version 0.1 wrote it, whose heartbeat number grows until `stop` is set."""

    def __init__(self, game: Game) -> None:
        super().__init__()
        self._game = game

    def run(self) -> None:
        number = 1
        while not self.stop.wait(0.1):
            number += 1
            write_member(self._game, number)


def write_member(game: Game, number: int) -> None:
    """A heartbeat of OWNER."""
    report = {"beat": number, "shards": 1, "behind": 0, "lagSeconds": 0, "asOf": 1_790_000_000, "unknown": 0}
    game.client.update_item(
        TableName=game.tables["lease"],
        Key={"leaseKey": {"S": "members"}},
        UpdateExpression="SET #worker = :report ADD changes :one",
        ExpressionAttributeNames={"#worker": f"worker#{OWNER}"},
        ExpressionAttributeValues={
            ":report": {"M": {name: {"N": str(value)} for name, value in report.items()}},
            ":one": {"N": "1"},
        },
    )


@pytest.fixture
def old(game: Game) -> CommittedShard:
    """Tables as version 0.1 left them: the stream's row, its binding, a lease with an owner, a member."""
    shard = CommittedShard(game)
    arn = game.stream_arn
    label = arn.rpartition("/")[2]
    row = {
        "leaseKey": {"S": f"stream#{label}"},
        "streamArn": {"S": arn},
        "rootShardIds": {"L": [{"S": shard.shard.shard_id}]},
        "pinComplete": {"BOOL": True},
        "pinnedAt": {"N": "1790000000.5"},
    }
    binding = {
        "shardId": {"S": "#birth"},
        "sequenceNumber": {"S": label},
        "streamArn": {"S": arn},
        "leaseTable": {"S": game.tables["lease"]},
        "leaderboardTable": {"S": game.tables["leaderboard"]},
    }
    game.client.put_item(TableName=game.tables["lease"], Item=row)
    game.client.put_item(TableName=game.tables["quarantine"], Item=binding)
    write_member(game, 1)
    return shard


def stream_row(game: Game) -> Item:
    """The stream's row."""
    (row,) = [row for row in game.rows("lease") if row["leaseKey"]["S"].startswith("stream#")]
    return row


def play(game: Game, shard: CommittedShard) -> None:
    """Games that version 0.1 commits, by plain transactions without marks; some of them are poison."""
    game.play(150, 20, poison=0.05)
    shard.commit()


@pytest.mark.timeout(60)
def test_a_board_of_version_0_1_goes_on(game: Game, remote: Remote, old: CommittedShard) -> None:
    """Its last worker died with the lease. A row gets its first mark in a transaction; then single writes follow."""
    play(game, old)
    assert set(marks(game).values()) == {None}
    game.play(150, 20, poison=0.05)  # no worker has committed these
    worker = game.worker(lease_ttl_seconds=TTL)
    drained(game, remote)
    game.assert_exact()
    row = stream_row(game)
    assert "rootShardIds" not in row, "no worker of version 0.1 can read it"
    assert row["rootShards"] == {"L": [{"S": old.shard.shard_id}]}
    assert (row["keyed"], row["protocol"], row["pinnedAt"]) == ({"BOOL": True}, {"N": "2"}, {"N": "1790000000.5"})
    game.play(150, 20, poison=0.05)
    drained(game, remote)
    game.assert_exact()
    assert set(marks(game).values()) == {str(old.shard)}
    assert worker.terminate().code == 0


@pytest.mark.timeout(60)
def test_a_worker_of_version_0_1_beside_a_new_one(game: Game, remote: Remote, old: CommittedShard) -> None:
    """While it lives it counts alone, and the new one says that it waits for its end."""
    play(game, old)
    with OldWorker(game):
        worker = game.worker(lease_ttl_seconds=TTL)
        until(lambda: "another protocol" in worker.get("/readyz")[1], "readiness names the other worker")
        code, text = worker.get("/readyz")
        assert code == 503
        assert OWNER in text
        for _ in range(5):
            play(game, old)
        lease = game.lease()
        assert lease is not None
        assert lease["leaseOwner"]["S"] == OWNER
        assert not worker.events("lease.claimed")
        game.assert_exact()
    game.play(150, 20, poison=0.05)
    drained(game, remote)
    game.assert_exact()
    until(lambda: worker.get("/readyz")[0] == 200, "the new worker is ready")
    assert worker.terminate().code == 0


# --- operators ---


@pytest.mark.timeout(60)
@pytest.mark.parametrize("split", [False, True], ids=["open", "split"])
@pytest.mark.parametrize("back", [0, 100], ids=["to the beginning", "to the middle"])
def test_a_lost_lease_row_that_is_made_again_further_back(game: Game, remote: Remote, back: int, split: bool) -> None:
    """The marks say which games are counted: marks of the shard itself, and of its children."""
    game.play(200, 20, poison=0.05)
    worker = game.worker()
    drained(game, remote)
    first = remote.shards()[0].shard_id
    if split:
        remote.split(first)
        game.play(50, 20, poison=0.05)
        drained(game, remote)
    assert worker.terminate().code == 0
    game.client.delete_item(TableName=game.tables["lease"], Key=_key_of(game, first))
    game.play(50, 20, poison=0.05)
    position = remote.records()[first][back - 1]["dynamodb"]["SequenceNumber"] if back else "TRIM_HORIZON"
    ended = consumer("checkpoint", "set", first, position, "--yes", environment=game.environment())
    assert ended.returncode == 0, ended.stderr
    worker = game.worker()
    drained(game, remote)
    game.assert_exact()
    until(lambda: worker.get("/readyz")[0] == 200, "the worker is ready")
    assert _records(worker.get("/metrics")[1], "already_settled") == 200 - back, "they were read again"
    assert worker.terminate().code == 0


def _key_of(game: Game, shard_id: str) -> dict[str, Any]:
    (key,) = [row["leaseKey"] for row in game.rows("lease") if row.get("shardId", {}).get("S") == shard_id]
    return {"leaseKey": key}


def _records(metrics: str, outcome: str) -> float:
    line = f'leaderboard_consumer_records_total{{outcome="{outcome}"}} '
    return sum(float(found.removeprefix(line)) for found in metrics.splitlines() if found.startswith(line))

"""A recorded installation: every call to AWS that a worker and an operator make, made once."""

import json
import threading
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from consumer.aws.items import BINDING, quarantine_key
from consumer.aws.tables import LEADERBOARD_KEYS, DynamoTables
from tests.deploy.iam import Need, needs_of
from tests.streams_server import Remote, StreamsServer, shard_id
from tests.streams_server.remote import undrained
from tests.support.engines import TableEngine, make_old_quarantine_table
from tests.support.processes import Call, Game, Proxy, WorkerProcess, consumer, until
from tests.support.processes.sts import Sts


class Rehearsal:
    """An installation whose processes are recorded, each by a proxy of its own. Use it in a `with`."""

    def __init__(self, ministack_url: str) -> None:
        self._ministack_url = ministack_url
        self._stack = ExitStack()
        self._calls: dict[str, list[list[Call]]] = {}

    def __enter__(self) -> Self:
        self._server = self._stack.enter_context(StreamsServer(self._ministack_url))
        self.remote: Remote = self._server.remote
        engine = replace(TableEngine("ministack", self._ministack_url), url=self._server.url)
        self.game = self._stack.enter_context(Game(engine, made=False))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def account_arn(self) -> str:
        """What the ARNs of tables begin with."""
        return self.game.stream_arn.partition("/")[0]

    @property
    def placeholders(self) -> dict[str, str]:
        """The values of the policies' placeholders."""
        _, partition, _, region, account, _ = self.account_arn.split(":")
        aws = {"AWS::Partition": partition, "AWS::Region": region, "AWS::AccountId": account}
        tables = {f"{table.capitalize()}Table": name for table, name in self.game.tables.items()}
        return {**aws, **tables, "OtherTable": self.other_table}

    @property
    def other_table(self) -> str:
        """A leaderboard that a replay counts into."""
        return self.game.tables["leaderboard"] + "-other"

    @property
    def needs(self) -> dict[str, set[Need]]:
        """The needs so far by process: `run`, or a command's words without its arguments."""
        return {
            process: set[Need]().union(*(needs_of(calls, self.account_arn) for calls in recorded))
            for process, recorded in self._calls.items()
        }

    @property
    def operations(self) -> set[str]:
        """All operations that were called."""
        return {call.operation for recorded in self._calls.values() for calls in recorded for call in calls}

    def worker(self, **settings: str) -> WorkerProcess:
        """Starts `consumer run`."""
        quick = {"lease_ttl_seconds": "1", "idle_poll_interval_seconds": "0.1", **settings}
        return self._stack.enter_context(WorkerProcess(self._environment("run", **quick)))

    def command(self, name: str, *arguments: str, code: int = 0, **settings: str) -> Any:
        """Runs a command to its end; its output, parsed with --json."""
        environment = self._environment(name, **{"lease_ttl_seconds": "1", **settings})
        entry = HASTY if name == "verify" else CONSUMER
        ended = consumer(*name.split(), *arguments, environment=environment, entry=entry)
        assert ended.returncode == code, f"{name} {arguments}: {ended.returncode}: {ended.stderr[-6000:]}"
        return json.loads(ended.stdout) if "--json" in arguments else ended.stdout

    def wait_until_read(self) -> None:
        """Waits until the newest stream is read to its end."""
        arn = self.remote.streams()[-1]
        until(lambda: not undrained(self.remote.shards(arn), self.game.rows("lease"), arn), "everything is read")

    def _environment(self, process: str, **settings: str) -> dict[str, str]:
        """The environment of a process whose calls are recorded."""
        proxy = self._stack.enter_context(Proxy(self._server.url))
        identity = self._stack.enter_context(Sts())
        self._calls.setdefault(process, []).extend((proxy.calls, identity.calls))
        return self.game.environment(proxy, **settings) | {"AWS_ENDPOINT_URL_STS": identity.url}


_DAY_SECONDS = 86_400
CONSUMER = ("-m", "consumer")
HASTY = ("-m", "tests.support.processes.hasty")
_STILL_POISON_CODE = 4


def rehearse(it: Rehearsal) -> None:
    """Everything that happens to an installation, in a minute."""
    it.command("init")
    _update_an_old_table(it)
    it.command("init")
    first = it.worker(worker_id="w1")
    first.wait_for_event("worker.joined")
    _count_and_split(it)
    _check_the_mark_of_another_shard(it)
    _accept_an_unknown_mark(it, first)
    _examine_refused_game(it)
    _refuse_every_game(it, first)
    _flood(it, first)
    assert first.terminate().code == 0
    _lose_trimmed_records(it)
    _take_over(it)
    _recreate_row(it)
    _forget(it)
    _switch_the_stream_on_again(it)
    _read_everything(it)
    _resolve_quarantine(it)
    _replay(it)
    _adopt(it)
    _correct(it)


def _update_an_old_table(it: Rehearsal) -> None:
    """The quarantine table is one of version 0.1, with a pending record, and a worker is started before `init` is."""
    name = it.game.tables["quarantine"]
    it.game.client.delete_table(TableName=name)
    make_old_quarantine_table(it.game.client, name)
    row = {**quarantine_key("shardId-old", "1" * 21), "state": {"S": "pending"}, "reason": {"S": "refused"}}
    it.game.client.put_item(TableName=name, Item=row)
    worker = it.worker(worker_id="w1")
    worker.wait_for_event("quarantine.index_missing")
    worker.wait_for_event("worker.joined")
    assert worker.terminate().code == 0
    it.command("init")


def _count_and_split(it: Rehearsal) -> None:
    it.game.play(60, 20, poison=0.1)
    it.remote.split(0)
    it.game.play(60, 20)
    it.wait_until_read()


def _check_the_mark_of_another_shard(it: Rehearsal) -> None:
    """Poison of players whose rows are marked by one of the two open shards: those of the other shard are checked."""
    label = it.remote.streams()[-1].rpartition("/")[2]
    mark = {"appliedShard": {"S": f"{label}/{shard_id(1)}"}, "appliedTo": {"S": "1" * 21}, "appliedAt": {"N": "1"}}
    players = [f"shared-{number}" for number in range(8)]
    for player in players:
        row = {"playerId": {"S": player}, **mark}
        it.game.client.put_item(TableName=it.game.tables["leaderboard"], Item=row)
    it.game.put([it.game.make(player) | {"score": {"S": "12"}} for player in players])
    it.wait_until_read()


def _accept_an_unknown_mark(it: Rehearsal, worker: WorkerProcess) -> None:
    """A row whose mark names a shard of no ledger and no listing."""
    mark = {"appliedShard": {"S": f"another/{shard_id(1)}"}, "appliedTo": {"S": "1" * 21}}
    row = {"playerId": {"S": "stranger"}, **mark, "appliedAt": {"N": "9999999999"}}
    it.game.client.put_item(TableName=it.game.tables["leaderboard"], Item=row)
    it.game.put([it.game.make("stranger")])
    shard = worker.wait_for_event("shard.halted")["shard_id"]
    it.command("resume", shard, "--accept-mark", "stranger", "--yes")
    it.wait_until_read()


def _examine_refused_game(it: Rehearsal) -> None:
    """A total that is not a number: its player's game is refused alone, and examined."""
    row = {"playerId": {"S": "refused-player"}, "totalScore": {"S": "many"}}
    it.game.client.put_item(TableName=it.game.tables["leaderboard"], Item=row)
    it.game.put([it.game.make("refused-player")])
    it.wait_until_read()


def _refuse_every_game(it: Rehearsal, worker: WorkerProcess) -> None:
    """An index whose key has another type: the worker tries other rows before it blames a game."""
    index = {
        "IndexName": "by-score",
        "KeySchema": [{"AttributeName": "totalScore", "KeyType": "HASH"}],
        "Projection": {"ProjectionType": "ALL"},
    }
    table = it.game.tables["leaderboard"]
    it.game.client.update_table(
        TableName=table,
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("playerId", "totalScore")],
        GlobalSecondaryIndexUpdates=[{"Create": index}],
    )
    it.game.put([it.game.make("player-1")])
    worker.wait_for_event("call.retry_scheduled")
    it.game.client.update_table(TableName=table, GlobalSecondaryIndexUpdates=[{"Delete": {"IndexName": "by-score"}}])
    it.wait_until_read()


def _flood(it: Rehearsal, worker: WorkerProcess) -> None:
    it.game.put([it.game.make("player-1", "12") | {"score": {"S": "12"}} for _ in range(150)])
    shard = worker.wait_for_event("shard.halted", count=2)["shard_id"]
    it.command("resume", shard, "--quarantine-all", "--yes")
    it.wait_until_read()


def _lose_trimmed_records(it: Rehearsal) -> None:
    """While no worker runs, records are written and trimmed, and a shard splits; one of its children stays hidden."""
    it.game.play(60, 20)
    it.remote.trim(1)
    _, hidden = it.remote.split(2)
    it.remote.hide([hidden], 60)
    worker = it.worker(worker_id="w1")
    worker.wait_for_event("shard.gap")
    worker.wait_for_event("shard.ended")
    it.remote.hide([hidden], 0)
    worker.wait_for_event("shard.found_late")
    it.game.play(60, 20)
    it.wait_until_read()
    assert worker.terminate().code == 0


def _take_over(it: Rehearsal) -> None:
    """Two workers share; one is killed, the other claims its shards and evicts it. A shard rolls over."""
    one, other = it.worker(worker_id="w1"), it.worker(worker_id="w2")
    for worker in (one, other):
        worker.wait_for_event("lease.claimed")
    one.kill()
    other.wait_for_event("lease.claimed", count=len(it.remote.shards()) - 2)
    it.remote.split(1, 1)
    it.game.play(30, 20)
    it.wait_until_read()
    assert other.terminate().code == 0


def _recreate_row(it: Rehearsal) -> None:
    """The row of a shard was deleted by mistake."""
    worker = it.worker(worker_id="w1")
    row = next(row for row in it.game.rows("lease") if row.get("checkpoint", {}).get("S", "SHARD_END") != "SHARD_END")
    it.game.client.delete_item(TableName=it.game.tables["lease"], Key={"leaseKey": row["leaseKey"]})
    worker.wait_for_event("shard.halted")
    it.command("checkpoint set", row["shardId"]["S"], row["checkpoint"]["S"], "--yes")
    it.game.play(30, 20)
    it.wait_until_read()
    assert worker.terminate().code == 0


def _forget(it: Rehearsal) -> None:
    """Two days pass for the finished row of a shard that listings do not show any more."""
    it.remote.remove(0)
    worker = it.worker(worker_id="w1")
    key = f"shard#{it.remote.streams()[0].rpartition('/')[2]}#{shard_id(0)}"

    def marked() -> Any:
        return next(
            (row for row in it.game.rows("lease") if row["leaseKey"]["S"] == key and "unlistedSince" in row), None
        )

    since = float(until(marked, "the row is marked")["unlistedSince"]["N"])
    assert worker.terminate().code == 0
    it.game.client.update_item(
        TableName=it.game.tables["lease"],
        Key={"leaseKey": {"S": key}},
        UpdateExpression="SET unlistedSince = :then",
        ExpressionAttributeValues={":then": {"N": str(since - 3 * _DAY_SECONDS)}},
    )
    worker = it.worker(worker_id="w1")
    worker.wait_for_event("lease.forgotten")
    assert worker.terminate().code == 0


def _switch_the_stream_on_again(it: Rehearsal) -> None:
    """A second stream; and a worker starts with its ARN instead of the table's name."""
    worker = it.worker(worker_id="w1")
    worker.wait_for_event("worker.joined")
    it.remote.disable()
    it.remote.create_stream(it.game.tables["source"])
    worker.wait_for_event("stream.gap")
    other = it.worker(worker_id="w2", stream_arn=it.remote.streams()[-1])
    other.wait_for_event("worker.joined")
    later = datetime.now(UTC) + timedelta(days=5)
    it.game.put([it.game.make("early", timestamp=later.isoformat())])
    it.game.play(60, 20, poison=0.1)
    it.remote.split(0)
    it.game.play(30, 20)
    it.wait_until_read()
    for running in (worker, other):
        assert running.terminate().code == 0


def _read_everything(it: Rehearsal) -> None:
    it.command("status", "--json", code=10)  # no worker
    it.command("status", "--json", code=10, stream_arn=it.remote.streams()[-1])
    it.command("top", "--json")
    it.command("verify", "--timeout", "5", code=9)  # no worker reads on, and the first stream began from nothing known
    it.command("verify", "--player", "player-00001", "--timeout", "5", code=9)
    it.command("quarantine list", "--json")
    (gap, *_) = it.command("gaps list", "--json")
    it.command("gaps acknowledge", gap["gap"], "--because", "of a test", "--yes")
    it.command("audit-log", "--json")
    it.command("healthcheck", code=1, http_port="9")


def _resolve_quarantine(it: Rehearsal) -> None:
    first, second, *_ = it.command("quarantine list", "--json", "--reason", "score_type")
    one, two = ((entry["shardId"], entry["sequenceNumber"]) for entry in (first, second))
    it.command("quarantine show", *one, "--json")
    it.command("quarantine list", "--json", "--shard", one[0])
    it.command("quarantine list", "--shard", "another", code=5)
    it.command("checkpoint show", one[0], "--json")
    it.command("quarantine redrive", *one, "--set", "score=12", "--yes")
    it.command("quarantine redrive", "--reason", "score_type", "--set", "score=12", "--dry-run")
    it.command("quarantine redrive", "--player", "refused-player", "--yes", code=4)
    it.command("quarantine discard", *two, "--because", "of a test", "--yes")
    it.command("quarantine restore", *two, "--yes")
    it.command("quarantine discard", *two, "--because", "of a test", "--yes")
    it.command("quarantine discard", "--player", "refused-player", "--because", "of a test", "--yes")


def _replay(it: Rehearsal) -> None:
    """Replays a shard that has ended, with its children: in each mode, and into another table.

    By rules that allow for games that were dated too far ahead.
    """
    it.command("init --accept-rules", "--max-future-seconds", str(10 * _DAY_SECONDS), "--yes")
    shard = f"{it.remote.streams()[-1].rpartition('/')[2]}/{shard_id(0)}"
    everything = (shard, "--from", "TRIM_HORIZON", "--children")
    it.command("replay", *everything, "--yes", code=_STILL_POISON_CODE)
    it.command("replay", *everything, "--recount", "--dry-run")
    it.command("replay", *everything, "--recount", "--yes")
    DynamoTables(it.game.client, it.game.streams, threading.Event()).ensure(it.other_table, LEADERBOARD_KEYS)
    row = {"playerId": {"S": "early"}, "totalScore": {"S": "many"}}
    it.game.client.put_item(TableName=it.other_table, Item=row)
    it.command("replay --into", it.other_table, *everything, "--yes", code=_STILL_POISON_CODE)


def _adopt(it: Rehearsal) -> None:
    """Without a table binding; then with one but without the ledger."""
    bindings = [row for row in it.game.rows("quarantine") if row["shardId"]["S"] == BINDING]
    for row in bindings:
        key = {name: row[name] for name in ("shardId", "sequenceNumber")}
        it.game.client.delete_item(TableName=it.game.tables["quarantine"], Key=key)
    it.command("init --adopt", "--yes")
    for row in it.game.rows("lease"):
        it.game.client.delete_item(TableName=it.game.tables["lease"], Key={"leaseKey": row["leaseKey"]})
    it.command("init --adopt", "--yes")


def _correct(it: Rehearsal) -> None:
    """A ledger begins, on a stream with old images and by rules with corrections. Items are broken, mended and removed.

    A row refuses a game of a player; an operator mends the row, and counts the game.
    """
    it.remote.disable()
    it.remote.create_stream(it.game.tables["source"], view="NEW_AND_OLD_IMAGES")
    worker = it.worker(worker_id="w1", corrections="apply")
    worker.wait_for_event("worker.joined")
    games = [it.game.make(f"correct-{number}") for number in range(3)]
    for step in (games, [game | {"score": {"S": "12"}} for game in games], games):
        it.game.put(step)
        it.wait_until_read()
    key = {name: games[0][name] for name in ("playerId", "timestamp")}
    it.game.client.delete_item(TableName=it.game.tables["source"], Key=key)
    row = {"playerId": {"S": "refused-item"}, "totalScore": {"S": "many"}}
    it.game.client.put_item(TableName=it.game.tables["leaderboard"], Item=row)
    it.game.put([it.game.make("refused-item")])
    it.wait_until_read()
    it.game.client.put_item(TableName=it.game.tables["leaderboard"], Item={"playerId": row["playerId"]})
    it.command("quarantine redrive", "--player", "refused-item", "--yes", corrections="apply")
    it.command("verify", "--timeout", "5", code=9, corrections="apply")
    assert worker.terminate().code == 0

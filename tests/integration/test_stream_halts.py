"""A stream that is off, or has no images, is not healthy: readiness, metric, log and `status` say so, with the cure."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from tests.streams_server import Remote, StreamsServer
from tests.support.engines import TableEngine
from tests.support.processes import Game, WorkerProcess, consumer, until


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


def status(game: Game, **settings: Any) -> tuple[int, Any]:
    ended = consumer("status", "--json", environment=game.environment(**settings))
    assert ended.stderr == ""
    return ended.returncode, json.loads(ended.stdout)


@contextmanager
def pinned_only(game: Game) -> Iterator[None]:
    """What is started inside has no CONSUMER_SOURCE_TABLE."""
    source = game.tables.pop("source")
    yield
    game.tables["source"] = source


def assert_halted(worker: WorkerProcess, reason: str, *parts: str) -> None:
    """Readiness, the log and the metric say so."""
    until(lambda: parts[0] in worker.get("/readyz")[1], f"readiness names {parts[0]}")
    code, text = worker.get("/readyz")
    assert code == 503
    assert [part for part in parts if part not in text] == [], text

    def is_logged() -> bool:  # a thread writes the log: a line may come after readiness
        halts = [event for event in worker.events("stream.halted") if event["reason"] == reason]
        return any(event["level"] == "error" and parts[0] in event["detail"] for event in halts)

    until(is_logged, f"stream.halted says {reason}")
    assert f'leaderboard_consumer_stream_halted{{reason="{reason}"}} 1.0' in worker.get("/metrics")[1]


def consumed(game: Game) -> Callable[[], bool]:
    return lambda: sum(row.games for row in game.board().values()) == game.expected.games


def test_a_stream_that_is_left_off_is_not_healthy(game: Game, remote: Remote) -> None:
    source = game.tables["source"]
    game.play(20, 5)
    worker = game.worker()
    until(consumed(game), "all games are counted")
    assert 'stream_halted{reason="off"} 0.0' in worker.get("/metrics")[1]
    remote.disable()
    assert_halted(worker, "off", f"the stream of table {source} is off", "NEW_IMAGE")
    code, shown = status(game)
    assert (code, shown["verdict"]) == (12, "halted")
    assert f"stream of table {source} is off" in shown["haltedStreams"][0]
    assert worker.terminate().code == 0

    remote.create_stream(source)
    game.play(20, 5)
    worker = game.worker()
    until(consumed(game), "the new stream is read")
    assert worker.events("stream.halted") == []
    assert worker.terminate().code == 0
    game.assert_exact()


def test_a_pinned_stream_that_was_switched_off_and_on_names_the_newer_one(game: Game, remote: Remote) -> None:
    pinned = game.stream_arn
    game.play(20, 5)
    with pinned_only(game):
        worker = game.worker(stream_arn=pinned)
    until(consumed(game), "all games are counted")
    remote.disable()
    newer = remote.create_stream(game.tables["source"])
    game.play(20, 5)
    assert_halted(worker, "off", newer, pinned, "CONSUMER_STREAM_ARN")
    with pinned_only(game):
        code, shown = status(game, stream_arn=pinned)
    assert (code, newer in shown["haltedStreams"][0]) == (12, True)
    assert worker.terminate().code == 0

    with pinned_only(game):
        worker = game.worker(stream_arn=newer)
    until(consumed(game), "what the message says cures it")
    assert worker.terminate().code == 0
    game.assert_exact()


@pytest.mark.parametrize("pinned", [False, True], ids=["by table", "by ARN"])
def test_a_restart_with_the_stream_off_reads_what_is_left_and_waits(game: Game, remote: Remote, pinned: bool) -> None:
    """With a ledger; a first start is refused."""
    settings: dict[str, Any] = {"stream_arn": game.stream_arn} if pinned else {}
    game.play(20, 5)
    first = game.worker(**settings)
    until(consumed(game), "all games are counted")
    assert first.terminate().code == 0
    game.play(20, 5)
    remote.disable()
    worker = game.worker(**settings)
    until(consumed(game), "what was left is read")
    assert_halted(worker, "off", "is off")
    assert worker.terminate().code == 0
    game.assert_exact()


def test_a_restart_after_the_pinned_stream_is_gone_waits(game: Game, remote: Remote) -> None:
    """A day after it was switched off; without a ledger its ARN is a mistake."""
    pinned = game.stream_arn
    game.play(20, 5)
    first = game.worker(stream_arn=pinned)
    until(consumed(game), "all games are counted")
    remote.disable()
    first.wait_for_event("shard.ended")
    assert first.terminate().code == 0
    remote.remove_stream(pinned)
    worker = game.worker(stream_arn=pinned)
    assert_halted(worker, "off", "not found", pinned)
    assert worker.terminate().code == 0
    ended = game.worker(stream_arn=f"{pinned.rpartition('/')[0]}/2001-01-01T00:00:00.000").wait()
    assert ended.code == 3
    assert "does not exist" in ended.stderr


def test_a_first_start_with_the_stream_off_is_refused(game: Game, remote: Remote) -> None:
    remote.disable()
    ended = game.worker().wait()
    assert ended.code == 3
    assert f"the stream of table {game.tables['source']} is off" in ended.stderr


@pytest.mark.parametrize("view", ["KEYS_ONLY", pytest.param("OLD_IMAGE", marks=pytest.mark.proof)])
def test_a_successor_without_images_halts_and_the_stream_before_it_is_finished(
    game: Game, remote: Remote, view: str
) -> None:
    source = game.tables["source"]
    game.play(20, 5)
    first = game.worker()
    until(consumed(game), "all games are counted")
    assert first.terminate().code == 0
    game.play(20, 5)
    remote.disable()
    remote.create_stream(source, view=view)
    lost = [game.make("lost") for _ in range(5)]
    game.put(lost)
    worker = game.worker()
    until(consumed(game), "the old stream is finished")
    assert_halted(worker, "view_type", f"the view type {view}", "NEW_AND_OLD_IMAGES")
    code, shown = status(game)
    assert (code, f"the view type {view}" in shown["haltedStreams"][0]) == (12, True)
    assert [row for row in game.rows("quarantine") if row["shardId"]["S"][0] != "#"] == []
    assert worker.terminate().code == 0

    remote.disable()
    remote.create_stream(source, view="NEW_IMAGE")
    game.play(20, 5)
    worker = game.worker()
    until(consumed(game), "a stream with images is read")
    assert worker.terminate().code == 0
    game.assert_exact()


def test_a_first_start_without_images_is_refused(game: Game, remote: Remote) -> None:
    remote.disable()
    remote.create_stream(game.tables["source"], view="KEYS_ONLY")
    ended = game.worker().wait()
    assert ended.code == 3
    assert "the view type KEYS_ONLY" in ended.stderr


def test_where_corrections_are_to_count_a_first_start_without_old_images_is_refused(game: Game, remote: Remote) -> None:
    remote.disable()
    remote.create_stream(game.tables["source"], view="NEW_IMAGE")
    ended = game.worker(corrections="apply").wait()
    assert ended.code == 3
    assert "CONSUMER_CORRECTIONS=apply needs NEW_AND_OLD_IMAGES" in ended.stderr
    assert "A view type cannot be changed" in ended.stderr
    assert not game.rows("lease"), "nothing is written"


def test_where_corrections_count_a_later_stream_is_read_when_the_one_before_it_is_finished(
    game: Game, remote: Remote
) -> None:
    """The row of the older one is lost, so nothing shows that it is read to its end: until an operator puts it back."""
    source, both = game.tables["source"], "NEW_AND_OLD_IMAGES"
    remote.disable()
    older = remote.create_stream(source, view=both)
    game.play(20, 5)
    first = game.worker(corrections="apply")
    until(consumed(game), "all games are counted")
    assert first.terminate().code == 0
    counted = game.expected.games
    game.play(20, 5)
    remote.disable()
    remote.create_stream(source, view=both)
    game.play(20, 5)
    (lease,) = [row for row in game.rows("lease") if row.get("streamArn") == {"S": older} and "shardId" in row]
    game.client.delete_item(TableName=game.tables["lease"], Key={"leaseKey": lease["leaseKey"]})

    worker = game.worker(corrections="apply")
    worker.wait_for_event("stream.pinned")
    until(lambda: any(each["waitsForStream"] for each in status(game)[1]["shards"]), "the later stream waits")
    until(lambda: bool(worker.events("shard.halted")), "the lost row is seen")
    assert sum(row.games for row in game.board().values()) == counted
    assert worker.events("lease.claimed") == []
    name = f"{older.rpartition('/')[2]}/{lease['shardId']['S']}"
    command = ("checkpoint", "set", name, lease["checkpoint"]["S"], "--yes")
    assert consumer(*command, environment=game.environment()).returncode == 0
    until(consumed(game), "first the older stream, then the later one")
    claimed = [event["shard_id"].rpartition("/")[0] for event in worker.events("lease.claimed")]
    assert claimed == sorted(claimed)
    assert len(claimed) == 2
    assert worker.terminate().code == 0
    game.assert_exact()

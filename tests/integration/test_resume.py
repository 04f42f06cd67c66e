"""A producer's bug as an operator meets it: the shard halts before the flood, reports it, stays halted after a restart,
goes on with `resume --quarantine-all`, and `quarantine redrive --set` counts every game."""

import json
from collections.abc import Iterator

import pytest

from tests.streams_server import StreamsServer, build_shards, shard_id
from tests.support.engines import TableEngine
from tests.support.processes import Game, Terminal, WorkerProcess, consumer, until
from tests.support.processes.game import Item

LABEL = "2026-01-31T12:00:00.000"


@pytest.fixture
def game(engine: TableEngine) -> Iterator[Game]:
    with Game(engine) as game:
        yield game


def ended(game: Game, *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr."""
    done = consumer(*arguments, environment=game.environment())
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def bug(game: Game, records: int) -> list[Item]:
    """Games whose score is written as a string: 12, whatever it was."""
    items = [game.make(f"player-{number % 7}", "12") for number in range(records)]
    game.put([item | {"score": {"S": "12"}} for item in items])
    return items


@pytest.mark.proof
def test_an_incident(game: Game) -> None:
    game.play(40, 7)
    first = game.worker(poll_interval_seconds="0.05", lease_ttl_seconds="1")
    game.wait_until_consumed()
    spoiled = bug(game, 150)
    game.play(30, 7)

    halted = first.wait_for_event("shard.halted")
    pending = len(game.quarantined())
    assert 0 < pending < 100, "nothing of the flood is skipped, and most of it is not quarantined"
    cause = "most of its last records are poison, most often score_type: score is of type 'S'; it must be N (record "
    assert cause in halted["detail"]
    sentence = f"{halted['detail']}; fix the producer or the settings, next: `consumer resume {halted['shard_id']}`"
    until(lambda: sentence in first.get("/readyz")[1], "readiness reports it")
    assert first.get("/readyz")[0] == 503
    shard = halted["shard_id"]
    first.kill()

    second = game.worker(poll_interval_seconds="0.05", lease_ttl_seconds="1", idle_poll_interval_seconds="0.1")
    until(lambda: "consumer resume" in second.get("/readyz")[1], "the halt survives a restart")
    checkpoint = game.checkpoint()

    code, out, err = ended(game, "resume", shard)
    assert (code, out) == (4, "")
    assert "add --yes" in err
    code, out, err = ended(game, "resume", shard + "0", "--yes")
    assert (code, out) == (5, "")
    assert shard in err

    code, out, err = ended(game, "resume", shard, "--quarantine-all", "--yes", "--json")
    assert code == 0
    waiting = 180 - pending
    assert f"{waiting} records: 30 good and {waiting - 30} poison (score_type {waiting - 30})" in err
    last = game.played()[-1].sequence_number
    bare = shard.rpartition("/")[2]
    no_mark = dict.fromkeys(("playerId", "appliedShard", "appliedTo"))
    waited = {"records": waiting, "whole": True, "good": 30, "ignored": 0, "poison": {"score_type": waiting - 30}}
    assert json.loads(out) == {"shardId": bare, "checkpoint": checkpoint, "freeTo": last, **waited, **no_mark}
    second.wait_for_event("shard.resumed", 5.0)
    game.wait_until_consumed()
    assert len(game.quarantined()) == 150
    assert game.checkpoint() == last
    until(lambda: second.get("/readyz")[0] == 200, "ready again")
    lease = game.lease()
    assert lease is not None
    assert "freeTo" not in lease, "the breaker is armed again"

    code, out, err = ended(game, "resume", shard, "--yes")
    assert (code, out) == (4, "")
    assert "is not halted: nothing to resume" in err

    code, out, err = ended(game, "quarantine", "redrive", "--reason", "score_type", "--set", "score=12", "--yes")
    assert (code, out, err) == (0, "150 records counted\n", "")
    for item in spoiled:
        game.expected.count(item)
    assert game.board() == game.expected.rows

    code, out, err = ended(game, "audit-log", "--json")
    assert (code, err) == (0, "")
    actions = [row["act"] for row in json.loads(out)]
    assert actions == ["redrive"] * 150 + ["resume"]
    assert second.terminate().code == 0


def test_a_new_installation_with_a_wrong_attribute_name(game: Game) -> None:
    """40 of 40 records are poison: the shard halts before the 20th, and names what is there and the setting to mend."""
    game.play(40, 7)
    worker = game.worker(poll_interval_seconds="0.05", lease_ttl_seconds="1", score_attribute="points")
    halted = worker.wait_for_event("shard.halted")
    assert len(game.quarantined()) == 19
    shard, detail = halted["shard_id"], halted["detail"]
    assert detail.startswith(
        "it has had no good record yet, and too much poison, most often score_missing: the record has no points: "
        "it has playerId, score, timestamp"
    )
    assert "CONSUMER_SCORE_ATTRIBUTE" in detail
    until(lambda: detail in worker.get("/readyz")[1], "readiness says what to do")
    assert worker.get("/readyz")[0] == 503
    code, out, err = ended(game, "status")
    assert (code, err) == (12, "")
    assert f"{shard}: {detail}; next: `consumer resume {shard}`" in out
    assert worker.terminate().code == 0

    refused = game.worker().wait()
    assert (refused.code, "consumer init --accept-rules" in refused.stderr) == (4, True)
    assert ended(game, "init", "--accept-rules", "--yes")[0] == 0
    worker = game.worker(poll_interval_seconds="0.05", lease_ttl_seconds="1", idle_poll_interval_seconds="0.1")
    until(lambda: detail in worker.get("/readyz")[1], "the next worker reads why")
    code, _, err = ended(game, "resume", shard, "--yes")
    assert code == 0
    assert "21 records: 21 good and 0 poison\n" in err, "by the rules that are right now"
    code, out, err = ended(game, "quarantine", "redrive", "--reason", "score_missing", "--yes")
    assert (code, out, err) == (0, "19 records counted\n", "")
    game.wait_until_consumed()
    assert game.board() == game.expected.rows
    assert worker.terminate().code == 0


def test_a_plain_resume_halts_again_where_the_flood_goes_on(game: Game) -> None:
    game.play(3, 2)
    bug(game, 250)
    worker = game.worker(poll_interval_seconds="0.05", lease_ttl_seconds="1")
    shard = worker.wait_for_event("shard.halted")["shard_id"]
    assert len(game.quarantined()) == 99
    code, out, err = ended(game, "resume", shard, "--yes")
    assert code == 0
    assert "151 records: 0 good and 151 poison (score_type 151)" in err
    assert out.startswith(f"Shard {shard} goes on behind ")
    worker.wait_for_event("shard.halted", count=2)
    assert len(game.quarantined()) == 198
    ended(game, "resume", shard, "--yes")
    game.wait_until_consumed()
    assert len(game.quarantined()) == 250


def test_a_shard_without_a_row_is_for_checkpoint_set(game: Game) -> None:
    game.play(3, 2)
    worker = game.worker(lease_ttl_seconds="1")
    game.wait_until_consumed()
    lease = game.lease()
    assert lease is not None
    worker.kill()
    game.client.delete_item(TableName=game.tables["lease"], Key={"leaseKey": lease["leaseKey"]})
    code, out, err = ended(game, "resume", lease["shardId"]["S"], "--yes")
    assert (code, out) == (4, "")
    assert "has no row in the lease table" in err
    assert "next: `consumer checkpoint set " in err


@pytest.mark.timeout(120)
def test_an_operator_is_asked_with_numbers_reasons_and_an_example(game: Game) -> None:
    """On a terminal of 80 columns. A no changes nothing; what passes after a yes is what was shown."""
    game.play(3, 2)
    bug(game, 110)
    game.put([game.make("ada") | {"timestamp": {"S": "yesterday"}}])
    game.play(5, 2)
    worker = game.worker(poll_interval_seconds="0.05", lease_ttl_seconds="1")
    shard = worker.wait_for_event("shard.halted")["shard_id"]
    rows = [game.rows(table) for table in ("leaderboard", "quarantine")]
    question = "Let 5 good and 12 poison (score_type 11, timestamp_invalid 1) pass?"

    def answered(answer: str) -> tuple[int, str]:
        command = ("resume", shard, "--quarantine-all")
        with Terminal(*command, environment=game.environment(lease_ttl_seconds="1"), columns=80) as terminal:
            terminal.read_until("[y/N]")
            assert question in terminal.shown
            terminal.type(f"{answer}\n")
            return terminal.wait(), terminal.shown[terminal.shown.index("Shard ") :]

    assert answered("n")[0] == 4
    assert [game.rows(table) for table in ("leaderboard", "quarantine")] == rows
    code, text = answered("y")
    assert code == 0
    shown = text.partition("[y/N]: ")[0].splitlines()
    assert [line for line in shown if len(line) > 80] == []
    assert len(shown[-1]) <= 72, "and the answer"
    assert shown[:2] == [f"Shard {shard} is halted", f"  behind {game.played()[101].sequence_number}:"]
    at = shown.index("  17 records: 5 good and 12 poison (score_type 11, timestamp_invalid 1)")
    assert shown[at + 1] == f'  score_type: score is {{"S": "12"}}, as in record {game.played()[102].sequence_number}'
    assert shown[at + 2].startswith('  timestamp_invalid: timestamp is {"S": "yesterday"}, as in record')
    assert f"17 records up to {game.played()[-1].sequence_number} pass" in text
    game.wait_until_consumed()
    assert game.board() == game.expected.rows
    assert len(game.quarantined()) == 111


@pytest.mark.timeout(120)
def test_several_shards_and_all_of_them(ministack_url: str) -> None:
    """Three shards halt. Two are resumed by name, what is left by --all, and then there is none."""
    with StreamsServer(ministack_url) as server:
        game = Game(TableEngine("ministack", server.faultless_url))
        tree = build_shards(3)
        server.remote.create_stream(game.tables["source"], tree, label=LABEL, keys=("playerId", "timestamp"))
        with game:
            environment = game.environment(poll_interval_seconds="0.05", lease_ttl_seconds="1") | server.variables()
            good = [game.make(f"player-{number}") for number in range(3)]
            for number, item in enumerate(good):
                game.expected.count(item)
                spoiled = [game.make(f"player-{number}") | {"score": {"S": "12"}} for _ in range(25)]
                server.remote.append({number: [*spoiled, item]})
            with WorkerProcess(environment) as worker:
                worker.wait_for_event("shard.halted", count=3)

                def resume(*arguments: str) -> tuple[int, str, str]:
                    done = consumer("resume", *arguments, environment=environment)
                    return done.returncode, done.stdout, done.stderr

                code, out, err = resume("--all")
                assert (code, out) == (4, "")
                assert "Go on to 3 good and 18 poison (score_type 18) in 3 shards?" in err
                code, out, err = resume(shard_id(0), shard_id(1), "--quarantine-all", "--yes", "--json")
                assert code == 0, err
                assert [(row["shardId"], row["records"]) for row in json.loads(out)] == [
                    (shard_id(0), 7),
                    (shard_id(1), 7),
                ]
                code, out, err = resume("--all", "--quarantine-all", "--yes")
                assert (code, len(out.splitlines())) == (0, 1), err
                assert out.startswith(f"Shard {LABEL}/{shard_id(2)} goes on behind ")
                until(
                    lambda: sum("reason" in row for row in game.rows("quarantine")) == 75, "all poison is in quarantine"
                )
                until(lambda: game.board() == game.expected.rows, "all good games are counted")
                code, out, err = resume("--all", "--yes", "--json")
                assert (code, out) == (0, "[]\n")
                assert "No shard is halted" in err

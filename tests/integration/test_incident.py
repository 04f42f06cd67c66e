"""The runbook of an incident, played: its very commands, in a shell, over two workers whose producer deploys a bug.

What the runbook shows of a command's output is compared with what the command prints; only times differ.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from consumer.demo.child_process import spawn
from tests.streams_server import StreamsServer, build_shards, shard_id
from tests.support.engines import TableEngine
from tests.support.processes import Game, WorkerProcess, until
from tests.support.processes.game import Item

RUNBOOK = Path(__file__).parents[2] / "docs" / "incident.md"
LABEL = "2026-01-31T12:00:00.000"
QUICK = {"poll_interval_seconds": "0.05", "idle_poll_interval_seconds": "0.1", "lease_ttl_seconds": "1"}
SPOILED = 180


class Step(NamedTuple):
    """A command of the runbook, and the lines that it prints according to the runbook; `...` stands for any."""

    command: str
    shown: list[str]


class Incident:
    """Two shards, a worker on each; what is played goes right into a shard."""

    def __init__(self, game: Game, server: StreamsServer) -> None:
        self.game = game
        self._server = server
        self.environment = game.environment(None, **QUICK) | server.variables()
        self.environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    def play(self, shard: int, *scores: str) -> None:
        """Games that count."""
        self._append(shard, [self._game(number, score) for number, score in enumerate(scores)])

    def spoil(self, shard: int, scores: Mapping[str, str]) -> None:
        """Games whose scores came as these strings, and count on the right board with what was meant by them."""
        items = [self._game(number, meant) for number, meant in enumerate(scores.values())]
        self._append(shard, [item | {"score": {"S": came}} for came, item in zip(scores, items, strict=True)])

    def _game(self, number: int, score: str) -> Item:
        item = self.game.make(f"player-{number % 7}", score)
        self.game.expected.count(item)
        return item

    def _append(self, shard: int, items: list[Item]) -> None:
        self._server.remote.append({shard: items})

    def checkpoint(self, shard: int) -> str | None:
        """The shard's checkpoint."""
        rows = {row["shardId"]["S"]: row for row in self.game.rows("lease") if "checkpoint" in row}
        return str(rows[shard_id(shard)]["checkpoint"]["S"]) if shard_id(shard) in rows else None

    def wait_until_consumed(self, *shards: int) -> None:
        """Until all that is in these shards is committed."""
        last = {shard.shard_id: shard.last for shard in self._server.remote.shards()}
        until(
            lambda: all(self.checkpoint(shard) == last[shard_id(shard)] for shard in shards), f"{shards} are consumed"
        )

    def owners(self) -> set[str]:
        """The workers that own a lease."""
        return {row["leaseOwner"]["S"] for row in self.game.rows("lease") if "leaseOwner" in row}

    def run(self, command: str) -> list[str]:
        """What an operator sees of it."""
        with spawn(["sh", "-c", command], env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as sh:
            out, _ = sh.communicate(timeout=60)
        return out.decode().splitlines()


@pytest.fixture
def incident(ministack_url: str) -> Iterator[Incident]:
    with StreamsServer(ministack_url) as server:
        game = Game(TableEngine("ministack", server.faultless_url))
        tree = build_shards(2)
        server.remote.create_stream(game.tables["source"], tree, label=LABEL, keys=("playerId", "timestamp"))
        with game:
            yield Incident(game, server)


@pytest.fixture
def pair(incident: Incident) -> Iterator[list[WorkerProcess]]:
    with ExitStack() as stack:
        names = ("w1", "w2")
        pair = [WorkerProcess(incident.environment | {"CONSUMER_WORKER_ID": name}) for name in names]
        for worker in pair:
            stack.enter_context(worker)
        until(lambda: len(incident.owners()) == len(pair), "each has a shard", 60)
        yield pair


def steps(block: str) -> Iterator[Step]:
    """Its commands, each with its output."""
    for text in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, *shown = text.splitlines()
        yield Step(command, shown)


def masked(line: str) -> str:
    """Without times and the width of columns, which differ each time."""
    return re.sub(r" +", " ", re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "WHEN", line)).strip()


def assert_shown(step: Step, out: list[str]) -> None:
    """The runbook's lines are those that came; `...` stands for any number of lines."""
    pattern = "".join("(?:.*\n)*?" if line.strip() == "..." else f"{re.escape(masked(line))}\n" for line in step.shown)
    came = "".join(f"{masked(line)}\n" for line in out)
    assert re.fullmatch(pattern, came), f"$ {step.command}\n" + "\n".join(out)


@pytest.mark.timeout(120)
def test_the_runbook(incident: Incident, pair: list[WorkerProcess]) -> None:
    section = RUNBOOK.read_text()
    halted, resumed, seen, counted = re.findall(r"^```console\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    game = incident.game
    for shard in (0, 1):
        incident.play(shard, *map(str, range(40)))
    incident.wait_until_consumed(0, 1)

    incident.spoil(0, {"1,250": "1250"} | {f"{number}.5": f"{number}.5" for number in range(1, SPOILED)})
    until(lambda: any(worker.events("shard.halted") for worker in pair), "a shard halts")
    incident.play(1, *map(str, range(30)))
    incident.wait_until_consumed(1)
    for step in steps(halted):
        assert_shown(step, incident.run(step.command))

    incident.play(0, *map(str, range(20)))  # the producer is fixed
    for step in steps(resumed):
        assert_shown(step, incident.run(step.command))
    incident.wait_until_consumed(0, 1)
    assert len(game.quarantined()) == SPOILED
    for step in (*steps(seen), *steps(counted)):
        assert_shown(step, incident.run(step.command))

    assert game.board() == game.expected.rows, "each game counts with the score that was meant"
    assert [worker.terminate().code for worker in pair] == [0, 0]

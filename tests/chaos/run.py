"""One run: trouble for a while, then calm, then the reckoning."""

import time
from collections.abc import Callable
from pathlib import Path

from consumer.demo.engine import Engine
from tests.chaos import words
from tests.chaos.crew import Crew
from tests.chaos.plan import Plan
from tests.chaos.reckoning import reckon
from tests.chaos.summary import Summary
from tests.chaos.writer import Writer
from tests.engines import TableEngine
from tests.processes import Game
from tests.streams_server import Remote, StreamsServer, build_shards, dump
from tests.streams_server.drain import undrained

_LATE_SECONDS = 16.0
"""What a call that was lost may still do comes within 15 s: the board is compared after that."""
_DRAIN_SECONDS = 90.0
_SHARES_SECONDS = 30.0
_LOOK_SECONDS = 0.5
_PATIENCE = 4.0


class Chaotic(AssertionError):
    """What was wrong, and how to see it again."""


def run(plan: Plan, keep: Path | None = None, watch: Callable[[Crew], None] = lambda _: None) -> Summary:
    """Raises Chaotic; the logs of such a run go to the folder `keep`. `watch` looks at the workers now and then."""
    began = time.monotonic()
    with (
        Engine() as engine,
        StreamsServer(engine.url, plan.seed) as server,
        Game(TableEngine("ministack", server.calm_url), plan.seed) as game,
        Crew(plan, game, server.variables(), _stream(plan, game, server.remote)) as crew,
    ):
        complaints: list[str] = []
        drained = 0.0
        try:
            drained = _live_through(plan, game, server.remote, crew, watch)
        except AssertionError as failure:
            complaints.append(str(failure))
        told = reckon(plan, game, server.remote, crew, complaints)
        summary = Summary(**told, plan=plan, drained=drained, seconds=time.monotonic() - began)
        if complaints:
            if keep is not None:
                _keep_logs(keep, server.remote, crew)
            raise Chaotic("\n".join([str(plan), str(summary), *complaints, f"again: {plan.command}"]))
        return summary


def _stream(plan: Plan, game: Game, remote: Remote) -> str:
    """The ARN of the game's stream, with as many roots as planned."""
    (arn,) = remote.streams()
    remote.disable()
    remote.remove_stream(arn)
    return remote.create_stream(game.tables["source"], build_shards(plan.roots))


def _live_through(plan: Plan, game: Game, remote: Remote, crew: Crew, watch: Callable[[Crew], None]) -> float:
    """Seconds from the calm until all was drained."""
    remote.set_options(**plan.options)
    remote.set_faults(*plan.rules)
    roots = [shard.shard_id for shard in remote.shards()]
    began = time.monotonic()
    with Writer(plan, game, remote, roots) as writer:
        while writer.goes_on or time.monotonic() < began + plan.seconds:
            assert time.monotonic() < began + _PATIENCE * plan.seconds, f"{writer.written} records written"
            crew.turn()
            watch(crew)
        remote.set_faults()
        crew.calm()
        calm = time.monotonic()
        writer.write_last()
    _turn_until(crew, lambda: crew.whole and not _undrained(game, remote, crew), calm + _DRAIN_SECONDS)
    if left := _undrained(game, remote, crew):
        told = [f"{each}\n{words.about(each.partition(' ')[0], crew.workers)}" for each in left]
        raise AssertionError(f"{len(left)} shards not drained after {_DRAIN_SECONDS:g} s:\n" + "\n".join(told))
    assert crew.whole, f"after {_DRAIN_SECONDS:g} s of calm not all workers live"
    drained = time.monotonic() - calm
    _turn_until(crew, lambda: _is_fair(_shares(game, plan)), time.monotonic() + _SHARES_SECONDS)
    assert _is_fair(_shares(game, plan)), f"shares differ for {_SHARES_SECONDS:g} s: {_shares(game, plan)}"
    _turn_until(crew, lambda: False, calm + _LATE_SECONDS)
    crew.end()
    return drained


def _turn_until(crew: Crew, look: Callable[[], bool], deadline: float) -> None:
    """Until it is so, or too late."""
    due = time.monotonic()
    while time.monotonic() < deadline:
        crew.turn()
        if time.monotonic() >= due:
            if look():
                return
            due = time.monotonic() + _LOOK_SECONDS


def _undrained(game: Game, remote: Remote, crew: Crew) -> list[str]:
    return undrained(remote.shards(), game.rows("lease"), crew.stream_arn)


def _shares(game: Game, plan: Plan) -> list[int]:
    """Unfinished shards by owner; nobody's are not fair."""
    owners = [
        row.get("leaseOwner", {"S": None})["S"]
        for row in game.rows("lease")
        if "checkpoint" in row and row["checkpoint"]["S"] != "SHARD_END"
    ]
    shares = sorted(owners.count(owner) for owner in set(owners))
    return [0] * (plan.workers - len(shares)) + shares if None not in owners else [-2, *shares]


def _is_fair(shares: list[int]) -> bool:
    return max(shares) - min(shares) <= 1


def _keep_logs(folder: Path, remote: Remote, crew: Crew) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    dump(remote.transactions(), folder / "transactions.jsonl")
    (folder / "shards.txt").write_text("".join(f"{shard}\n" for shard in remote.shards()))
    for slot in crew.slots:
        for number, worker in enumerate(slot.workers):
            (folder / f"{slot.name}-{number}-{worker.pid}.log").write_text("".join(worker.said))

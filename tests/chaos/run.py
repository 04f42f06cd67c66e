"""One run: faults and strikes for a while, then none until everything is drained, then the verdict."""

import time
from collections.abc import Callable
from pathlib import Path

from consumer.demo.engine import Engine
from tests.chaos.cluster import Cluster
from tests.chaos.credentials import FaultyEndpoint
from tests.chaos.plan import HostFault, Plan
from tests.chaos.verdict import Summary, judge
from tests.chaos.writer import Writer
from tests.streams_server import Remote, StreamsServer, build_shards, dump
from tests.streams_server.remote import undrained
from tests.support.engines import TableEngine
from tests.support.processes import Game

_LATE_SECONDS = 16.0
"""A lost call takes effect within 15 s, if at all: the board is compared after that."""
_DRAIN_SECONDS = 90.0
_SHARES_SECONDS = 30.0
_CHECK_SECONDS = 0.5
_MOST_TIMES = 4.0
"""The writer may take so many times the planned seconds."""


class ChaosFailed(AssertionError):
    """What went wrong, and the command that runs it again."""


def run(plan: Plan, keep: Path | None = None, watch: Callable[[Cluster], None] = lambda _: None) -> Summary:
    """Raises ChaosFailed; then the logs go to the folder `keep`. `watch` is called often, with the workers."""
    began = time.monotonic()
    with (
        Engine() as engine,
        StreamsServer(engine.url, plan.seed) as server,
        Game(TableEngine("ministack", server.faultless_url), plan.seed, keyed=plan.keyed) as game,
        FaultyEndpoint(plan.random("credentials"), faulty=HostFault.CREDENTIALS not in plan.without) as endpoint,
        Cluster(plan, game, server.variables() | endpoint.variables(), _stream(plan, game, server.remote)) as cluster,
    ):
        errors: list[str] = []
        drained = 0.0
        try:
            drained = _run_through(plan, game, server.remote, cluster, endpoint, watch)
        except AssertionError as failure:
            errors.append(str(failure))
        figures = judge(plan, game, server.remote, cluster, errors)
        figures |= {"blocked_logs": cluster.blocked_logs(), "credential_faults": endpoint.faults}
        summary = Summary(**figures, plan=plan, drained=drained, seconds=time.monotonic() - began)
        if errors:
            if keep is not None:
                _keep_logs(keep, server.remote, cluster)
            raise ChaosFailed("\n".join([str(plan), str(summary), *errors, f"run it again: {plan.command}"]))
        return summary


def _stream(plan: Plan, game: Game, remote: Remote) -> str:
    """The ARN of the game's stream, with as many roots as planned."""
    (arn,) = remote.streams()
    remote.disable()
    remote.remove_stream(arn)
    return remote.create_stream(game.tables["source"], build_shards(plan.roots))


def _run_through(
    plan: Plan,
    game: Game,
    remote: Remote,
    cluster: Cluster,
    endpoint: FaultyEndpoint,
    watch: Callable[[Cluster], None],
) -> float:
    """Seconds from the end of the faults until everything was drained."""
    remote.set_options(**plan.options)
    remote.set_faults(*plan.rules)
    roots = [shard.shard_id for shard in remote.shards()]
    began = time.monotonic()
    with Writer(plan, game, remote, roots) as writer:
        while writer.running or time.monotonic() < began + plan.seconds:
            assert time.monotonic() < began + _MOST_TIMES * plan.seconds, f"only {writer.written} records written"
            cluster.step()
            watch(cluster)
        remote.set_faults()
        endpoint.heal()
        cluster.spare()
        faults_ended = time.monotonic()
        writer.write_last()
    _step_until(
        cluster, lambda: cluster.complete and not _undrained(game, remote, cluster), faults_ended + _DRAIN_SECONDS
    )
    if left := _undrained(game, remote, cluster):
        shards = [f"{shard}\n{cluster.last_lines(shard.partition(' ')[0])}" for shard in left]
        raise AssertionError(f"{len(left)} shards not drained after {_DRAIN_SECONDS:g} s:\n" + "\n".join(shards))
    assert cluster.complete, f"{_DRAIN_SECONDS:g} s after the faults not all workers run"
    drained = time.monotonic() - faults_ended
    _step_until(cluster, lambda: _is_fair(_shares(game, plan)), time.monotonic() + _SHARES_SECONDS)
    assert _is_fair(_shares(game, plan)), f"shares differ for {_SHARES_SECONDS:g} s: {_shares(game, plan)}"
    _step_until(cluster, lambda: False, faults_ended + _LATE_SECONDS)
    cluster.end()
    return drained


def _step_until(cluster: Cluster, condition: Callable[[], bool], deadline: float) -> None:
    """Until the condition holds or the deadline has passed."""
    due = time.monotonic()
    while time.monotonic() < deadline:
        cluster.step()
        if time.monotonic() >= due:
            if condition():
                return
            due = time.monotonic() + _CHECK_SECONDS


def _undrained(game: Game, remote: Remote, cluster: Cluster) -> list[str]:
    return undrained(remote.shards(), game.rows("lease"), cluster.stream_arn)


def _shares(game: Game, plan: Plan) -> list[int]:
    """How many unfinished shards each owner has; shards without an owner are never fair."""
    owners = [
        row.get("leaseOwner", {"S": None})["S"]
        for row in game.rows("lease")
        if "checkpoint" in row and row["checkpoint"]["S"] != "SHARD_END"
    ]
    shares = sorted(owners.count(owner) for owner in set(owners))
    return [0] * (plan.workers - len(shares)) + shares if None not in owners else [-2, *shares]


def _is_fair(shares: list[int]) -> bool:
    return max(shares) - min(shares) <= 1


def _keep_logs(folder: Path, remote: Remote, cluster: Cluster) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    dump(remote.transactions(), folder / "transactions.jsonl")
    (folder / "shards.txt").write_text("".join(f"{shard}\n" for shard in remote.shards()))
    for slot in cluster.slots:
        for number, worker in enumerate(slot.workers):
            (folder / f"{slot.name}-{number}-{worker.pid}.log").write_text("".join(worker.log_lines))

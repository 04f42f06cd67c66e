"""What a new worker costs: how soon it has its share, and whether anything committed is read again for it."""

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator

from tests.measure.figure import Figure, worst
from tests.measure.stage import DEFAULT_TTL_SECONDS, Stage, number_of, owner_of, shard_of
from tests.measure.writer import Writer
from tests.processes import WorkerProcess, until
from tests.streams_server import Transaction, shard_id
from tests.streams_server.operations import Delivery

_AFTER_SECONDS = 3.0


def join(
    engine_url: str,
    *,
    workers: int = 3,
    shards: int = 14,
    ttl_seconds: float = DEFAULT_TTL_SECONDS,
    rounds: int = 3,
) -> Iterator[Figure]:
    """One more worker joins `workers` and leaves again, some times, while games keep coming."""
    took: list[float] = []
    with Stage(engine_url, shards, ttl_seconds) as stage:
        for _ in range(workers):
            stage.start()
        with Writer(stage, [shard_id(number) for number in range(shards)], 0.2):
            stage.wait_until_shared(workers)
            until(lambda: len({shard_of(each) for each in stage.commits()}) == shards, "all shards are read")
            started_at = time.time()
            for _ in range(rounds):
                newcomer = stage.start()
                took.append(_seconds_to_fair_shares(stage, newcomer, workers + 1) / stage.beat_seconds)
                _wait_until_commits(stage, newcomer)
                newcomer.terminate()
                stage.wait_until_shared(workers)
            time.sleep(_AFTER_SECONDS)
        pages = [page for page in stage.remote.deliveries() if page.at >= started_at]
        again = read_again(pages, stage.commits())
    yield worst("from joining to fair shares", took, 2.0, "beats")
    note = f"of {len(pages)}" + (f", such as {again[0]}" if again else "")
    yield Figure("pages that begin with a committed record", len(again), "pages", 0, note)


def _seconds_to_fair_shares(stage: Stage, newcomer: WorkerProcess, workers: int) -> float:
    """From its first beat on."""
    joined_at = newcomer.started_at + newcomer.seconds_until("worker.joined")
    stage.wait_until_shared(workers)
    return time.monotonic() - joined_at


def _wait_until_commits(stage: Stage, newcomer: WorkerProcess) -> None:
    """Until it has committed for each of its shards."""
    owner = owner_of(newcomer)

    def left() -> set[str]:
        return stage.shares()[owner] - {shard_of(each) for each in stage.commits() if each.owner == owner}

    until(lambda: not left(), "the newcomer's shards are committed")


def read_again(pages: Iterable[Delivery], commits: Iterable[Transaction]) -> list[tuple[Delivery, Transaction]]:
    """Pages whose first record had been committed before they were asked for, with that commit.

    Both logs are the server's: what is in the one with an earlier time was seen earlier.
    """
    by_shard: dict[str, list[Transaction]] = defaultdict(list)
    for commit in commits:
        by_shard[shard_of(commit)].append(commit)
    found: list[tuple[Delivery, Transaction]] = []
    for page in pages:
        covering = [
            each for each in by_shard[page.shard_id] if each.at < page.at and number_of(each) >= int(page.first)
        ]
        found += [(page, commit) for commit in covering[:1]]
    return found

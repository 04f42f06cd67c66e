"""SIGTERM and SIGKILL of a real worker, and what the next start makes of it."""

import signal
import threading
from collections.abc import Iterator
from itertools import pairwise

import pytest

from consumer.worker.daemon import ECHO_SECONDS
from tests.support.engines import TableEngine
from tests.support.processes import Game, Proxy, is_commit, is_row_write

LOAD = 6_000
MARKED_LOAD = 3_000
PADDING = 4_000
"""Bytes of a record: a worker reads 4 MB ahead."""
KEYED = pytest.mark.parametrize("keyed", [True, False], ids=["marks", "transactions"])


@pytest.fixture
def keyed() -> bool:
    return True


@pytest.fixture
def game(engine: TableEngine, keyed: bool) -> Iterator[Game]:
    with Game(engine, keyed=keyed) as game:
        yield game


@pytest.fixture
def proxy(engine: TableEngine) -> Iterator[Proxy]:
    with Proxy(engine.url) as proxy:
        yield proxy


@KEYED
def test_sigterm_in_the_middle_of_heavy_work(game: Game, proxy: Proxy, keyed: bool) -> None:
    """A unit of transactions is bounded by players, one of marked writes by what the worker reads ahead."""
    if keyed:
        padding = {"padding": {"S": "x" * PADDING}}
        game.count(*(game.make(f"player-{number % 100:05}") | padding for number in range(MARKED_LOAD)))
    else:
        game.play(LOAD, 1_000)
    last = int(game.played()[-1].sequence_number)
    first = game.worker(proxy)
    first.wait_for_event("unit.committed", count=1 if keyed else 10)
    ended = first.terminate()
    print(f"{game.engine.name}: exit {ended.code}, {ended.seconds:.2f} s after SIGTERM")
    assert (ended.code, ended.seconds < 2) == (0, True), ended
    lease = game.lease()
    assert lease is not None
    assert "leaseOwner" not in lease
    checkpoint = lease["checkpoint"]["S"]
    assert int(checkpoint) < last, "records remain"

    since = len(proxy.calls)
    second = game.worker(proxy)
    game.wait_until_consumed()
    iterators = proxy.of("GetShardIterator", since)
    position = {name: iterators[0].request[name] for name in ("ShardIteratorType", "SequenceNumber")}
    assert position == {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": checkpoint}
    read = [number for page in proxy.of("GetRecords", since) for number in page.sequence_numbers]
    assert read[0] > int(checkpoint), "no committed record is read again"
    assert all(earlier < later for earlier, later in pairwise(read))
    game.assert_exact()
    assert second.terminate().code == 0
    committed = [event["records"] for worker in (first, second) for event in worker.events("unit.committed")]
    assert sum(committed) == (MARKED_LOAD if keyed else LOAD)


@KEYED
@pytest.mark.parametrize("applied", [False, True], ids=["requested", "applied"])
def test_sigterm_waits_for_the_commit_in_flight(game: Game, proxy: Proxy, applied: bool, keyed: bool) -> None:
    game.play(1_000, 50 if keyed else 500)
    held = proxy.hold(is_commit, applied=applied, skip=0 if keyed else 2)
    worker = game.worker(proxy)
    call = held.wait_caught()
    worker.send(signal.SIGTERM).wait_for_event("worker.draining")
    held.let_go()
    ended = worker.wait()
    assert (ended.code, ended.seconds < 4) == (0, True), ended  # a poll without a reply would take 5 s
    lease = game.lease()
    assert lease is not None
    assert lease["checkpoint"]["S"] == call.moved_to
    assert "leaseOwner" not in lease
    members = next(row for row in game.rows("lease") if row["leaseKey"]["S"] == "members")
    assert not [name for name in members if name.startswith("worker#")]
    game.worker()
    game.wait_until_consumed()
    game.assert_exact()


@pytest.mark.parametrize("applied", [False, True], ids=["requested", "applied"])
def test_sigterm_waits_for_the_single_writes_in_flight(game: Game, proxy: Proxy, applied: bool) -> None:
    """The unit that they belong to is finished: nothing of it is read again."""
    game.play(500, 50)
    held = proxy.hold(is_row_write, applied=applied, skip=1)
    worker = game.worker(proxy)
    held.wait_caught()
    worker.send(signal.SIGTERM).wait_for_event("worker.draining")
    held.let_go()
    ended = worker.wait()
    assert (ended.code, ended.seconds < 4) == (0, True), ended
    (committed,) = worker.events("unit.committed")
    lease = game.lease()
    assert lease is not None
    assert lease["checkpoint"]["S"] == committed["checkpoint"]
    assert "leaseOwner" not in lease
    game.worker()
    game.wait_until_consumed()
    game.assert_exact()


def test_a_second_sigterm_ends_a_drain_that_is_stuck(game: Game, proxy: Proxy) -> None:
    game.play(300, 50)
    held = proxy.hold(is_commit, applied=True)
    worker = game.worker(proxy)
    held.wait_caught()
    worker.send(signal.SIGTERM).wait_for_event("worker.draining")
    threading.Event().wait(2 * ECHO_SECONDS)  # earlier, it would count as an echo of the first
    ended = worker.send(signal.SIGTERM).wait()
    assert (ended.code, ended.seconds < 4) == (7, True), ended
    assert worker.wait_for_event("worker.aborted")["leases"] == 1
    held.let_go()
    game.worker(proxy)
    game.wait_until_consumed()
    game.assert_exact()


@KEYED
def test_a_worker_of_the_same_name_goes_on_at_once_after_sigkill(game: Game, proxy: Proxy, keyed: bool) -> None:
    """The dead one's commit, which arrives late and exactly at the checkpoint, is refused by the fence."""
    game.play(2_000, 50 if keyed else 500)
    forever = "300"
    dead_one = proxy.hold(is_commit, skip=0 if keyed else 3)
    first = game.worker(proxy, lease_ttl_seconds=forever)
    dead_one.wait_caught()
    assert first.kill() == -signal.SIGKILL
    new_one = proxy.hold(is_commit)
    second = game.worker(proxy, lease_ttl_seconds=forever)
    new_one.wait_caught()
    dead_one.let_go()
    assert dead_one.call is not None
    assert dead_one.call.fenced_off
    new_one.let_go()
    game.wait_until_consumed()
    game.assert_exact()
    before, after = (worker.wait_for_event("lease.claimed") for worker in (first, second))
    assert after["lease_epoch"] == before["lease_epoch"] + 1

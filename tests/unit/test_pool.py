"""The pool with real threads: replies, defects, and which threads run what."""

import threading
import time

import pytest

from consumer.domain.errors import CallFailed, FailureKind
from consumer.domain.leases import Lease, Ledger, Shard
from consumer.domain.membership import HeartbeatReport, Members
from consumer.domain.replies import Done
from consumer.worker.calls import Call, Reply
from consumer.worker.daemon import Pool
from consumer.worker.ledger_calls import Load, ReadMembers, SendHeartbeat
from consumer.worker.shard_calls import Release

LONG_SECONDS = 30.0


def answer(call: Call) -> Reply:
    match call:
        case ReadMembers():
            return Members(0, {})
        case Load():
            return Ledger((), ())
        case _:
            return CallFailed(FailureKind.NETWORK, "down")


def gather(pool: Pool, count: int) -> list[tuple[Call, Reply]]:
    answered: list[tuple[Call, Reply]] = []
    while len(answered) < count:
        got = pool.replies(LONG_SECONDS)
        assert got, "no reply came"
        answered += got
    return answered


def test_replies_come_with_their_calls() -> None:
    pool = Pool(answer, data_threads=2)
    heartbeat = SendHeartbeat("w1/a", HeartbeatReport(1), joining=True, bump=True)
    for call in (ReadMembers(), Load(), heartbeat, Load()):
        pool.start(call)
    answered = gather(pool, 4)
    assert sorted(type(call).__name__ for call, _ in answered) == ["Load", "Load", "ReadMembers", "SendHeartbeat"]
    replies = {type(call): reply for call, reply in answered}
    assert replies[ReadMembers] == Members(0, {})
    assert isinstance(replies[SendHeartbeat], CallFailed)


def test_without_a_reply_it_waits_until_the_timeout() -> None:
    pool = Pool(answer, data_threads=1)
    assert pool.replies(0.0) == []
    assert pool.replies(-1.0) == []
    assert pool.replies(0.01) == []


def test_wake_returns_at_once() -> None:
    pool = Pool(answer, data_threads=1)
    pool.wake()
    began = time.monotonic()
    assert pool.replies(LONG_SECONDS) == []
    assert time.monotonic() - began < LONG_SECONDS / 2


def test_a_defect_raises_in_the_loop() -> None:
    def broken(_: Call) -> Reply:
        raise ZeroDivisionError("a defect")

    pool = Pool(broken, data_threads=1)
    pool.start(Load())
    with pytest.raises(ZeroDivisionError, match="a defect"):
        pool.replies(LONG_SECONDS)


def test_slow_shards_do_not_hold_up_heartbeats() -> None:
    gate = threading.Event()

    def stuck(call: Call) -> Reply:
        if isinstance(call, Release):
            gate.wait(LONG_SECONDS)
        return Done()

    pool = Pool(stuck, data_threads=1)
    for _ in range(5):
        pool.start(Release(Lease(Shard("arn", "shard"), "w1/a", 1)))
    pool.start(ReadMembers())
    assert gather(pool, 1) == [(ReadMembers(), Done())]
    gate.set()
    assert len(gather(pool, 5)) == 5


def test_one_thread_loads_the_ledger() -> None:
    names = set()

    def note_thread(_: Call) -> Reply:
        names.add(threading.current_thread().name)
        return Ledger((), ())

    pool = Pool(note_thread, data_threads=4)
    for _ in range(20):
        pool.start(Load())
    gather(pool, 20)
    assert names == {"load-0"}


def test_its_threads_do_not_hold_up_the_end_of_the_process() -> None:
    before = set(threading.enumerate())
    Pool(answer, data_threads=3)
    mine = set(threading.enumerate()) - before
    assert len(mine) == 3 + 2 + 1 + 1
    assert all(thread.daemon for thread in mine)


def test_calls_one_after_the_other_stay_with_one_thread() -> None:
    """Its memory and its connection are warm; sixteen threads would keep sixteen times the memory."""
    ran: list[str] = []

    def note_thread(_: Call) -> Reply:
        ran.append(threading.current_thread().name)
        return Done()

    pool = Pool(note_thread, data_threads=8)
    for _ in range(20):
        pool.start(Release(Lease(Shard("arn/label", "shard-0"), "w1/a", 1)))
        gather(pool, 1)
    assert len(set(ran)) < 8  # the thread that answered may not be idle yet when the next call comes

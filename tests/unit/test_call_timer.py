"""The due time of a call and its retries, and the queue of shards by their due times."""

from math import inf

from consumer.worker.call_timer import LASTING_FAILURES, CallTimer, TimerQueue
from tests.support.builders import shard


def test_one_call_at_a_time_from_when_it_is_due() -> None:
    timer = CallTimer(at=5.0)
    assert [timer.ready(now) for now in (4.9, 5.0, 6.0)] == [False, True, True]
    assert timer.wake_at == 5.0
    timer.send(6.0)
    assert timer.ready(7.0) is False
    assert (timer.wake_at, timer.sent_at) == (inf, 6.0)
    timer.answered()
    timer.succeed(8.0)
    assert (timer.wake_at, timer.ready(8.0)) == (8.0, True)


def test_a_retry_is_a_due_time() -> None:
    timer = CallTimer()
    for failures in (1, 2):
        timer.fail(10.0, 0.5)
        assert (timer.at, timer.failures) == (10.5, failures)
    timer.succeed(11.0)
    assert timer.failures == 0


def test_a_failure_is_shown_when_it_lasts() -> None:
    timer = CallTimer()
    shown = []
    for _ in range(LASTING_FAILURES):
        timer.fail(0.0, 1.0, "get_records fails: down")
        shown.append(timer.failure)
    assert shown == [*[None] * (LASTING_FAILURES - 1), "get_records fails: down"]
    timer.succeed(0.0)
    assert timer.failure is None


def test_a_shard_is_due_once_at_the_last_time_it_was_put() -> None:
    queue = TimerQueue()
    for number, at in ((0, 5.0), (1, 3.0), (2, 4.0), (1, 6.0), (2, 2.0)):
        queue.put(shard(number), at)
    assert queue.next_at == 2.0
    assert list(queue.due(5.0)) == [shard(2), shard(0)]
    assert list(queue.due(9.0)) == [shard(1)]
    queue.put(shard(0), 1.0)
    queue.put(shard(0), inf)
    queue.put(shard(1), 1.0)
    queue.forget(shard(1))
    assert list(queue.due(9.0)) == []
    assert queue.next_at == inf

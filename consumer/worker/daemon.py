"""The daemon: starts a worker, runs it and drains it. One thread owns all state; the threads of a pool run the calls.

A pool of its own rather than an executor of the standard library: that one waits at exit for calls in flight, and a
worker that has been asked to stop must not wait for a read of five seconds.
"""

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any, Final

from consumer.domain.errors import CallFailed, WorkerStalled
from consumer.domain.ports import PendingRecords
from consumer.worker.calls import Call, CallPriority, Reply
from consumer.worker.event_log import EventLog
from consumer.worker.worker import Worker

Execute = Callable[[Call], Reply]


@dataclass(frozen=True, slots=True)
class _Defect:
    """What a call raised although `execute` turns every known failure into a reply: the process ends with it."""

    raised: BaseException


class _NextCall:
    """Where one idle thread waits for its next call."""

    def __init__(self) -> None:
        self.call: Call | None = None
        self.there = threading.Lock()
        self.there.acquire()


class _Queue:
    """Calls for some threads, in the order given; the urgent ones before the others.

    Of the idle threads the one that waited least gets the next call: its memory and its connection are warm.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._urgent: deque[Call] = deque()
        self._ordinary: deque[Call] = deque()
        self._idle: list[_NextCall] = []

    def put(self, call: Call, *, urgent: bool) -> None:
        with self._lock:
            if not self._idle:
                (self._urgent if urgent else self._ordinary).append(call)
                return
            next_call = self._idle.pop()
        next_call.call = call
        next_call.there.release()

    def get(self, next_call: _NextCall) -> Call:
        with self._lock:
            for calls in (self._urgent, self._ordinary):
                if calls:
                    return calls.popleft()
            self._idle.append(next_call)
        next_call.there.acquire()
        assert next_call.call is not None
        return next_call.call


class Pool:
    """Runs at most `data_threads` reads and writes at once, two calls for heartbeats, one listing and one load.

    Reads wait for all other data calls. One thread loads the ledger: each thread keeps for good the memory that its
    largest reply took.
    """

    def __init__(self, execute: Execute, data_threads: int) -> None:
        self._execute = execute
        data, heartbeats, listings, loads = _Queue(), _Queue(), _Queue(), _Queue()
        self._queues = {
            CallPriority.DATA: data,
            CallPriority.READ: data,
            CallPriority.HEARTBEAT: heartbeats,
            CallPriority.LISTING: listings,
            CallPriority.LEDGER: loads,
        }
        self._replies: SimpleQueue[tuple[Call, Reply | _Defect] | None] = SimpleQueue()
        self._running: dict[str, Call | None] = {}
        groups = ((data, "data", data_threads), (heartbeats, "heartbeat", 2), (listings, "list", 1), (loads, "load", 1))
        for queue, name, threads in groups:
            for number in range(threads):
                thread = threading.Thread(target=self._run, args=(queue,), name=f"{name}-{number}", daemon=True)
                self._running[thread.name] = None
                thread.start()

    def start(self, call: Call) -> None:
        """Queues the call; `replies` returns its reply."""
        self._queues[call.priority].put(call, urgent=call.priority is not CallPriority.READ)

    def running(self) -> dict[str, Call | None]:
        """The call that each thread runs now, by the thread's name; None: the thread is idle."""
        return self._running.copy()

    def wake(self) -> None:
        """Makes a waiting `replies` return. Safe in a signal handler."""
        self._replies.put(None)

    def replies(self, timeout_seconds: float) -> list[tuple[Call, Reply]]:
        """All replies that are there, after waiting for the first one. Raises what a call raised as a defect."""
        answered: list[tuple[Call, Reply]] = []
        try:
            item = self._replies.get(timeout=max(0.0, timeout_seconds))
            while True:
                if item is not None:
                    call, reply = item
                    if isinstance(reply, _Defect):
                        raise reply.raised
                    answered.append((call, reply))
                item = self._replies.get_nowait()
        except Empty:
            return answered

    def _run(self, queue: _Queue) -> None:
        name, next_call = threading.current_thread().name, _NextCall()
        while True:
            call = self._running[name] = queue.get(next_call)
            try:
                reply: Reply | _Defect = self._execute(call)
            except BaseException as raised:  # noqa: BLE001 - the loop raises it again
                reply = _Defect(raised)
            self._running[name] = None
            self._replies.put((call, reply))


SECOND_SIGNAL_EXIT: Final = 7
ECHO_SECONDS: Final = 0.05
"""A second signal so soon after the first is its echo: timeout(1), Ctrl-C or make signal a process and its group."""
LONGEST_WAIT_SECONDS: Final = 0.5
"""The loop runs at least this often, so that the watchdog sees that it is alive."""
STATUS_SECONDS: Final = 1.0
PENDING_SECONDS: Final = 60.0
SCAN_SECONDS: Final = 3600.0
"""Between two scans of a quarantine table that lacks its index."""
SCAN_PAGE_SECONDS: Final = 2.0
"""Between two pages of that scan: a page is a megabyte, so it takes at most 64 read units per second."""
LONGEST_CALL_SECONDS: Final = 60.0
"""A call of many pages (a scan of the ledger, a listing) takes at most so long; a single request at most 6 s."""
DRAIN_SECONDS: Final = 20.0
"""ECS sends SIGKILL 30 s after SIGTERM. Leases that are not released by then expire."""
LOOP: Final = "the loop"


class Stop:
    """A stop request: `event` is set, and `wake` is called to cut a wait short. SIGTERM and SIGINT make one.

    `abort` is called before a second signal ends the process.
    """

    def __init__(self) -> None:
        self.event = threading.Event()
        self.wake: Callable[[], None] = lambda: None
        self.abort: Callable[[], None] = lambda: None
        self._caught_at = 0.0

    def request(self) -> None:
        """Asks for a drain. Safe in a signal handler."""
        self.event.set()
        self.wake()

    def catch_signals(self) -> None:
        """From now on a first signal is a stop request, and a second one exits at once with code 7.

        To be called from the main thread.
        """
        signal.signal(signal.SIGTERM, self._caught)
        signal.signal(signal.SIGINT, self._caught)

    def ignore_signals(self) -> None:
        """From now on signals change nothing: the process is about to end with the exit code of its work."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def _caught(self, _signum: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.event.is_set() and now - self._caught_at > ECHO_SECONDS:
            self.abort()
            os._exit(SECOND_SIGNAL_EXIT)
        self._caught_at = now
        self.request()


class Daemon:
    """Runs one worker until a stop request. `not_ready`: why the worker is not ready, as the loop last saw it.

    `notes`: what readiness says besides.
    """

    def __init__(
        self,
        worker: Worker,
        execute: Execute,
        event_log: EventLog,
        pending_records: PendingRecords,
        log: Any,
        stop: Stop,
        *,
        lease_ttl_seconds: float,
        threads: int,
    ) -> None:
        self._worker = worker
        self._event_log = event_log
        self._pending_records = pending_records
        self._log = log
        self._ttl = lease_ttl_seconds
        self._pool = Pool(execute, threads)
        self._stop = stop
        stop.wake = self._pool.wake
        stop.abort = lambda: log.critical("worker.aborted", leases=len(worker.shards))
        self._finished = threading.Event()
        self._iterated_at = time.monotonic()
        self._iterations = 0
        self._pending: int | None = None
        self.notes: tuple[str, ...] = ()
        self.not_ready: tuple[str, ...] = ("starting: nothing has been read yet",)

    def run(self) -> None:
        """Returns when drained. Raises ConsumerError when the worker must not go on."""
        for loop in (self._watch, self._count_pending):
            threading.Thread(target=self._run_aside, args=(loop,), name=loop.__name__, daemon=True).start()
        try:
            self._run_until_drained()
        finally:
            self._finished.set()

    def why_not_alive(self) -> str | None:
        """None while the loop runs; else for how long it has stood still."""
        still = time.monotonic() - self._iterated_at
        return f"the loop has stood still for {still:.0f} s" if still > 3 * self._ttl else None

    def why_not_ready(self) -> list[str]:
        """Empty while the worker is ready. What the loop saw last is no reply while it stands still."""
        standing = self.why_not_alive()
        return [*self.not_ready, *([standing] if standing else [])]

    def _run_until_drained(self) -> None:
        worker, pool = self._worker, self._pool
        drain_until: float | None = None
        status_at = 0.0
        while not worker.done:
            now = time.monotonic()
            self._iterated_at = now
            self._iterations += 1
            if self._stop.event.is_set() and drain_until is None:
                drain_until = now + DRAIN_SECONDS
                self._log.info("worker.draining", leases=len(worker.shards))
                worker.drain()
            if drain_until is not None and now >= drain_until:
                self._log.warning("worker.drain_unfinished", leases=len(worker.shards))
                return
            if now >= status_at:
                self._show_status(now)
                status_at = now + STATUS_SECONDS
            for call in worker.ready(now):
                pool.start(call)
            wait_seconds = min(worker.wake_at() - time.monotonic(), LONGEST_WAIT_SECONDS)
            for call, reply in pool.replies(wait_seconds):
                answered_at, unix_now = time.monotonic(), time.time()
                self._event_log.report(worker.take(call, reply, answered_at), unix_now)
                self._event_log.answered(call, reply, unix_now)
        self._show_status(time.monotonic())
        self._event_log.log_summary(worker.status(time.monotonic()), self._pending, time.time())

    def _show_status(self, now: float) -> None:
        status = self._worker.status(now)
        self.not_ready, self.notes = status.not_ready, status.notes
        self._event_log.show_status(status, self._pending, time.time())

    def _run_aside(self, loop: Callable[[], None]) -> None:
        """Runs a loop beside the main one. If it dies, the process ends: there is no half-dead worker."""
        try:
            loop()
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is logged and the process ends
            self._die(WorkerStalled(f"{loop.__name__} died: {error!r}"))

    def _watch(self) -> None:
        """The watchdog: ends the process when the loop, or a call, is overdue by three TTLs: twelve of its own rounds.

        It counts rounds rather than seconds: after a pause of the whole process nothing is overdue.
        """
        round_seconds = self._ttl / 4
        call_rounds = 12 + ceil(LONGEST_CALL_SECONDS / round_seconds)
        allowed = {LOOP: 12, **dict.fromkeys(self._pool.running(), call_rounds)}
        still = dict.fromkeys(allowed, 0)
        seen: dict[str, int | Call | None] = {}
        while not self._finished.wait(round_seconds):
            doing: dict[str, int | Call | None] = {LOOP: self._iterations, **self._pool.running()}
            for name, work in doing.items():
                if work is None or work is not seen.get(name):  # equal calls are not the same call
                    still[name] = 0
                    continue
                still[name] += 1
                if still[name] >= allowed[name]:
                    call = "" if isinstance(work, int) else f" in {work.operation.value}"
                    seconds = still[name] * round_seconds
                    self._die(WorkerStalled(f"{name} has made no progress for {seconds:.0f} s{call}"))
            seen = doing

    def _count_pending(self) -> None:
        """Counts the pending quarantine rows beside the loop. Without an index that is a scan: slow, and rare."""
        scan_in_seconds = 0.0
        failed_at: float | None = None
        while True:
            try:
                pending = self._pending_records.count()
                if failed_at is not None:
                    self._log.info("quarantine.count_recovered", seconds=round(time.monotonic() - failed_at, 1))
                    failed_at = None
                if pending is not None:
                    self._pending = pending
                elif scan_in_seconds <= 0:
                    scan_in_seconds = SCAN_SECONDS
                    self._log.warning("quarantine.index_missing", next="consumer init")
                    self._scan_pending()
            except CallFailed as failure:
                failed_at = failed_at or time.monotonic()
                self._log.warning("quarantine.count_failed", reason=failure.kind.value, detail=failure.detail)
            if self._finished.wait(PENDING_SECONDS):
                return
            scan_in_seconds -= PENDING_SECONDS

    def _scan_pending(self) -> None:
        found = 0
        for count in self._pending_records.scan():
            found += count
            if self._finished.wait(SCAN_PAGE_SECONDS):
                return
        self._pending = found

    def _die(self, error: WorkerStalled) -> None:
        self._log.critical("worker.stalled", detail=str(error))
        os._exit(error.exit_code)

"""The pool: daemon threads that run calls and queue their replies. Each lane has threads of its own.

Own, small threads rather than an executor of the standard library: that one waits at exit for calls under way, and a
worker that has been told to stop must not wait for a read of five seconds.
"""

import threading
from collections import deque
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from consumer.worker.calls import Call, Reply
from consumer.worker.lanes import Lane, lane_of
from consumer.worker.perform import Perform


@dataclass(frozen=True, slots=True)
class Defect:
    """What a call raised although `perform` turns every known failure into a reply: the process ends with it."""

    raised: BaseException


class _Seat:
    """Where a thread waits for its next call."""

    def __init__(self) -> None:
        self.call: Call | None = None
        self.called = threading.Lock()
        self.called.acquire()


class _Queue:
    """Calls for some threads, in the order given; the urgent ones before the others.

    Of the threads that wait the one that waited least gets the next call: its memory and its connection are warm.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._urgent: deque[Call] = deque()
        self._ordinary: deque[Call] = deque()
        self._waiting: list[_Seat] = []

    def put(self, call: Call, *, urgent: bool) -> None:
        with self._lock:
            if not self._waiting:
                (self._urgent if urgent else self._ordinary).append(call)
                return
            seat = self._waiting.pop()
        seat.call = call
        seat.called.release()

    def get(self, seat: _Seat) -> Call:
        with self._lock:
            for calls in (self._urgent, self._ordinary):
                if calls:
                    return calls.popleft()
            self._waiting.append(seat)
        seat.called.acquire()
        assert seat.call is not None
        return seat.call


class Pool:
    """At most `data_threads` calls at once, two of the beats' lane, one listing and one load. Reads wait for all else.

    One thread loads the ledger: each thread keeps for good the memory that its largest answer took.
    """

    def __init__(self, perform: Perform, data_threads: int) -> None:
        self._perform = perform
        data, beats, listings, loads = _Queue(), _Queue(), _Queue(), _Queue()
        self._queues = {Lane.DATA: data, Lane.READ: data, Lane.BEAT: beats, Lane.LIST: listings, Lane.LOAD: loads}
        self._replies: SimpleQueue[tuple[Call, Reply | Defect] | None] = SimpleQueue()
        self._running: dict[str, Call | None] = {}
        crews = ((data, "data", data_threads), (beats, "beat", 2), (listings, "list", 1), (loads, "load", 1))
        for queue, name, threads in crews:
            for number in range(threads):
                thread = threading.Thread(target=self._run, args=(queue,), name=f"{name}-{number}", daemon=True)
                self._running[thread.name] = None
                thread.start()

    def start(self, call: Call) -> None:
        """Queues the call; its reply comes out of `replies`."""
        lane = lane_of(call)
        self._queues[lane].put(call, urgent=lane is not Lane.READ)

    def running(self) -> dict[str, Call | None]:
        """What each thread is at now, by its name."""
        return self._running.copy()

    def wake(self) -> None:
        """Makes a waiting `replies` return. Safe in a signal handler."""
        self._replies.put(None)

    def replies(self, timeout_seconds: float) -> list[tuple[Call, Reply]]:
        """All replies that are there, after waiting for the first one. What a call raised besides replies comes out."""
        answered: list[tuple[Call, Reply]] = []
        try:
            item = self._replies.get(timeout=max(0.0, timeout_seconds))
            while True:
                if item is not None:
                    call, reply = item
                    if isinstance(reply, Defect):
                        raise reply.raised
                    answered.append((call, reply))
                item = self._replies.get_nowait()
        except Empty:
            return answered

    def _run(self, queue: _Queue) -> None:
        name, seat = threading.current_thread().name, _Seat()
        while True:
            call = self._running[name] = queue.get(seat)
            try:
                reply: Reply | Defect = self._perform(call)
            except BaseException as raised:  # noqa: BLE001 - the loop raises it again
                reply = Defect(raised)
            self._running[name] = None
            self._replies.put((call, reply))

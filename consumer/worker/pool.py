"""The pool: daemon threads that run calls and queue their replies. A lane each for data and for beats.

Own, small threads rather than an executor of the standard library: that one waits at exit for calls under way, and a
worker that has been told to stop must not wait for a read of five seconds.
"""

import threading
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from consumer.worker.calls import Call, Lane, Perform, Reply, lane_of


@dataclass(frozen=True, slots=True)
class Defect:
    """What a call raised although `perform` turns every known failure into a reply: the process ends with it."""

    raised: BaseException


class Pool:
    """Runs calls in the order given, at most `data_threads` at once and two of the beats' lane."""

    def __init__(self, perform: Perform, data_threads: int) -> None:
        self._perform = perform
        self._calls: dict[Lane, SimpleQueue[Call]] = {Lane.DATA: SimpleQueue(), Lane.BEAT: SimpleQueue()}
        self._replies: SimpleQueue[tuple[Call, Reply | Defect] | None] = SimpleQueue()
        for lane, threads in ((Lane.DATA, data_threads), (Lane.BEAT, 2)):
            for number in range(threads):
                threading.Thread(target=self._run, args=(lane,), name=f"{lane.value}-{number}", daemon=True).start()

    def start(self, call: Call) -> None:
        """Queues the call; its reply comes out of `replies`."""
        self._calls[lane_of(call)].put(call)

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

    def _run(self, lane: Lane) -> None:
        calls = self._calls[lane]
        while True:
            call = calls.get()
            try:
                reply: Reply | Defect = self._perform(call)
            except BaseException as raised:  # noqa: BLE001 - the loop raises it again
                reply = Defect(raised)
            self._replies.put((call, reply))

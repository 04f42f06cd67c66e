"""The daemon: start, run, drain. One thread owns all state; a pool runs the calls."""

import os
import threading
import time
from collections.abc import Callable
from math import ceil
from typing import Any, Final

from consumer.domain.errors import Trouble, WorkerStalled
from consumer.domain.ports import Commits
from consumer.worker.narrator import Narrator
from consumer.worker.perform import Perform
from consumer.worker.pool import Pool
from consumer.worker.stop import Stop
from consumer.worker.worker import Worker

LONGEST_WAIT_SECONDS: Final = 0.5
"""The loop turns at least this often, so that the watchdog knows it alive."""
STANDING_SECONDS: Final = 1.0
PENDING_SECONDS: Final = 60.0
LONGEST_CALL_SECONDS: Final = 60.0
"""A call of many pages (a scan of the ledger, a listing) takes so long at most; one question at most 6 s."""
DRAIN_SECONDS: Final = 20.0
"""ECS sends SIGKILL 30 s after SIGTERM; leases that could not be released by then expire by themselves."""


class Daemon:
    """Runs one worker until it is told to stop."""

    def __init__(
        self,
        worker: Worker,
        perform: Perform,
        narrator: Narrator,
        commits: Commits,
        log: Any,
        stop: Stop,
        *,
        lease_ttl_seconds: float,
        threads: int,
    ) -> None:
        self._worker = worker
        self._narrator = narrator
        self._commits = commits
        self._log = log
        self._ttl = lease_ttl_seconds
        self._pool = Pool(perform, threads)
        self._stop = stop
        stop.wake = self._pool.wake
        self._finished = threading.Event()
        self._turned_at = time.monotonic()
        self._turns = 0
        self._pending: int | None = None
        self.not_ready: tuple[str, ...] = ("starting: nothing has been read yet",)

    def run(self) -> None:
        """Returns when drained. Raises ConsumerError when it must not go on."""
        for loop in (self._watch, self._count_pending):
            threading.Thread(target=self._aside, args=(loop,), name=loop.__name__, daemon=True).start()
        try:
            self._turn_until_drained()
        finally:
            self._finished.set()

    def why_not_alive(self) -> str | None:
        """None while the loop turns; else for how long it has stood still."""
        still = time.monotonic() - self._turned_at
        return f"the loop has stood still for {still:.0f} s" if still > 3 * self._ttl else None

    def _turn_until_drained(self) -> None:
        worker, pool = self._worker, self._pool
        drain_until: float | None = None
        standing_at = 0.0
        while not worker.done:
            now = time.monotonic()
            self._turned_at = now
            self._turns += 1
            if self._stop.event.is_set() and drain_until is None:
                drain_until = now + DRAIN_SECONDS
                self._log.info("worker.draining", leases=len(worker.shards))
                worker.drain()
            if drain_until is not None and now >= drain_until:
                self._log.warning("worker.drain_unfinished", leases=len(worker.shards))
                return
            if now >= standing_at:
                self._stand(now)
                standing_at = now + STANDING_SECONDS
            for call in worker.ready(now):
                pool.start(call)
            wait = min(worker.wake_at() - time.monotonic(), LONGEST_WAIT_SECONDS)
            for call, reply in pool.replies(wait):
                answered_at = time.monotonic()
                self._narrator.tell(worker.take(call, reply, answered_at), time.time())
        self._stand(time.monotonic())
        self._narrator.sum_up(worker.standing(time.monotonic()))

    def _stand(self, now: float) -> None:
        standing = self._worker.standing(now)
        self.not_ready = standing.not_ready
        self._narrator.stand(standing, self._pending, time.time())

    def _aside(self, loop: Callable[[], None]) -> None:
        """Runs a side loop; if it dies, so does the process: no half-dead worker."""
        try:
            loop()
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is said and the process ends
            self._die(WorkerStalled(f"{loop.__name__} died: {error!r}"))

    def _watch(self) -> None:
        """Ends the process when the loop, or a call, is overdue by three TTLs: twelve turns of this thread.

        It counts its own turns rather than seconds: after a pause of the whole process nobody is overdue.
        """
        turn_seconds = self._ttl / 4
        allowed = {
            "the loop": 12,
            **dict.fromkeys(self._pool.running(), 12 + ceil(LONGEST_CALL_SECONDS / turn_seconds)),
        }
        seen: dict[str, object] = {}
        still = dict.fromkeys(allowed, 0)
        while not self._finished.wait(turn_seconds):
            steps: dict[str, object] = {"the loop": self._turns, **self._pool.running()}
            for name, step in steps.items():
                still[name] = still[name] + 1 if step is not None and step is seen.get(name) else 0
                if still[name] >= allowed[name]:
                    doing = "" if name == "the loop" else f" in {type(step).__name__}"
                    self._die(WorkerStalled(f"{name} has made no step for {still[name] * turn_seconds:.0f} s{doing}"))
            seen = steps

    def _count_pending(self) -> None:
        """Pending quarantine rows are counted rarely, and aside: it is a scan."""
        while True:
            try:
                self._pending = self._commits.pending()
            except Trouble as trouble:
                self._log.debug("quarantine.count_failed", reason=trouble.kind.value, detail=trouble.detail)
            if self._finished.wait(PENDING_SECONDS):
                return

    def _die(self, error: WorkerStalled) -> None:
        self._log.critical("worker.stalled", detail=str(error))
        os._exit(error.exit_code)

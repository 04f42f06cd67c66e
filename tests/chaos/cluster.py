"""The workers of a run: slots that always hold one worker, which is struck, ends, and is started again."""

import json
import signal
import time
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from threading import Event
from typing import Any, Self

from tests.chaos.plan import HostFault, Kind, Plan, Strike
from tests.support.processes import Game, WorkerProcess

_STEP_SECONDS = 0.02
_END_SECONDS = 30.0
"""ECS waits so long after SIGTERM."""
_RETRY_SECONDS = 0.5
_START_REFUSED = 3
_SECOND_SIGNAL = 7
_LAST_LINES = 12

Steps = Generator[None, None, None]
"""It yields until the next time to check the clock."""


class Cluster:
    """Use it in a `with`, in the main thread: its processes end with the thread that started them."""

    def __init__(self, plan: Plan, game: Game, variables: dict[str, str], stream_arn: str) -> None:
        """`variables`: where the workers find AWS, and their credentials."""
        self.stream_arn = stream_arn
        self._plan = plan
        self._game = game
        self._variables = variables
        self._stack = ExitStack()
        self._step = Event()
        self.slots = [
            Slot(
                f"w{number}",
                partial(
                    Strike.sparing if number < plan.spared else Strike.drawn,
                    plan.random(f"slot {number}"),
                    plan.time_scale,
                    logs=HostFault.LOG not in plan.without,
                ),
                partial(self._start, number),
                may_log=_expected_errors(plan),
            )
            for number in range(plan.workers)
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def errors(self) -> list[str]:
        """What workers did wrong."""
        return [error for slot in self.slots for error in slot.errors]

    @property
    def complete(self) -> bool:
        """Whether a worker runs in every slot."""
        return all(slot.runs for slot in self.slots)

    def step(self) -> None:
        """Does what is due, and waits a little."""
        for slot in self.slots:
            slot.step()
        self._step.wait(_STEP_SECONDS)

    def spare(self) -> None:
        """Ends all strikes: every slot gets a running worker."""
        for slot in self.slots:
            slot.spare()

    def end(self) -> None:
        """Sends SIGTERM to all workers at once, and waits for them."""
        for slot in self.slots:
            slot.workers[-1].send(signal.SIGTERM)
        for slot in self.slots:
            slot.end()

    def strikes(self) -> Counter[Kind]:
        return sum((slot.strikes for slot in self.slots), Counter())

    def blocked_logs(self) -> int:
        """How often the log of a worker blocked."""
        return sum(slot.blocked_logs for slot in self.slots)

    def exits(self) -> Counter[int]:
        return sum((slot.exits for slot in self.slots), Counter())

    def last_lines(self, shard_id: str) -> str:
        """The last lines of each worker that name a shard."""
        found = []
        for worker in (worker for slot in self.slots for worker in slot.workers):
            lines = [line for line in worker.log_lines if shard_id in line][-_LAST_LINES:]
            found += [f"  pid {worker.pid}: {line.rstrip()}" for line in lines]
        return "\n".join(found)

    def _start(self, number: int) -> WorkerProcess:
        plan = self._plan
        environment = self._game.environment(
            worker_id=f"w{number}",
            stream_arn=self.stream_arn,
            lease_ttl_seconds=str(plan.lease_ttl_seconds),
            poll_interval_seconds=str(plan.poll_interval_seconds),
            batch_window_seconds=str(plan.batch_window_seconds),
        )
        environment = {name: value for name, value in environment.items() if "ACCESS_KEY" not in name}
        if not plan.stable[number]:
            del environment["CONSUMER_WORKER_ID"]
        if not plan.by_arn:
            del environment["CONSUMER_STREAM_ARN"]
        return self._stack.enter_context(WorkerProcess(environment | self._variables))


class Slot:
    """A place for one worker after the other, as an orchestrator keeps it. Call `step` often.

    `errors`: what its workers did wrong, with their last lines.
    """

    def __init__(
        self, name: str, draw: Callable[[], Strike], start: Callable[[], WorkerProcess], *, may_log: Collection[str]
    ) -> None:
        """`may_log`: events that are errors and are expected."""
        self.name = name
        self.workers: list[WorkerProcess] = []
        self.strikes: Counter[Kind] = Counter()
        self.exits: Counter[int] = Counter()
        self.blocked_logs = 0
        self.errors: list[str] = []
        self._draw = draw
        self._start = start
        self._may_log = may_log
        self._spared = False
        self._steps = self._run()

    def step(self) -> None:
        """Does what is due."""
        next(self._steps)

    def spare(self) -> None:
        """Ends the strikes: a paused worker continues, a missing one is started."""
        self._spared = True

    @property
    def runs(self) -> bool:
        """Whether a worker lives and has started."""
        return bool(self.workers) and self.workers[-1].code is None and bool(self.workers[-1].events("http.listening"))

    def end(self) -> None:
        """Waits for the end of the last worker."""
        self.workers[-1].wait(_END_SECONDS)
        self._check_end({0})

    def _run(self) -> Steps:
        while True:
            self.workers.append(self._start())
            lives = True
            while lives:
                lives = yield from self._strike(self._draw())

    def _strike(self, strike: Strike) -> Generator[None, None, bool]:
        """Whether the worker lives on."""
        if not (yield from self._works(strike.after_seconds)):
            self._check_end({_START_REFUSED})
            yield from self._wait(_RETRY_SECONDS)
            return False
        self.strikes[strike.kind] += 1
        worker = self.workers[-1]
        if strike.blocks_log:
            self.blocked_logs += 1
            worker.block_log()
            yield from self._wait(strike.pause_seconds)
        for position, number in enumerate(strike.kind.signals):
            if position:
                after_pause = number in (signal.SIGCONT, signal.SIGKILL)
                yield from self._wait(strike.pause_seconds if after_pause else strike.gap_seconds)
            worker.send(number)
        if strike.kind in (Kind.PAUSE, Kind.LOG):
            worker.unblock_log()
            return True
        yield from self._await_end()
        self._check_end(self._allowed_codes(strike.kind))
        yield from self._wait(strike.down_seconds)
        return False

    def _works(self, seconds: float) -> Generator[None, None, bool]:
        """Waits so long, or for ever once the slot is spared; False: the worker has ended by itself."""
        until = time.monotonic() + seconds
        while self._spared or time.monotonic() < until:
            if self.workers[-1].code is not None:
                return False
            yield
        return True

    def _wait(self, seconds: float) -> Steps:
        """Shorter once the slot is spared."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._spared:
            yield

    def _await_end(self) -> Steps:
        until = time.monotonic() + _END_SECONDS
        while self.workers[-1].code is None:
            if time.monotonic() > until:
                self.errors.append(f"{self.name} did not end within {_END_SECONDS:g} s of its signal")
                self.workers[-1].kill()
            yield

    def _allowed_codes(self, kind: Kind) -> set[int]:
        signals = kind.signals
        if signal.SIGKILL in signals:  # its start may have been refused a moment before
            return {-signal.SIGKILL} if self._has_started else {-signal.SIGKILL, _START_REFUSED}
        codes = {0}
        if signals.count(signal.SIGTERM) > 1:
            codes.add(_SECOND_SIGNAL)
        return codes | {_START_REFUSED, -signal.SIGTERM} if not self._has_started else codes

    @property
    def _has_started(self) -> bool:
        """Before that its start may be refused, and SIGTERM may come before it has a handler."""
        return bool(self.workers[-1].events("worker.starting"))

    def _check_end(self, allowed: Collection[int]) -> None:
        worker = self.workers[-1]
        code, _, log = worker.wait(0)
        self.exits[code] += 1
        lines = log.splitlines()
        name = f"{self.name} (pid {worker.pid})"
        self.errors += [f"{name} logged {line}" for line in _alarming(lines, self._may_log)]
        if code not in allowed or (code == _START_REFUSED and self._has_started):
            last = "\n".join(lines[-10:])
            self.errors.append(f"{name} ended with {code}, not {sorted(allowed)}:\n{last}")


def _expected_errors(plan: Plan) -> tuple[str, ...]:
    """Those of a second signal and of a refused start, whose exit codes are judged apart; lost records where the stream
    trims; and a stream that is off and read to its end.
    """
    trimmed = ("shard.gap",) if plan.trims else ()
    return ("worker.aborted", "consumer.refused", *trimmed, *(("stream.halted",) if plan.disabled else ()))


def _alarming(lines: Iterable[str], may_log: Collection[str]) -> Iterator[str]:
    """What no worker should log: tracebacks, and errors that are not expected."""
    for line in lines:
        event = _event(line)
        serious = event.get("level") in ("error", "critical") and event.get("event") not in may_log
        if serious or "Traceback" in line or "Fatal Python error" in line:
            yield line


def _event(line: str) -> dict[str, Any]:
    try:
        event = json.loads(line)
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}

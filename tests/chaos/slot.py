"""A place in which one worker after the other lives, as an orchestrator keeps it filled."""

import signal
import time
from collections import Counter
from collections.abc import Callable, Collection, Generator

from tests.chaos import words
from tests.chaos.blow import Blow, Kind
from tests.processes import WorkerProcess

_END_SECONDS = 30.0
"""ECS waits so long after SIGTERM."""
_AGAIN_SECONDS = 0.5
_START_REFUSED = 3
_SECOND_SIGNAL = 7

Turns = Generator[None, None, None]
"""A `yield` is a look at the clock."""


class Slot:
    """`turn` it often. What a worker must not do is in `complaints`, with its last words."""

    def __init__(self, name: str, draw: Callable[[], Blow], start: Callable[[], WorkerProcess], *, gaps: bool) -> None:
        """`gaps`: whether a worker may tell of some."""
        self.name = name
        self.workers: list[WorkerProcess] = []
        self.blows: Counter[Kind] = Counter()
        self.exits: Counter[int] = Counter()
        self.complaints: list[str] = []
        self._draw = draw
        self._start = start
        self._gaps = gaps
        self._calm = False
        self._life = self._live()

    def turn(self) -> None:
        """Does what is due."""
        next(self._life)

    def calm(self) -> None:
        """No more blows from now on; a paused worker goes on, a missing one is started."""
        self._calm = True

    @property
    def works(self) -> bool:
        """Whether a worker lives and has begun."""
        return bool(self.workers) and self.workers[-1].code is None and bool(self.workers[-1].events("http.listening"))

    def end(self) -> None:
        """The last worker's end is awaited."""
        self.workers[-1].wait(_END_SECONDS)
        self._examine({0})

    def _live(self) -> Turns:
        while True:
            self.workers.append(self._start())
            lives = True
            while lives:
                lives = yield from self._meet(self._draw())

    def _meet(self, blow: Blow) -> Generator[None, None, bool]:
        """Whether the worker lives on."""
        if not (yield from self._works(blow.after)):
            self._examine({_START_REFUSED})
            yield from self._pause(_AGAIN_SECONDS)
            return False
        self.blows[blow.kind] += 1
        worker = self.workers[-1]
        first, *others = blow.kind.signals
        worker.send(first)
        for number in others:
            yield from self._pause(blow.seconds if number in (signal.SIGCONT, signal.SIGKILL) else blow.moment)
            worker.send(number)
        if blow.kind is Kind.PAUSE:
            return True
        yield from self._ends()
        self._examine(self._allowed(blow.kind))
        yield from self._pause(blow.down)
        return False

    def _works(self, seconds: float) -> Generator[None, None, bool]:
        """For so long, and for ever when it is calm; False: it ended by itself."""
        until = time.monotonic() + seconds
        while self._calm or time.monotonic() < until:
            if self.workers[-1].code is not None:
                return False
            yield
        return True

    def _pause(self, seconds: float) -> Turns:
        """Cut short by the calm."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._calm:
            yield

    def _ends(self) -> Turns:
        until = time.monotonic() + _END_SECONDS
        while self.workers[-1].code is None:
            if time.monotonic() > until:
                self.complaints.append(f"{self.name} did not end within {_END_SECONDS:g} s of its signal")
                self.workers[-1].kill()
            yield

    def _allowed(self, kind: Kind) -> set[int]:
        signals = kind.signals
        if signal.SIGKILL in signals:
            return {-signal.SIGKILL}
        codes = {0}
        if signals.count(signal.SIGTERM) > 1:
            codes.add(_SECOND_SIGNAL)
        return codes | {_START_REFUSED, -signal.SIGTERM} if not self._has_begun else codes

    @property
    def _has_begun(self) -> bool:
        """Until it has, it may be refused, and no handler of its own meets a SIGTERM while it is imported."""
        return bool(self.workers[-1].events("worker.starting"))

    def _examine(self, allowed: Collection[int]) -> None:
        worker = self.workers[-1]
        code, _, said = worker.wait(0)
        self.exits[code] += 1
        fair = code in allowed and not (code == _START_REFUSED and self._has_begun)
        lines = said.splitlines()
        self.complaints += [
            f"{self.name} (pid {worker.pid}): {each}" for each in words.complaints(lines, gaps=self._gaps)
        ]
        if not fair:
            last = "\n".join(lines[-10:])
            self.complaints.append(f"{self.name} (pid {worker.pid}) ended with {code}, not {sorted(allowed)}:\n{last}")

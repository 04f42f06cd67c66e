"""The workers of a run, each in its slot."""

import signal
from collections import Counter
from contextlib import ExitStack
from functools import partial
from threading import Event
from typing import Self

from tests.chaos.blow import Blow, Kind
from tests.chaos.plan import Plan
from tests.chaos.slot import Slot
from tests.processes import Game, WorkerProcess

_TICK_SECONDS = 0.02


class Crew:
    """Use it in a `with`, in the main thread: its processes end with the thread that started them."""

    def __init__(self, plan: Plan, game: Game, variables: dict[str, str], stream_arn: str) -> None:
        self.stream_arn = stream_arn
        self._plan = plan
        self._game = game
        self._variables = variables
        self._stack = ExitStack()
        self._tick = Event()
        self.slots = [
            Slot(
                f"w{number}",
                Blow.never if number < plan.spared else partial(Blow.drawn, plan.random(f"slot {number}"), plan.pace),
                partial(self._start, number),
                gaps=plan.trims,
            )
            for number in range(plan.workers)
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def workers(self) -> list[WorkerProcess]:
        """All there ever were."""
        return [worker for slot in self.slots for worker in slot.workers]

    @property
    def complaints(self) -> list[str]:
        return [complaint for slot in self.slots for complaint in slot.complaints]

    @property
    def whole(self) -> bool:
        """Whether a worker lives in every slot."""
        return all(slot.works for slot in self.slots)

    def turn(self) -> None:
        """Does what is due, and waits for a moment."""
        for slot in self.slots:
            slot.turn()
        self._tick.wait(_TICK_SECONDS)

    def calm(self) -> None:
        """From now on all live and none is troubled."""
        for slot in self.slots:
            slot.calm()

    def end(self) -> None:
        """SIGTERM to all at once, and their ends."""
        for slot in self.slots:
            slot.workers[-1].send(signal.SIGTERM)
        for slot in self.slots:
            slot.end()

    def blows(self) -> Counter[Kind]:
        return sum((slot.blows for slot in self.slots), Counter())

    def exits(self) -> Counter[int]:
        return sum((slot.exits for slot in self.slots), Counter())

    def _start(self, number: int) -> WorkerProcess:
        plan = self._plan
        environment = self._game.environment(
            worker_id=f"w{number}",
            stream_arn=self.stream_arn,
            lease_ttl_seconds=str(plan.lease_ttl_seconds),
            poll_interval_seconds=str(plan.poll_interval_seconds),
            batch_window_seconds=str(plan.batch_window_seconds),
        )
        if not plan.stable[number]:
            del environment["CONSUMER_WORKER_ID"]
        if not plan.by_arn:
            del environment["CONSUMER_STREAM_ARN"]
        return self._stack.enter_context(WorkerProcess(environment | self._variables))

"""What the workers that are spared take, from time to time."""

import time

from tests.chaos.crew import Crew
from tests.measure.usage import Usage, usage

_EVERY_SECONDS = 5.0


class Watch:
    """Call it often. `seen`: seconds since the first look, and what the one spared worker took then."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, Usage]] = []
        self._began = time.monotonic()
        self._due = self._began

    def __call__(self, crew: Crew) -> None:
        """Looks, if it is time to."""
        now = time.monotonic()
        if now >= self._due and crew.slots[0].works:
            self._due = now + _EVERY_SECONDS
            self.seen.append((now - self._began, usage(crew.slots[0].workers[-1].pid)))

    def after(self, seconds: float) -> tuple[float, Usage]:
        """The first look after so many seconds."""
        return next(each for each in self.seen if each[0] >= seconds)

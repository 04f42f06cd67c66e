"""What befalls a worker."""

from enum import Enum
from math import inf
from random import Random
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM, Signals
from typing import NamedTuple

_LONGEST_PAUSE_SECONDS = 16.0


class Kind(Enum):
    """The signals that a worker gets, one after the other."""

    KILL = (SIGKILL,)
    PAUSE = (SIGSTOP, SIGCONT)
    PAUSE_KILL = (SIGSTOP, SIGKILL)
    TERM = (SIGTERM,)
    TERM_PAUSE = (SIGTERM, SIGSTOP, SIGCONT)
    TERM_TWICE = (SIGTERM, SIGTERM)

    @property
    def signals(self) -> tuple[Signals, ...]:
        return tuple(Signals(number) for number in self.value)


_SHARES = {Kind.KILL: 34, Kind.PAUSE: 28, Kind.PAUSE_KILL: 8, Kind.TERM: 18, Kind.TERM_PAUSE: 6, Kind.TERM_TWICE: 6}


class Blow(NamedTuple):
    """It comes `after` so many seconds of work. A pause lasts `seconds`, what follows a SIGTERM comes a `moment` later;
    `down`: seconds until the next start."""

    kind: Kind
    after: float
    seconds: float
    moment: float
    down: float

    @classmethod
    def never(cls) -> "Blow":
        """For a worker that is spared."""
        return cls(Kind.KILL, inf, 0.0, 0.0, 0.0)

    @classmethod
    def drawn(cls, draw: Random, pace: float = 1.0) -> "Blow":
        """Some meet a worker that has hardly begun; pauses are from a blink to much longer than any lease lasts.

        `pace`: all comes in so many times the seconds.
        """
        (kind,) = draw.choices([*_SHARES], [*_SHARES.values()])
        after = draw.uniform(0.1, 2.0) if draw.random() < 0.2 else draw.uniform(1.0, 9.0)
        seconds = draw.uniform(2.0, _LONGEST_PAUSE_SECONDS) if draw.random() < 0.6 else draw.uniform(0.02, 2.0)
        return cls(kind, pace * after, pace * seconds, draw.uniform(0.0, 0.5), pace * draw.uniform(0.0, 3.0))

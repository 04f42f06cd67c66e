"""Whether a worker lives, as a person's command finds out: a beat that grows is alive, whatever any clock says."""

from collections.abc import Callable, Generator
from typing import Final

from consumer.domain.leases import Members

LOOKS: Final = 4
"""After the first one; together they cover a TTL, in which a living worker beats four times."""
PAUSE_TTLS: Final = 0.26
"""A little over the quarter of a TTL after which the next beat is due."""


def is_alive(
    owner: str, look: Callable[[], Members], lease_ttl_seconds: float, wait: Callable[[float], object]
) -> bool:
    """Looks again until the owner's beat has grown, or a TTL is over. Who is not a member is dead at once."""
    vigil = watching(owner, lease_ttl_seconds)
    pause = next(vigil)
    while True:
        if pause:
            wait(pause)
        try:
            pause = vigil.send(look())
        except StopIteration as end:
            return bool(end.value)


def watching(owner: str, lease_ttl_seconds: float) -> Generator[float, Members, bool]:
    """The same step by step: says how long to wait before the next look, is told what that has seen."""
    first = (yield 0.0).workers.get(owner)
    for _ in range(LOOKS):
        if first is None:
            return False
        now = (yield lease_ttl_seconds * PAUSE_TTLS).workers.get(owner)
        if now is None:
            return False
        if now.beat != first.beat:
            return True
    return False

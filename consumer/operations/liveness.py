"""Whether a worker lives, as a person's command finds out: a beat that grows is alive, whatever any clock says."""

from collections.abc import Callable
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
    first = look().workers.get(owner)
    for _ in range(LOOKS):
        if first is None:
            return False
        wait(lease_ttl_seconds * PAUSE_TTLS)
        now = look().workers.get(owner)
        if now is None:
            return False
        if now.beat != first.beat:
            return True
    return False

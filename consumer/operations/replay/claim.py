"""Whether a replay of this shard into this target is under way: a progress row that moves has somebody at it."""

from typing import Final

from consumer.domain.errors import UnsafeRefused
from consumer.domain.leases import Shard
from consumer.domain.replay import Progress
from consumer.operations.replay.calls import Due, Look, Reply, Seen

LOOKS: Final = 3
"""After the first one."""
PAUSE_SECONDS: Final = 1.0
"""A replay moves its row several times a second. Who is taken for dead and is not, is fenced: it counts nothing."""


class Claim:
    """The machine. `found` is the row as it is now."""

    def __init__(self, shard: Shard, target: str, *, patient: bool = True) -> None:
        self.found: Progress | None = None
        self.busy = False
        self._look = Look(shard, target)
        self._left = 1 + (LOOKS if patient else 0)
        self._first = True

    def due(self) -> Due | None:
        """Looks at it; again, while it runs and does not move."""
        if self.busy or self._left == 0:
            return None
        return Due(self._look, 0.0 if self._first else PAUSE_SECONDS)

    def take(self, reply: Reply) -> None:
        """The row."""
        assert isinstance(reply, Seen)
        before, self.found = self.found, reply.progress
        running = self.found is not None and self.found.running
        self.busy = running and not self._first and self.found != before
        self._first = False
        self._left = self._left - 1 if running else 0

    def refuse_busy(self) -> None:
        """Raises UnsafeRefused while somebody is at it."""
        if self.busy and self.found is not None:
            found = self.found
            raise UnsafeRefused(
                f"a replay of shard {found.shard} into {found.target} is running: {found.who} began it, and it stands "
                f"behind {found.position} of {found.range.first} to {found.range.last}. Nothing was changed"
            )

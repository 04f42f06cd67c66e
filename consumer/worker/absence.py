"""Whether a shard is gone: listings never prove it, a shard iterator that is refused again and again does."""

from typing import Final

GONE_ANSWERS: Final = 3
GONE_SECONDS: Final = 600.0


class Absence:
    """Evidence, taken only while the stream itself answers. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._missing = False
        self._answers = 0
        self._first_at = 0.0

    def refused(self) -> None:
        """GetShardIterator said that there is no such shard."""
        self._missing = True

    def found(self) -> None:
        """The shard was there after all."""
        self._missing = False
        self._answers = 0

    def stream_answered(self, now: float) -> None:
        """A listing of the stream came in: a refusal since the last one counts."""
        if not self._missing:
            return
        self._missing = False
        if not self._answers:
            self._first_at = now
        self._answers += 1
        self._last_at = now

    @property
    def proven(self) -> bool:
        """Refused three times over ten minutes."""
        return self._answers >= GONE_ANSWERS and self._last_at - self._first_at >= GONE_SECONDS

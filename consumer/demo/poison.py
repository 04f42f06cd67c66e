"""Every way in which a game's record can be unusable, each with the reason that it must be quarantined with."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from consumer.domain.records import MAX_PLAYER_BYTES, Reason

Image = Mapping[str, Any]


class Kind(NamedTuple):
    """What is wrong: `attribute` has `value` (in wire form) or, for None, is not there at all."""

    reason: Reason
    attribute: str
    value: Mapping[str, Any] | None

    def spoil(self, image: Image) -> Image:
        """A good game's image with this fault."""
        kept = {name: value for name, value in image.items() if name != self.attribute}
        return kept if self.value is None else {**kept, self.attribute: self.value}


def kinds(now: datetime) -> tuple[Kind, ...]:
    """All kinds that a table accepts and the worker must not; `now` is what "in the future" is measured from."""
    two_days_on = (now + timedelta(days=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return (
        Kind(Reason.PLAYER_MISSING, "playerId", None),
        Kind(Reason.PLAYER_EMPTY, "playerId", {"S": ""}),
        Kind(Reason.PLAYER_TYPE, "playerId", {"N": "7"}),
        Kind(Reason.PLAYER_TOO_LONG, "playerId", {"S": "\N{MUSICAL KEYBOARD}" * (MAX_PLAYER_BYTES // 4 + 1)}),
        Kind(Reason.SCORE_MISSING, "score", None),
        Kind(Reason.SCORE_TYPE, "score", {"S": "100"}),
        Kind(Reason.SCORE_TYPE, "score", {"BOOL": True}),
        Kind(Reason.SCORE_TYPE, "score", {"NULL": True}),
        Kind(Reason.TIMESTAMP_MISSING, "timestamp", None),
        Kind(Reason.TIMESTAMP_TYPE, "timestamp", {"N": "1767225600"}),
        Kind(Reason.TIMESTAMP_INVALID, "timestamp", {"S": "yesterday"}),
        Kind(Reason.TIMESTAMP_INVALID, "timestamp", {"S": "2026-02-30"}),
        Kind(Reason.TIMESTAMP_INVALID, "timestamp", {"S": "2026-W05-1"}),
        Kind(Reason.TIMESTAMP_INVALID, "timestamp", {"S": "2026-01-31T24:00:00Z"}),
        Kind(Reason.TIMESTAMP_INVALID, "timestamp", {"S": "0001-01-01T00:30:00+02:00"}),
        Kind(Reason.TIMESTAMP_IN_FUTURE, "timestamp", {"S": two_days_on}),
    )

"""Records as they came, parsed when somebody asks: nearly nobody does, and parsed they take six times the room."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from consumer.domain.errors import Trouble, TroubleKind


class Kept(Mapping[str, Any]):
    """The record at a `place` of an answer of GetRecords that was parsed in part: Trouble when the rest is no JSON."""

    __slots__ = ("_body", "_place")

    def __init__(self, body: bytes, place: int) -> None:
        self._body = body
        self._place = place

    def __getitem__(self, name: str) -> Any:
        return self._record()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._record())

    def __len__(self) -> int:
        return len(self._record())

    def _record(self) -> dict[str, Any]:
        try:
            record: dict[str, Any] = json.loads(self._body)["Records"][self._place]
        except (ValueError, RecursionError):
            raise Trouble(TroubleKind.MALFORMED, "a record came in a page that cannot be parsed") from None
        return record

"""Records as they came, parsed when somebody asks: nearly nobody does, and parsed they take six times the room."""

import json
from collections.abc import Iterator, Mapping
from typing import Any


class Kept(Mapping[str, Any]):
    """The record at a `place` of an answer of GetRecords, which was sound when it was read."""

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
        record: dict[str, Any] = json.loads(self._body)["Records"][self._place]
        return record

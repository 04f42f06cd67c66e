"""Rules of what people's commands do, taken away; see mutations."""

from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from consumer.domain.breaker import Breaker
from consumer.domain.leases import LeaseRow
from consumer.domain.replay import Range
from consumer.operations import checkpoint, liveness
from tests.simulation.mutations import mutation


@mutation
def set_only_when_nobody_lives() -> Iterator[None]:
    """Whoever owns a shard is taken for dead."""

    def watching(*_: Any) -> Generator[float, Any, bool]:
        yield 0.0
        return False

    with patch.object(liveness, "watching", watching):
        yield


@mutation
def placed_above_all_epochs() -> Iterator[None]:
    """A row that is moved keeps its epoch."""
    original = checkpoint._moved

    def moved(row: LeaseRow, *given: Any) -> LeaseRow:
        return replace(original(row, *given), epoch=row.epoch)

    with patch.object(checkpoint, "_moved", moved):
        yield


@mutation
def made_above_all_epochs() -> Iterator[None]:
    """A row that is made again begins with epoch 0."""
    original = checkpoint._missing

    def missing(*given: Any) -> LeaseRow:
        return replace(original(*given), epoch=0)

    with patch.object(checkpoint, "_missing", missing):
        yield


@mutation
def flood_halts() -> Iterator[None]:
    """The breaker never trips."""
    with patch.object(Breaker, "trips", lambda *_: False):
        yield


@mutation
def overlap_is_refused() -> Iterator[None]:
    """No two ranges have a record in common."""
    with patch.object(Range, "overlaps", lambda *_: False):
        yield

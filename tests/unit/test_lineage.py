from collections.abc import Mapping, Sequence

import pytest

from consumer.domain import lineage
from consumer.domain.leases import SHARD_END, Ledger, StreamStart
from consumer.domain.replies import ListedShard, StreamListing
from tests.support.builders import ARN, CREATED, build_shards, row, shard


@pytest.mark.parametrize(
    ("size", "children", "roots"),
    [
        (0, {}, []),
        (1, {}, [0]),
        (3, {}, [0, 1, 2]),
        (6, {0: 1, 1: [2, 3]}, [0, 4, 5]),
        (4, {0: [1], 1: [2], 2: [3]}, [0]),
        (4, {9: [0, 1], 1: 2}, [0, 1, 3]),
    ],
)
def test_roots_are_the_shards_without_a_listed_parent(
    size: int, children: Mapping[int, int | Sequence[int]], roots: list[int]
) -> None:
    assert lineage.roots(build_shards(size, children)) == tuple(f"shard-{number}" for number in roots)


def test_roots_do_not_depend_on_the_order_of_a_listing() -> None:
    listed = build_shards(6, {0: 1, 1: [2, 3]}).shards
    assert lineage.roots(StreamListing(ARN, True, listed[::-1], CREATED)) == ("shard-0", "shard-4", "shard-5")
    orphan = StreamListing(ARN, True, (ListedShard("b", "gone"), ListedShard("a", None)), CREATED)
    assert lineage.roots(orphan) == ("a", "b")


def stream_start(*roots: int, complete: bool = True) -> StreamStart:
    return StreamStart(ARN, None, tuple(f"shard-{root}" for root in roots), complete)


@pytest.mark.parametrize(
    ("ledger", "missing"),
    [
        (Ledger((), ()), []),
        (Ledger((row(0), row(1)), (stream_start(0, 1),)), []),
        (Ledger((row(0),), (stream_start(0, 1),)), [1]),
        (Ledger((), (stream_start(0, 1),)), [0, 1]),
        (Ledger((row(0),), (stream_start(0, 1, complete=False),)), []),
        (Ledger((row(0, checkpoint=SHARD_END, children=("shard-1", "shard-2")), row(1)), (stream_start(0),)), [2]),
        (Ledger((row(1, checkpoint=SHARD_END, children=("shard-2",)), row(2)), (stream_start(0),)), [0]),
        (Ledger((row(0), row(7)), (stream_start(0),)), []),
    ],
)
def test_a_row_is_missing_when_the_stream_start_or_a_parent_knows_the_shard(ledger: Ledger, missing: list[int]) -> None:
    assert ledger.missing == {shard(number) for number in missing}


def test_a_shard_is_known_by_its_stream_too() -> None:
    other = StreamStart(ARN.replace("2026-01-01", "2026-02-02"), None, ("shard-0",), complete=True)
    assert {each.label for each in Ledger((row(0),), (stream_start(0), other)).missing} == {"2026-02-02T00:00:00.000"}

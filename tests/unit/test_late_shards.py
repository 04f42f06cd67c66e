"""Listed shards that the lease table does not know: which are adopted, which wait, which lie before the start.

And which finished rows are forgotten.
"""

import pytest

from consumer.domain.leases import TRIM_HORIZON, Adoption, LeaseRow, Ledger, StreamStart
from consumer.domain.lineage import FORGET_SECONDS, RETENTION_SECONDS, forgettable, late_shards, unlisted_marks
from consumer.domain.replies import ListedShard, StreamListing
from tests.support.builders import ARN, CREATED, build_shards, finished, row, shard

SEEN = CREATED - 60
UNSEEN = {f"shard-{number}": SEEN for number in range(10)}


def stream_start(*roots: int, complete: bool = True) -> StreamStart:
    return StreamStart(ARN, None, tuple(f"shard-{root}" for root in roots), complete)


def listed(*shards: tuple[int, int | None]) -> StreamListing:
    """Shards with their parents."""
    return StreamListing(
        ARN,
        True,
        tuple(ListedShard(f"shard-{each}", None if above is None else f"shard-{above}") for each, above in shards),
        CREATED,
    )


def joined(adoption: Adoption) -> tuple[str | None, list[str]]:
    """Into which list (None: the root shards), and which shards."""
    into = adoption.into
    return into.shard.shard_id if isinstance(into, LeaseRow) else None, [each.shard.shard_id for each in adoption.rows]


def found(listing: StreamListing, ledger: Ledger, *gone: int) -> list[tuple[str | None, list[str]]]:
    late = late_shards(listing, ledger, UNSEEN, [f"shard-{each}" for each in gone])
    return [joined(adoption) for adoption in late.adoptions]


def test_known_shards_are_not_late() -> None:
    ledger = Ledger((finished(0, 1, 2), row(1, parent=0), row(2, parent=0), row(3)), (stream_start(0, 3),))
    late = late_shards(build_shards(4, {0: [1, 2]}), ledger, UNSEEN)
    assert late.adoptions == ()
    assert late.orphans == {}


def test_a_sibling_that_was_hidden_joins_its_finished_parents_list() -> None:
    ledger = Ledger((finished(0, 1), row(1, parent=0)), (stream_start(0),))
    (adoption,) = late_shards(build_shards(3, {0: [1, 2]}), ledger, UNSEEN).adoptions
    assert adoption == Adoption(
        finished(0, 1), (LeaseRow(shard(2), None, int(CREATED), TRIM_HORIZON, "shard-0", created=SEEN),)
    )
    assert (adoption.before, adoption.after) == (("shard-1",), ("shard-1", "shard-2"))


def test_a_child_that_was_hidden_when_its_parent_ended_as_a_leaf_joins_too() -> None:
    assert found(build_shards(2, {0: 1}), Ledger((finished(0),), (stream_start(0),))) == [("shard-0", ["shard-1"])]


def test_children_of_an_unfinished_parent_wait_for_its_end() -> None:
    ledger = Ledger((row(0),), (stream_start(0),))
    assert found(build_shards(3, {0: [1, 2]}), ledger) == []
    assert found(listed((2, 1), (1, 0)), ledger) == [], "grandchildren too"


def test_an_incomplete_listing_that_omits_a_readable_parent_starts_nothing() -> None:
    late = late_shards(listed((0, None), (2, 1)), Ledger((row(0),), (stream_start(0),)), UNSEEN)
    assert late.adoptions == ()
    assert late.orphans == {"shard-1": ("shard-2",)}, "1 may be a hidden child of 0"


def test_an_orphan_becomes_a_root_once_its_parent_is_proven_gone() -> None:
    ledger = Ledger((row(0),), (stream_start(0),))
    assert found(listed((0, None), (2, 1)), ledger, 1) == [(None, ["shard-2"])]
    assert found(listed((0, None), (2, 0)), ledger, 0) == [], "a parent with a row is not gone"


def test_a_root_that_was_hidden_at_the_start_joins_the_root_shards() -> None:
    assert found(build_shards(2, {}), Ledger((row(0),), (stream_start(0),))) == [(None, ["shard-1"])]


def test_ancestors_of_known_shards_lie_before_the_start() -> None:
    ledger = Ledger((row(2),), (stream_start(2),))
    assert found(build_shards(3, {0: 1, 1: 2}), ledger) == []
    sibling = listed((0, None), (1, 0), (2, 1), (3, 1))
    assert found(sibling, ledger) == [(None, ["shard-3"])], "a hidden sibling of a root is a root"


def test_a_forgotten_shard_that_an_old_listing_shows_is_an_ancestor() -> None:
    ledger = Ledger((row(2, parent=1),), (stream_start(),))
    assert found(listed((0, None), (1, 0), (2, 1)), ledger) == []


@pytest.mark.parametrize("stream_starts", [(), (stream_start(0, complete=False),)], ids=["not started", "incomplete"])
def test_without_a_complete_start_no_shard_is_late(stream_starts: tuple[StreamStart, ...]) -> None:
    assert found(build_shards(2, {}), Ledger((), stream_starts)) == []


@pytest.mark.parametrize("known_by", ["start", "parent"])
def test_a_shard_whose_row_was_deleted_is_not_late(known_by: str) -> None:
    ledger = Ledger((), (stream_start(0, 1),)) if known_by == "start" else Ledger((finished(0, 1),), (stream_start(0),))
    assert found(build_shards(2, {0: 1} if known_by == "parent" else {}), ledger) == []


def test_the_same_id_in_another_stream_is_another_shard() -> None:
    other = ARN.replace("2026-01-01", "2026-02-02")
    ledger = Ledger((row(0),), (stream_start(0), StreamStart(other, None, ("shard-0",), complete=True)))
    listing = StreamListing(other, True, build_shards(2, {0: 1}).shards, CREATED)
    assert found(listing, ledger) == []


@pytest.mark.parametrize(
    ("seen_at", "parents", "expected"),
    [(SEEN, None, SEEN), (None, CREATED - 5, CREATED - 5), (SEEN, CREATED - 5, CREATED - 5),
     (None, None, CREATED - RETENTION_SECONDS)],
)  # fmt: skip
def test_since_when_a_late_shard_may_have_been_there(
    seen_at: float | None, parents: float | None, expected: float
) -> None:
    parent = row(0, checkpoint="SHARD_END", created=parents)
    unseen = {} if seen_at is None else {"shard-1": seen_at}
    (adoption,) = late_shards(build_shards(2, {0: 1}), Ledger((parent,), (stream_start(0),)), unseen).adoptions
    assert adoption.rows[0].created == expected


# --- finished rows ---

LONG_AGO = CREATED - FORGET_SECONDS


def test_a_finished_row_is_marked_when_listings_stop_showing_it_and_unmarked_when_they_do_again() -> None:
    unmarked, shown, marked = finished(0, 1), finished(1, 2, unlisted_since=5.0), finished(2, unlisted_since=5.0)
    ledger = Ledger((unmarked, shown, marked, row(3)), ())
    assert unlisted_marks(listed((1, None)), ledger) == [(unmarked, CREATED), (shown, None)]


def test_a_finished_row_goes_after_48_hours_unlisted() -> None:
    ledger = Ledger(
        (finished(0, 1, unlisted_since=LONG_AGO), finished(1, 2, parent=0), row(2, parent=1)), (stream_start(0),)
    )
    assert forgettable(listed((2, 1)), ledger) == [ledger.rows[0]]
    later = finished(0, 1, unlisted_since=LONG_AGO + 1)
    assert forgettable(listed((2, 1)), Ledger((later, *ledger.rows[1:]), (stream_start(0),))) == []


def test_a_finished_row_stays_while_a_listing_still_shows_it() -> None:
    ledger = Ledger((finished(0, 1, unlisted_since=LONG_AGO), finished(1, parent=0)), (stream_start(0),))
    assert forgettable(build_shards(2, {0: 1}), ledger) == []


@pytest.mark.parametrize(
    "child",
    [(), (row(1, parent=0),)],
    ids=["child's row missing", "child unfinished"],
)
def test_a_finished_row_stays_until_its_children_are_finished(child: tuple[LeaseRow, ...]) -> None:
    assert (
        forgettable(listed((1, 0)), Ledger((finished(0, 1, unlisted_since=LONG_AGO), *child), (stream_start(0),))) == []
    )


def test_parents_go_before_children() -> None:
    """A parent's row knows its children: without the child's row that one would be missing."""
    old = finished(0, 1, unlisted_since=LONG_AGO)
    child = finished(1, 2, parent=0, unlisted_since=LONG_AGO)
    last = finished(2, parent=1)
    assert forgettable(listed(), Ledger((old, child, last), (stream_start(0),))) == [old]
    assert forgettable(listed(), Ledger((child, last), (stream_start(),))) == [child]

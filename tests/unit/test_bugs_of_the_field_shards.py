"""Bugs that keep coming back in consumers of streams, each as a test over whole workers: parents, children, streams."""

import pytest

from consumer.aws.items import shard_key
from consumer.domain.errors import Trouble, TroubleKind
from consumer.domain.leases import Shard
from consumer.domain.lineage import FORGET_SECONDS
from consumer.domain.outcomes import Children, RawPage, StreamListing
from consumer.domain.position import TRIM_HORIZON
from consumer.worker.absence import GONE_SECONDS
from tests.builders import ARN, ME, OTHER, shard
from tests.crews import LATER, Crew, alone
from tests.fakes import FakeStreams

FOR_SURE = GONE_SECONDS + 200.0
"""So long it takes to be sure that a shard is gone."""


def test_more_than_a_page_of_shards_are_all_read() -> None:
    """Elsewhere: DescribeStream shows 100 shards, and the rest of the pages, or of the rows, is forgotten."""
    crew = Crew()
    crew.grow(*range(250))
    hand = crew.hire(ME)
    crew.serve(10.0)
    assert len(hand.machine.shards) == 250
    for first in range(0, 250, 50):
        crew.write(*range(first, first + 50))
        crew.serve()
        assert crew.exact
        crew.written = 0
        crew.tables.board.clear()


def test_a_parent_that_is_gone_is_not_waited_for_for_ever() -> None:
    """Elsewhere: a shard that was trimmed before its end keeps its children waiting for good, or is passed silently."""
    crew, hand = alone(0)
    crew.write(0)
    crew.serve()
    checkpoint = crew.row(0).checkpoint
    crew.write(0)
    crew.split(0, 1)
    crew.write(1)
    crew.streams.shards["shard-0"].gone = True
    crew.serve(GONE_SECONDS - 100.0, step=1.0)
    assert crew.counted() == [0], "a shard that is gone is gone for more than a moment"
    crew.serve(300.0, step=1.0)
    assert crew.counted() == [0, 2]
    assert list(crew.tables.gaps) == [(shard(0), checkpoint)]
    assert crew.row(0).finished
    assert not hand.not_ready


def test_a_parent_that_was_gone_before_anybody_knew_it_is_not_waited_for_for_ever() -> None:
    """Elsewhere: a shard whose parent no listing shows is never read, or at once, before its parent."""
    crew, hand = alone(0)
    crew.grow(1, parent=0)
    crew.streams.shards["shard-1"].gone = True
    crew.grow(2, parent=1)
    crew.write(2)
    crew.serve(GONE_SECONDS - 100.0, step=1.0)
    assert crew.counted() == []
    crew.serve(300.0, step=1.0)
    assert crew.exact
    assert list(crew.tables.gaps) == [(shard(1), TRIM_HORIZON)]
    assert not hand.not_ready


def test_a_parent_waits_while_all_its_children_are_hidden() -> None:
    """Elsewhere: a shard that has ended and shows no children is done with, and nobody ever reads them."""
    crew, _ = alone(0)
    crew.split(0, 1, 2)
    crew.write(1, 2)
    for child in ("shard-1", "shard-2"):
        crew.streams.shards[child].hidden = True
    crew.serve(20.0)
    assert not crew.row(0).finished
    for child in ("shard-1", "shard-2"):
        crew.streams.shards[child].hidden = False
    crew.serve(6.0)
    assert crew.row(0).children == ("shard-1", "shard-2")
    assert crew.exact


@pytest.mark.parametrize(("hidden", "within"), [(10.0, 8.0), (70.0, 60.0)], ids=["asked again", "surveyed"])
def test_a_sibling_found_after_its_parent_ended_is_read(hidden: float, within: float) -> None:
    """Elsewhere: the children of a shard are asked for once, and one that was hidden then is never read."""
    crew, _ = alone(0)
    crew.split(0, 1, 2)
    crew.write(1, 2)
    crew.streams.shards["shard-2"].hidden = True
    crew.serve(hidden)
    assert crew.row(0).children == ("shard-1",)
    crew.streams.shards["shard-2"].hidden = False
    crew.serve(within)
    assert crew.row(0).children == ("shard-1", "shard-2")
    assert crew.exact


class Sick(FakeStreams):
    """Of shard 0 no page can be had, and the children of shard 1 only once."""

    asked = 0

    def read(self, iterator: str, limit: int) -> RawPage:
        if "|shard-0|" in iterator:
            raise Trouble(TroubleKind.SERVER, "shard 0 is sick")
        return super().read(iterator, limit)

    def find_children(self, shard: Shard) -> Children:
        if shard.shard_id == "shard-1":
            self.asked += 1
            if self.asked > 1:
                raise Trouble(TroubleKind.SERVER, "shard 1 is sick")
        return super().find_children(shard)


def test_one_bad_shard_stops_neither_the_others_nor_the_discovery_of_new_ones() -> None:
    """Elsewhere: the loop that reads or discovers shards stops at the first one that fails, and all stand still."""
    crew, hand = alone(0, 1, 3, streams=Sick)
    crew.split(1, 2)
    crew.serve(20.0)
    crew.split(3, 4, 5)
    crew.streams.shards["shard-5"].hidden = True
    crew.write(2, 4, 5)
    crew.serve(20.0)
    assert crew.counted() == [0, 1]
    crew.streams.shards["shard-5"].hidden = False
    crew.serve(120.0)
    assert crew.exact
    assert "shard 0 is sick" in hand.not_ready


def test_a_checkpoint_does_not_outlive_its_stream() -> None:
    """Elsewhere: the re-created table's shards have the same ids, and are read from the old table's positions."""
    crew, _ = alone(0)
    crew.write(0, 0)
    crew.serve()
    crew.kill(ME)
    crew.streams.enable(LATER)
    crew.streams.newest.numbers = iter(range(10**20, 10**21))  # before all of the old stream's
    crew.grow(0)
    crew.write(0)
    crew.hire(OTHER)
    crew.serve(10.0)
    assert crew.exact
    assert crew.row(0, LATER).checkpoint == str(10**20)
    assert shard_key(Shard(LATER, "shard-0")) != shard_key(shard(0))


def test_a_stream_that_is_switched_on_again_is_read_beside_the_old_one() -> None:
    """Elsewhere: the worker stays with the old ARN, or leaves it before its end, and never says that a gap may be."""
    crew, hand = alone(0)
    crew.write(0)
    crew.serve()
    crew.write(0)
    crew.streams.enable(LATER)
    crew.grow(0, 1)
    crew.write(0, 1)
    crew.serve(10.0)
    assert crew.exact
    assert (LATER, ARN) in crew.tables.stream_gaps
    assert crew.row(0).finished
    assert crew.row(0).children == ()
    assert not crew.row(0, LATER).finished
    assert not hand.not_ready


def test_a_finished_row_outlives_every_listing_that_shows_its_shard() -> None:
    """Elsewhere: rows of finished shards are cleaned up by age, and a stale listing starts the shard anew."""
    crew, _ = alone(0)
    crew.write(0)
    crew.serve()
    crew.split(0, 1)
    crew.serve(10.0)
    crew.split(1, 2)
    crew.serve(10.0)
    crew.split(2, 3)
    crew.serve(10.0)
    with_all = crew.streams.list_shards(ARN)

    def stale(_: str, fresh: StreamListing) -> StreamListing:
        return StreamListing(ARN, fresh.enabled, with_all.shards, fresh.served_at)

    fresh = crew.streams.listing_of
    crew.streams.shards["shard-0"].gone = True
    crew.serve(70.0)
    assert crew.row(0).unlisted_since is not None
    crew.ahead += FORGET_SECONDS - 1000.0
    crew.streams.listing_of = stale
    crew.serve(70.0)
    crew.ahead += 1000.0
    crew.serve(70.0)
    assert crew.row(0).finished, "a listing shows it still"
    crew.streams.listing_of = fresh
    crew.serve(150.0)
    assert crew.row(0).finished, "a listing showed it less than 48 hours ago"
    crew.ahead += FORGET_SECONDS
    crew.serve(150.0)
    assert shard(0) not in crew.tables.rows
    crew.streams.shards["shard-1"].gone = True
    crew.serve(70.0)
    crew.ahead += FORGET_SECONDS
    crew.serve(150.0)
    assert list(crew.tables.rows) == [shard(2), shard(3)]

    def older(_: str, fresh: StreamListing) -> StreamListing:
        return StreamListing(ARN, fresh.enabled, (with_all.shards[0], *fresh.shards), fresh.served_at)

    crew.streams.listing_of = older
    crew.write(3)
    crew.serve(300.0)
    assert crew.exact
    assert list(crew.tables.rows) == [shard(2), shard(3)], "what is forgotten stays so"
    assert not crew.tables.gaps


def test_an_incomplete_listing_that_omits_a_readable_parent_starts_no_child_before_it() -> None:
    """Elsewhere: a parent that a listing does not show is taken for trimmed, and its children overtake it."""
    crew, _ = alone(0)

    def incomplete(_: str, listing: StreamListing) -> StreamListing:
        shown = tuple(each for each in listing.shards if each.shard_id != "shard-1")
        return StreamListing(ARN, listing.enabled, shown, listing.served_at)

    crew.streams.listing_of = incomplete
    crew.grow(1)
    crew.write(1)
    crew.split(1, 2)
    crew.write(2)
    crew.serve(2 * FOR_SURE, step=1.0)
    assert crew.counted() == []
    assert not crew.tables.gaps


def test_a_root_that_was_first_known_as_a_hidden_parent_is_read_when_it_is_shown() -> None:
    """Elsewhere: what was once looked for in vain is not looked at again, and it and its children are never read."""
    crew, _ = alone(0)
    crew.grow(1)
    crew.streams.shards["shard-1"].hidden = True
    crew.write(1)
    crew.split(1, 2)
    crew.write(2)
    crew.serve(100.0)
    crew.streams.shards["shard-1"].hidden = False
    crew.serve(200.0)
    assert crew.exact
    assert not crew.tables.gaps


def test_a_stream_that_is_gone_before_its_end_was_read_leaves_gap_rows() -> None:
    """Elsewhere: a worker that comes back after a day asks for a stream that is gone for ever, and tells no loss."""
    crew, _ = alone(0)
    crew.write(0)
    crew.serve()
    checkpoint = crew.row(0).checkpoint
    crew.kill(ME)
    crew.write(0)
    crew.streams.enable(LATER)
    crew.grow(0)
    crew.write(0)
    crew.streams.remove(ARN)
    hand = crew.hire(OTHER)
    crew.serve(2 * FOR_SURE, step=1.0)
    assert crew.counted() == [0, 2]
    assert (shard(0), checkpoint) in crew.tables.gaps
    assert crew.row(0).finished
    assert not hand.not_ready
